"""What stages have in common that analyse the decoded track in a process of the pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mismo_grpc.analysis.pool import AnalysisPool
from mismo_grpc.errors import AnalysisCrashedError, OutOfMemoryError, QueueFullError
from mismo_grpc.jobs.job import Stage, StageData
from mismo_grpc.stages.context import StageContext
from mismo_grpc.stages.stage import Retry, StageResult

RETRIES = (
    # A track that crashes the analysis does so again; a lack of memory passes.
    Retry((AnalysisCrashedError, OutOfMemoryError), times=2, first_delay=1.0),
    # Half an hour in all: others are analysed meanwhile.
    Retry((QueueFullError,), times=10, first_delay=2.0),
)

Analysis = Callable[[Path, int, int, int], StageData]
"""A function of a module in `analysis/`: the path of the decoded mix, its frames, channels and rate in Hz."""


class AnalysisStage:
    """Runs an analysis on the decoded track.

    An attempt may take `fixed_seconds`, and `times_length` times the length of the track on top.
    """

    retries: Sequence[Retry] = RETRIES

    def __init__(
        self,
        stage: Stage,
        pool: AnalysisPool,
        analysis: Analysis,
        *,
        fixed_seconds: float,
        times_length: float,
    ) -> None:
        self.stage = stage
        self._pool = pool
        self._analysis = analysis
        self._fixed_seconds = fixed_seconds
        self._times_length = times_length

    def time_limit(self, audio_seconds: float) -> float | None:
        """See StageWork."""
        return self._fixed_seconds + self._times_length * audio_seconds

    async def run(self, context: StageContext) -> StageResult:
        """See StageWork. Nothing is kept of an analysis that was stopped."""
        await context.needs()
        await context.begin()
        mix = context.mix
        limit = self.time_limit(mix.frames / mix.sample_rate)
        assert limit is not None
        data = await self._pool.run(
            self._analysis, mix.path, mix.frames, mix.channels, mix.sample_rate, timeout_seconds=limit
        )
        return StageResult(data)

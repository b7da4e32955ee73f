"""The common part of the stages that analyse the decoded track in a worker process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.mix import MixFile
from mismo_grpc.analysis.pool import AnalysisPool
from mismo_grpc.errors import AnalysisCrashedError, OutOfMemoryError, QueueFullError
from mismo_grpc.jobs.job import Stage, StageData
from mismo_grpc.stages.context import StageContext
from mismo_grpc.stages.stage import Retry, StageResult

RETRIES = (
    # A track that crashes the analysis crashes it again, but a lack of memory may pass.
    Retry((AnalysisCrashedError, OutOfMemoryError), times=2, first_delay=1.0),
    # Half an hour in total, in which other tracks are analysed.
    Retry((QueueFullError,), times=10, first_delay=2.0),
)

Analysis = Callable[[AnalysisInputs], StageData]
"""A function of a module in `analysis/`, which runs in a worker process."""


class AnalysisStage:
    """Runs an analysis on the decoded track.

    An attempt may take `fixed_seconds` plus `times_length` times the length of the track.
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
        """See StageWork. A stopped analysis begins again from the start."""
        await context.needs()
        await context.begin()
        mix = context.mix
        limit = self.time_limit(mix.frames / mix.sample_rate)
        assert limit is not None
        inputs = AnalysisInputs(MixFile(mix.path, mix.frames, mix.channels, mix.sample_rate))
        data = await self._pool.run(self._analysis, inputs, timeout_seconds=limit)
        return StageResult(data)

"""The common part of the stages that analyse the decoded track in a worker process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.mix import MixFile
from mismo_grpc.analysis.pool import AnalysisPool
from mismo_grpc.analysis.results import BasicFeaturesResult, SectionsResult
from mismo_grpc.errors import AnalysisCrashedError, OutOfMemoryError, QueueFullError
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Job, Stage
from mismo_grpc.jobs.stage_data import StageData
from mismo_grpc.results.documents import document_artifact, document_name, with_result
from mismo_grpc.stages.context import StageContext
from mismo_grpc.stages.stage import Retry, StageResult
from mismo_grpc.stages.table import ROWS

RETRIES = (
    # A track that crashes the analysis crashes it again, but a lack of memory may pass.
    Retry((AnalysisCrashedError, OutOfMemoryError), times=2, first_delay=1.0),
    # Half an hour in total, in which other tracks are analysed.
    Retry((QueueFullError,), times=12, first_delay=2.0),
)

Analysis = Callable[[AnalysisInputs], StageData]
"""A function of a module in `analysis/`, which runs in a worker process."""

FindModels = Callable[[Sequence[Path]], str]
"""Names the models that an analysis finds in folders; "" for none."""


def no_models(folders: Sequence[Path]) -> str:
    """For an analysis without models."""
    return ""


class AnalysisStage:
    """Runs an analysis on the decoded track, and on the results of the stages that it needs or comes after.

    An attempt may take `fixed_seconds` plus `times_length` times the length of the track. `model_folders` are searched
    for the files of models; `find_models` names those that the analysis uses. Raise `revision` when the analysis
    changes, so that its earlier results are not used again. `bulk` runs functions in a thread.
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
        bulk: InThread = asyncio.to_thread,
        model_folders: Sequence[Path] = (),
        revision: int = 1,
        find_models: FindModels = no_models,
    ) -> None:
        self.stage = stage
        self._pool = pool
        self._analysis = analysis
        self._fixed_seconds = fixed_seconds
        self._times_length = times_length
        self._bulk = bulk
        self._model_folders = tuple(model_folders)
        self._revision = revision
        self._find_models = find_models

    def version(self) -> str:
        """Names the revision of the analysis and its models, as in "1" or "1 happy sad". Blocks on the disk."""
        return f"{self._revision} {self._find_models(self._model_folders)}".rstrip()

    def time_limit(self, audio_seconds: float) -> float | None:
        """See StageWork."""
        return self._fixed_seconds + self._times_length * audio_seconds

    async def run(self, context: StageContext) -> StageResult:
        """See StageWork. A stopped analysis begins again from the start."""
        await context.needs()
        await context.begin()
        inputs = self._inputs(context)
        limit = self.time_limit(inputs.mix.frames / inputs.mix.sample_rate)
        assert limit is not None
        version = await self._bulk(self.version)
        data = await self._pool.run(
            self._analysis, inputs, timeout_seconds=limit, priority=lambda: int(context.job.priority)
        )
        job = with_result(context.job, self.stage, data)
        artifact = await self._bulk(document_artifact, job, document_name(self.stage))
        return StageResult(data, artifacts=(artifact,), version=version)

    def _inputs(self, context: StageContext) -> AnalysisInputs:
        mix, row = context.mix, ROWS[self.stage]
        features = sections = None
        if Stage.BASIC_FEATURES in row.needs:
            features = context.job.stage(Stage.BASIC_FEATURES).result
        if Stage.SECTIONS in row.needs:
            sections = context.job.stage(Stage.SECTIONS).result
        assert features is None or isinstance(features, BasicFeaturesResult)
        assert sections is None or isinstance(sections, SectionsResult)
        return AnalysisInputs(
            MixFile(mix.path, mix.frames, mix.channels, mix.sample_rate),
            _stems(context) if Stage.STEMS in row.after else {},
            features,
            sections,
            self._model_folders,
        )


def _stems(context: StageContext) -> Mapping[str, Path]:
    """The stem files of a job that has finished stems."""
    job: Job = context.job
    if job.layout is None or not job.has_result_of(Stage.STEMS):
        return {}
    return {name: context.files.stem(name) for name in job.layout.stem_names}

"""Adds the artifact annotation.jams, which has what the other analyses of the job found."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mismo_grpc import __version__
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Stage
from mismo_grpc.results.documents import ANNOTATED, ANNOTATION, document_artifact
from mismo_grpc.stages.context import NeedFailedError, StageContext
from mismo_grpc.stages.stage import Retry, StageResult


class AnnotationStage:
    """Builds the annotation once the annotated stages have ended; one with a result is enough."""

    stage = Stage.ANNOTATION
    retries: Sequence[Retry] = ()

    def __init__(self, *, bulk: InThread = asyncio.to_thread) -> None:
        self._bulk = bulk

    def time_limit(self, audio_seconds: float) -> float | None:
        """See StageWork: no limit, as it only converts results."""
        return None

    async def run(self, context: StageContext) -> StageResult:
        """See StageWork."""
        await context.needs()
        job = context.job
        if not any(map(job.has_result_of, ANNOTATED)):
            failed = [job.stage(stage).error for stage in ANNOTATED if job.has(stage)]
            raise NeedFailedError(next(iter(failed), None))
        await context.begin()
        artifact = await self._bulk(document_artifact, job, ANNOTATION)
        return StageResult(artifacts=(artifact,), version=__version__)

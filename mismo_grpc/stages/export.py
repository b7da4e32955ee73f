"""Writes the finished stems in the formats that the job asks for."""

from __future__ import annotations

from collections.abc import Sequence

from mismo_grpc.errors import InternalError
from mismo_grpc.jobs.job import Artifact, Stage
from mismo_grpc.results.exports.exports import Exports, zip_of
from mismo_grpc.results.exports.plan import ZIPS, files_in
from mismo_grpc.results.exports.rendering import Rendered
from mismo_grpc.results.runs import Runs
from mismo_grpc.stages.context import StageContext
from mismo_grpc.stages.stage import Retry, StageResult


class ExportStage:
    """Makes one file after the other; those that are there already, from before a restart or linked, are kept.

    The bytes of exports are not part of the stage's result: they are measured, as others may be made later.
    """

    stage = Stage.EXPORT
    retries: Sequence[Retry] = ()

    def __init__(self, runs: Runs, exports: Exports) -> None:
        self._runs = runs
        self._exports = exports

    def time_limit(self, audio_seconds: float) -> float | None:
        """See StageWork: no limit, as encoders do not hang and a server may be slow."""
        return None

    async def run(self, context: StageContext) -> StageResult:
        """See StageWork. Raises ExportNotPossibleError, ArtifactNotFoundError, DiskFullError, InternalError."""
        await context.needs()
        await context.begin()
        job = context.job
        options = job.options.export
        if options is None:
            raise InternalError("a job with STAGE_EXPORT has no options for it")
        exports = files_in(job, options.formats)
        records: list[Rendered] = []
        with self._runs.held(job.run_id):
            for export in exports:
                records += await self._exports.make(job, [export], for_client=False)
        artifacts: list[Artifact] = []
        for kind in dict.fromkeys(options.formats):
            made = [(e, r) for e, r in zip(exports, records, strict=True) if e.format is kind]
            artifacts += [Artifact(export.name, record.size, record.sha256) for export, record in made]
            if kind in ZIPS:
                plan = zip_of(context.files.exports, [e for e, _ in made], [r for _, r in made])
                artifacts.append(Artifact(ZIPS[kind], plan.total_bytes))
        return StageResult(artifacts=tuple(artifacts))

"""Copies the results of a job to the blob container, each as soon as it is finished."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from mismo_grpc.completion import run_to_completion, wait_ended
from mismo_grpc.errors import BlobContainerNotFoundError
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Job, JobFailure, Stage, StoredBlob
from mismo_grpc.jobs.stage_data import RESULT_TYPES, STEM_STAGES
from mismo_grpc.results.artifacts import STEMS_JSON, content_type_of, read_stem_files
from mismo_grpc.results.blob_names import artifact_blob, prefix_of, stem_blob
from mismo_grpc.results.documents import ANNOTATION, document_name, render_document
from mismo_grpc.results.exports.plan import files_in
from mismo_grpc.results.waveforms import WAVEFORM_PREFIX
from mismo_grpc.slots import Slots
from mismo_grpc.stages.context import NeedFailedError, StageContext
from mismo_grpc.stages.stage import Retry, StageResult
from mismo_grpc.storage.blobs.port import BlobStore
from mismo_grpc.storage.run_files import RunFiles

UPLOADS_AT_ONCE = 2
"""Files of all jobs together: of each, several blocks are in memory."""


@dataclass(frozen=True)
class _Result:
    """A file to copy, and its name below the job's prefix; without a file, a document built from the job's record."""

    name: str
    content_type: str
    sha256: str
    file: Path | None = None


class BlobUploadStage:
    """Copies results to `container` as they are finished, several at once; what is there already is not sent again.

    A blob appears only once it is complete, so readers of the container never see half of one.
    """

    stage = Stage.BLOB_UPLOAD
    retries: Sequence[Retry] = ()

    def __init__(self, container: BlobStore | None, *, bulk: InThread) -> None:
        self._container = container
        self._bulk = bulk
        self._slots = Slots(UPLOADS_AT_ONCE)

    def time_limit(self, audio_seconds: float) -> float | None:
        """See StageWork: no limit, because it waits for the other stages."""
        return None

    async def run(self, context: StageContext) -> StageResult:
        """See StageWork. Raises NeedFailedError if no other stage has a result, BlobError, InternalError."""
        blobs: dict[str, StoredBlob] = {}
        container = None
        async with aclosing(context.results()) as stages:
            async for stage in stages:
                if container is None:
                    container = self._container
                    if container is None:
                        # The job becomes a dead letter, because the settings may be corrected.
                        raise BlobContainerNotFoundError(
                            "the server has no blob container any more: set BLOB_CONTAINER_NAME or "
                            "MISMO_BLOB_CONTAINER again, then replay the job"
                        )
                    await context.begin()
                found = await self._bulk(_results_of, context.job, context.files, stage)
                for blob in await self._copy(container, context, found):
                    blobs[blob.name] = blob
        if container is None:
            raise NeedFailedError(_first_error(context.job))
        stored = tuple(blobs.values())
        return StageResult(change=lambda job: replace(job, blobs=stored))

    async def _copy(
        self, container: BlobStore, context: StageContext, results: Sequence[_Result]
    ) -> list[StoredBlob]:
        """Copies several results at once; if one cannot be copied, it stops the others and raises its error."""
        tasks = [asyncio.create_task(self._copy_one(container, context, result)) for result in results]
        if not tasks:
            return []
        # A TaskGroup would not pass on a cancellation that comes while it stops the others.
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done():
                    task.result()
            return [task.result() for task in tasks]
        finally:
            for task in tasks:
                task.cancel()
            await run_to_completion(wait_ended(tasks))

    async def _copy_one(self, container: BlobStore, context: StageContext, result: _Result) -> StoredBlob:
        job = context.job
        path = f"{prefix_of(job)}/{result.name}"
        await self._slots.acquire(lambda: int(context.job.priority))
        try:
            if result.file is not None:
                info = await container.upload(
                    result.file, path, sha256=result.sha256, content_type=result.content_type
                )
            else:
                content = await self._bulk(render_document, job, result.name.rpartition("/")[2])
                info = await container.write(path, content, content_type=result.content_type)
        finally:
            self._slots.release()
        return StoredBlob(
            result.name,
            container.uri_of(path),
            container.http_url_of(path),
            info.total_bytes,
            result.sha256,
            info.version,
        )


def _results_of(job: Job, files: RunFiles, stage: Stage) -> list[_Result]:
    """What a stage that has succeeded has made; blocks on the disk."""
    sums = {artifact.name: artifact.sha256 for artifact in job.artifacts}
    if stage in STEM_STAGES:
        found = [
            _Result(stem_blob(job, stem.name), "audio/wav", stem.sha256, files.stem(stem.name))
            for stem in read_stem_files(files)
        ]
        return [*found, _file(job, files, STEMS_JSON, sums[STEMS_JSON])]
    if stage is Stage.WAVEFORMS:
        return [
            _file(job, files, name, sha256)
            for name, sha256 in sums.items()
            if name.startswith(WAVEFORM_PREFIX)
        ]
    if stage is Stage.EXPORT:
        options = job.options.export
        return [
            _Result(
                artifact_blob(job, export.name),
                content_type_of(export.name),
                sums[export.name],
                files.exports / export.file_name,
            )
            for export in files_in(job, options.formats if options is not None else ())
        ]
    name = document_name(stage) if stage in RESULT_TYPES else ANNOTATION
    return [_Result(artifact_blob(job, name), content_type_of(name), sums[name])]


def _file(job: Job, files: RunFiles, name: str, sha256: str) -> _Result:
    return _Result(artifact_blob(job, name), content_type_of(name), sha256, files.artifact(name))


def _first_error(job: Job) -> JobFailure | None:
    return next((status.error for status in job.stages if status.error is not None), None)

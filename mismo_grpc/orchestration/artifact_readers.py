"""Opens the artifacts and stem files of jobs: local files, copies in the blob container, documents."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from mismo_grpc.errors import (
    ArtifactNotFoundError,
    InternalError,
    JobNotReadyError,
    StemNotFoundError,
    check_run,
)
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Job
from mismo_grpc.jobs.repository import JobRepository
from mismo_grpc.orchestration.stem_readers import ended_without, has_stems
from mismo_grpc.results.artifacts import ArtifactReader, open_artifact, open_document, open_stem
from mismo_grpc.results.copied_artifacts import open_copied_artifact, open_copied_stem
from mismo_grpc.results.copies import Copies
from mismo_grpc.results.documents import is_document, stage_of
from mismo_grpc.results.exports.exports import Exports
from mismo_grpc.results.exports.plan import is_export
from mismo_grpc.results.runs import Runs
from mismo_grpc.storage.run_files import RunFiles


class ArtifactReaders:
    """Opens artifacts for reading; on the event loop. `bulk` opens and reads files in a thread."""

    def __init__(
        self, repository: JobRepository, runs: Runs, copies: Copies, exports: Exports, bulk: InThread
    ) -> None:
        self._repository = repository
        self._runs = runs
        self._copies = copies
        self._exports = exports
        self._bulk = bulk

    @asynccontextmanager
    async def open_stem(self, job_id: str, stem: str) -> AsyncGenerator[ArtifactReader]:
        """The whole WAV file of a finished job's stem; its run is held meanwhile.

        Raises as `open` does, and StemNotFoundError for a stem that the job does not have.
        """
        async with self.finished(job_id) as job:
            names = job.layout.stem_names if job.layout is not None else ()
            if stem not in names:
                raise StemNotFoundError(
                    f"job {job_id} has no stem {stem[:64]!r}; there are {', '.join(names)}", field="stem"
                )
            bulk = self._bulk
            files = self._runs.files(job.run_id)
            try:
                reader = await bulk(open_stem, files, stem, bulk)
            except (ArtifactNotFoundError, InternalError):
                if not self._copies.has_stems(job):
                    raise
                reader = await open_copied_stem(self._copies, files, job, stem, bulk)
            async with reader:
                reader.run_id = job.run_id
                yield reader

    @asynccontextmanager
    async def open(self, job_id: str, name: str, expected_run_id: str = "") -> AsyncGenerator[ArtifactReader]:
        """An artifact of a job; the run that has its file is held meanwhile.

        Raises JobNotFoundError, RunReplacedError if the job has another run than `expected_run_id` ("": any),
        JobNotReadyError if the stage of the artifact has not ended or the job has no stems, ArtifactNotFoundError,
        BlobError if a file is only in the container and it cannot be read. An export that is not there is made first;
        raises also as `Exports.open` does.
        """
        bulk = self._bulk
        if is_document(name):
            job = await self._repository.get(job_id)
            check_run(job_id, expected_run_id, job.run_id)
            async with await bulk(_open_document, job, name, bulk) as reader:
                reader.run_id = job.run_id
                yield reader
            return
        async with (
            self.finished(job_id, expected_run_id) as job,
            await self._open_written(job, name) as reader,
        ):
            reader.run_id = job.run_id
            written = {each.name: each for each in job.artifacts}.get(name)
            if written is not None and written.total_bytes == reader.total_bytes:
                reader.sha256 = written.sha256
            yield reader

    async def _open_written(self, job: Job, name: str) -> ArtifactReader:
        files, bulk, copies = self._runs.files(job.run_id), self._bulk, self._copies
        copied = copies.has_stems(job)
        try:
            if is_export(job, name):
                return await self._exports.open(job, name)
            return await bulk(_open_local, files, job, name, bulk, copied)
        except ArtifactNotFoundError:
            if not copied:
                raise
            return await open_copied_artifact(copies, files, job, name, bulk)

    @asynccontextmanager
    async def finished(self, job_id: str, expected_run_id: str = "") -> AsyncGenerator[Job]:
        """A job whose stems are finished, while other stages may still run.

        Its run is held, so a new run, a delete or an expiry does not affect the reader. Raises as `open` does.
        """
        job = await self._repository.get(job_id)
        check_run(job_id, expected_run_id, job.run_id)
        status = job.stem_status
        if status is not None and not (job.state.ended or status.state.ended):
            raise JobNotReadyError(
                f"job {job_id} has no artifacts before its stems are finished; watch it and ask again"
            )
        if not has_stems(job):
            raise ended_without(job)
        with self._runs.held(job.run_id):
            yield job


def _open_local(
    files: RunFiles, job: Job, name: str, in_thread: InThread, whole: bool = False
) -> ArtifactReader:
    """As `open_artifact`, but refuses an artifact that is still being written.

    With `whole` it also refuses one with a file that is missing or was cut.
    """
    _check_written(job, name)
    reader = open_artifact(files, name, in_thread)
    size = {artifact.name: artifact.total_bytes for artifact in job.artifacts}.get(name)
    if whole and (reader.total_bytes != size or not reader.is_whole()):
        reader.close()
        raise ArtifactNotFoundError(f"name: files of {name} are gone; submit the track again", field="name")
    return reader


def _open_document(job: Job, name: str, in_thread: InThread) -> ArtifactReader:
    """As `open_document`, but refuses one whose stage has not ended."""
    stage = stage_of(name)
    if job.has(stage) and not (job.state.ended or job.has_ended(stage)):
        raise _not_ready(job, name)
    # A dead letter has the names of its artifacts for a replay only.
    if job.dead_letter or name not in {artifact.name for artifact in job.artifacts}:
        raise ArtifactNotFoundError(f"name: job {job.job_id} has no {name}; see its artifacts", field="name")
    return open_document(job, name, in_thread)


def _check_written(job: Job, name: str) -> None:
    if not job.state.ended and name not in {artifact.name for artifact in job.artifacts}:
        raise _not_ready(job, name)


def _not_ready(job: Job, name: str) -> JobNotReadyError:
    return JobNotReadyError(
        f"job {job.job_id} has no artifact {name[:64]!r} yet; see its artifacts for what it has so far"
    )

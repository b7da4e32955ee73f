"""Turns a request into a stored job, once: answers repeated requests, checks new ones, prepares their files."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import structlog

from mismo_grpc.completion import run_to_completion
from mismo_grpc.errors import (
    JobIdActiveError,
    MismoError,
    QueueFullError,
    RequestIdReusedError,
    ServerDrainingError,
    SourceNotFoundError,
)
from mismo_grpc.jobs.job import Job, JobOptions, JobRequest, Source, SourceKind
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.jobs.store.records import result_key
from mismo_grpc.orchestration.admission import Admission, Admitted
from mismo_grpc.orchestration.queue import JobQueue
from mismo_grpc.results.runs import Runs
from mismo_grpc.uploads.uploads import Uploads

log = structlog.get_logger(__name__)

RETRY_QUEUE_SECONDS = 10.0


@dataclass(frozen=True)
class Submitted:
    """The answer to a submit."""

    job: Job
    deduplicated: bool = False
    cache_hit: bool = False


class Submissions:
    """Accepts jobs until it is `closed`, while fewer than `queue_capacity` jobs are active.

    A job is active until it has ended.
    """

    def __init__(
        self,
        repository: JobRepository,
        queue: JobQueue,
        admission: Admission,
        runs: Runs,
        uploads: Uploads,
        queue_capacity: int,
    ) -> None:
        self.closed = False
        self._runs = runs
        self._uploads = uploads
        self._repository = repository
        self._queue = queue
        self._admission = admission
        self._queue_capacity = queue_capacity

    async def submit(self, request: JobRequest) -> Submitted:
        """Accepts a job, or finds the job of an earlier submit; when this returns, the job is stored.

        Raises ServerDrainingError, QueueFullError, RequestIdReusedError, JobIdActiveError, DiskFullError, and the error
        that names the wrong field of the request or what is wrong with its audio.
        """
        if self.closed:
            raise ServerDrainingError("the server is shutting down; try again shortly", retry_after=5.0)
        earlier = await self._earlier(request) or await self._active(request)
        if earlier is not None:
            return earlier
        if not request.validate_only:
            self.check_room()
        with self._source_held(request.source):
            submitted = await self._submit(request, use_earlier=True)
            if submitted is None:
                # The earlier result was replaced or deleted meanwhile, so the track is separated.
                submitted = await self._submit(request, use_earlier=False)
        assert submitted is not None
        return submitted

    async def _submit(self, request: JobRequest, *, use_earlier: bool) -> Submitted | None:
        """Returns None if the earlier result that the job would reuse was deleted or replaced meanwhile."""
        admitted = await self._admission.check(request, use_earlier=use_earlier)
        if request.validate_only:
            return Submitted(admitted.job, cache_hit=admitted.cached is not None)
        return await run_to_completion(self._prepare_and_accept(request, admitted))

    async def _prepare_and_accept(self, request: JobRequest, admitted: Admitted) -> Submitted | None:
        submitted: Submitted | None = None
        try:
            # Outside the lock that other submits wait for: this may copy or compare files.
            job = await self._admission.prepare(admitted)
            async with self._repository.job_files_lock:
                # The same request may have been accepted meanwhile.
                submitted = await self._earlier(request) or await self._twin(request, job)
                if submitted is None and (
                    not job.cache_hit or await self._admission.may_still_have(admitted)
                ):
                    submitted = await self._accept(request, job)
        finally:
            if submitted is None or submitted.job.run_id != admitted.job.run_id:
                self._runs.discard(admitted.job.run_id)
        return submitted

    @contextmanager
    def _source_held(self, source: Source) -> Generator[None]:
        """Keeps an upload from expiring between its check and the link in the run's folder."""
        if source.kind is not SourceKind.UPLOAD:
            yield
            return
        with self._uploads.held(source.location):
            yield

    async def _earlier(self, request: JobRequest) -> Submitted | None:
        """The job of an earlier submit with the same request_id, also if it was deleted since."""
        store = self._repository.store
        if request.request_id:
            row = await self._repository.read(store.find_request, request.request_id)
            if row is not None:
                if row.fingerprint != request.fingerprint:
                    raise RequestIdReusedError(
                        "request_id was used for another request; make a new UUID for each submit",
                        field="request_id",
                    )
                job = row.deleted or await self._repository.find(row.job_id)
                if job is not None:
                    return Submitted(job, deduplicated=True, cache_hit=job.cache_hit)
        return None

    async def _active(self, request: JobRequest) -> Submitted | None:
        """The active job of the request's job_id, if it has the same content; None if there is none.

        Raises JobIdActiveError if it has another, and the error that says what is wrong with the request's source.
        """
        active = self._repository.active.get(request.job_id)
        if active is None:
            return None
        same = same_options(active.job, request.options) and await self._same_audio(active.job, request)
        # Under the lock the job cannot be deleted before the request_id is stored.
        async with self._repository.job_files_lock:
            if active.job.state.ended:
                # It ended during the comparison, so the job_id is free for a new run.
                return None
            return await self._joined(request, active.job, same=same)

    async def _twin(self, request: JobRequest, job: Job) -> Submitted | None:
        """The same as `_active` for a request that was admitted as `job`, whose checksum is known by now."""
        active = self._repository.active.get(request.job_id)
        if active is None:
            return None
        same = same_options(active.job, request.options) and (
            active.job.source_sha256 == job.source_sha256
            if active.job.source_sha256 and job.source_sha256
            else active.job.source == job.source
        )
        return await self._joined(request, active.job, same=same)

    async def _joined(self, request: JobRequest, job: Job, *, same: bool) -> Submitted:
        if not same:
            raise JobIdActiveError(
                f"job {job.job_id} has not ended and has another source or other options; wait for it, cancel it, or "
                "choose another job_id",
                field="job_id",
                metadata={"job_id": job.job_id, "run_id": job.run_id},
            )
        if request.request_id and not request.validate_only:
            await self._repository.write(
                self._repository.store.put_request,
                request.request_id,
                job.job_id,
                job.run_id,
                request.fingerprint,
                self._repository.now(),
            )
        return Submitted(job, deduplicated=True)

    async def _same_audio(self, job: Job, request: JobRequest) -> bool:
        """Whether a request's source has the content of a job's: by checksum, else by its path or upload."""
        same_place = request.source == job.source
        if same_place and job.source.kind is not SourceKind.PATH:
            return True
        if (
            SourceKind.NONE in (request.source.kind, job.source.kind)
            or request.source.kind is SourceKind.BLOB
        ):
            # The content of a blob is not known before it is fetched.
            return False
        try:
            path, _ = await self._admission.sources.locate(request.source)
            found = await asyncio.to_thread(path.stat)
            if same_place and (found.st_size, found.st_mtime_ns) == (job.source_bytes, job.source_mtime_ns):
                return True
            if not job.source_sha256:
                return same_place
            digest = await self._admission.sources.digest(request.source, path, found.st_size)
        except MismoError:
            # A job needs its source file only until it is decoded.
            if same_place:
                return True
            raise
        except OSError as error:
            if same_place:
                return True
            field = f"source.{request.source.kind.value}"
            raise SourceNotFoundError(f"{field}: the file cannot be opened", field=field) from error
        return digest == job.source_sha256 if digest else same_place

    def check_room(self) -> None:
        """Raises ServerDrainingError or QueueFullError unless another job can be accepted."""
        if self.closed:
            raise ServerDrainingError("the server is shutting down; try again shortly", retry_after=5.0)
        if len(self._repository.active) >= self._queue_capacity:
            raise QueueFullError(
                f"the queue is full ({self._queue_capacity} jobs); try again in a while",
                retry_after=RETRY_QUEUE_SECONDS,
            )

    async def _accept(self, request: JobRequest, job: Job) -> Submitted:
        self.check_room()
        previous = await self._repository.read(self._repository.store.get, job.job_id)
        if previous is not None:
            job = replace(job, revision=previous.revision + 1)
        await self._repository.accept(job, request.request_id, request.fingerprint)
        self._repository.ended_logs.pop(job.job_id, None)
        if previous is not None and await asyncio.to_thread(self._runs.linked, job.job_id) != previous.run_id:
            # A run without files has no link, which would discard it once another run is linked.
            self._runs.discard(previous.run_id)
        log.info(
            "job accepted",
            job_id=job.job_id,
            model=job.model,
            priority=job.priority.name,
            cache_hit=job.cache_hit,
        )
        for tell in self._repository.on_accepted:
            tell(job)
        try:
            # As for a run that does its stages itself: one without files does not replace an earlier one's link.
            if job.result_bytes:
                await self._runs.publish(job.job_id, job.run_id)
        finally:
            if job.state.ended:
                self._repository.publish_ended(job.run_id)
            else:
                # Its results must still be exported or copied, but its finished stages have callbacks.
                self._repository.active[job.job_id] = ActiveJob.of(job)
                self._repository.tell_callbacks()
                self._queue.fill()
        return Submitted(job, cache_hit=job.cache_hit)


def same_options(job: Job, options: JobOptions) -> bool:
    """Whether options ask for what a job does; the playhead may differ."""
    asked, other = job.options.stems, options.stems
    return (
        set(job.options.stages) == set(options.stages)
        and other.model in (asked.model, job.model)
        and result_key("", asked) == result_key("", other)
        and (job.options.generation, job.options.blob_prefix) == (options.generation, options.blob_prefix)
        and job.options.export == options.export
    )

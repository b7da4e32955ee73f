"""How a request becomes a job: once, checked, on disk and in the store, or not at all."""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from mismo_grpc.errors import MismoError, QueueFullError, RequestIdReusedError, ServerDrainingError
from mismo_grpc.jobs.admission import Admission, Admitted
from mismo_grpc.jobs.feed import JobFeed
from mismo_grpc.jobs.job import Job, JobRequest
from mismo_grpc.jobs.ledger import ActiveJob, JobLedger
from mismo_grpc.jobs.queue import JobQueue
from mismo_grpc.jobs.unbroken import unbroken

log = structlog.get_logger(__name__)

RETRY_QUEUE_SECONDS = 10.0


@dataclass(frozen=True)
class Submitted:
    """The answer to a submit."""

    job: Job
    deduplicated: bool = False
    cache_hit: bool = False


class Submissions:
    """Takes jobs in until it is `closed`; at most `queue_capacity` that have not ended."""

    def __init__(self, ledger: JobLedger, queue: JobQueue, admission: Admission, queue_capacity: int) -> None:
        self.closed = False
        self._ledger = ledger
        self._queue = queue
        self._admission = admission
        self._queue_capacity = queue_capacity

    async def submit(self, request: JobRequest) -> Submitted:
        """Accepts a job; when this returns it is stored. Raises the error that says what is wrong with the request."""
        if self.closed:
            raise ServerDrainingError("the server is shutting down; try again shortly", retry_after=5.0)
        earlier = await self._earlier(request)
        if earlier is not None:
            return earlier
        admitted = await self._admission.check(request)
        if request.validate_only:
            return Submitted(admitted.job, cache_hit=admitted.cached is not None)
        return await unbroken(self._accept_once(request, admitted))

    async def _accept_once(self, request: JobRequest, admitted: Admitted) -> Submitted:
        async with self._ledger.changing_hands:
            # A twin of this request may have been accepted meanwhile.
            earlier = await self._earlier(request)
            if earlier is not None:
                return earlier
            return await self._accept(request, admitted)

    async def _earlier(self, request: JobRequest) -> Submitted | None:
        store = self._ledger.store
        if request.request_id:
            row = await self._ledger.look(store.find_request, request.request_id)
            if row is not None:
                if row.fingerprint != request.fingerprint:
                    raise RequestIdReusedError(
                        "request_id was used for another request; make a new UUID for each submit",
                        field="request_id",
                    )
                job = await self._ledger.find(row.job_id)
                if job is not None:
                    return Submitted(job, deduplicated=True, cache_hit=job.cache_hit)
        active = self._ledger.active.get(request.job_id) if request.job_id else None
        if active is not None and not request.validate_only:
            if request.request_id:
                await self._ledger.call(
                    store.put_request,
                    request.request_id,
                    active.job.job_id,
                    active.job.run,
                    request.fingerprint,
                    self._ledger.now(),
                )
            return Submitted(active.job, deduplicated=True)
        return None

    async def _accept(self, request: JobRequest, admitted: Admitted) -> Submitted:
        if self.closed:
            raise ServerDrainingError("the server is shutting down; try again shortly", retry_after=5.0)
        if len(self._ledger.active) >= self._queue_capacity:
            raise QueueFullError(
                f"the queue is full ({self._queue_capacity} jobs); try again in a while",
                retry_after=RETRY_QUEUE_SECONDS,
            )
        job = admitted.job
        previous = await self._ledger.look(self._ledger.store.get, job.job_id)
        if previous is not None:
            job = replace(job, revision=previous.revision + 1)
        try:
            job = await self._admission.prepare_files(job, admitted)
            await self._ledger.accept(job, request.request_id, request.fingerprint)
        except BaseException:
            await self._admission.discard_files(job)
            raise
        try:
            await self._admission.adopt_files(job)
        except (OSError, MismoError):
            # It is accepted all the same, and ends with an error if its source is what is missing.
            log.error("the folder of a job cannot be put in its place", job_id=job.job_id, exc_info=True)
        self._ledger.ended_feeds.pop(job.job_id, None)
        log.info(
            "job accepted",
            job_id=job.job_id,
            model=job.model,
            priority=job.priority.name,
            cache_hit=job.cache_hit,
        )
        for tell in self._ledger.on_accepted:
            tell(job)
        if job.state.ended:
            self._ledger.tell_callbacks()
        else:
            self._ledger.active[job.job_id] = ActiveJob(job, JobFeed(job.revision))
            self._queue.fill()
        return Submitted(job, cache_hit=job.cache_hit)

"""The only part that changes jobs: it stores a change first, then publishes it to the watchers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from mismo_grpc.broadcast import Broadcast
from mismo_grpc.completion import run_to_completion
from mismo_grpc.errors import DiskFullError, JobNotFoundError
from mismo_grpc.jobs.callbacks import CallbackRow, callbacks_due
from mismo_grpc.jobs.change_feed import ChangeFeed
from mismo_grpc.jobs.event_log import JobEventLog
from mismo_grpc.jobs.events import Event, EventKind
from mismo_grpc.jobs.job import Job, StageStatus
from mismo_grpc.jobs.store.port import JobStore
from mismo_grpc.separation.engine import Separation
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.stems import StemSet
from mismo_grpc.storage.disk_reserve import DiskReserve

T = TypeVar("T")

LOGS_KEPT = 256


@dataclass(eq=False)
class ActiveJob:
    """A job that has not ended, with the state that is only in memory; used on the event loop only."""

    job: Job
    event_log: JobEventLog
    ready: RangeSet = field(default_factory=RangeSet)
    separation: Separation | None = None
    stems: StemSet | None = None
    """The stem files that a running stage writes, of `separation` or of a generator."""
    task: asyncio.Task[None] | None = None
    cancelling: bool = False
    separating_since: float | None = None
    """Seconds of the monotonic clock, like `progressed_at`."""
    progressed_at: float = 0.0
    """When the latest segment was completed."""
    fraction: float = 0.0
    """The completed share of the work as last reported; it never decreases."""
    share_floor: float = 0.0
    """The share of the work that had a result when it was last asked for; the share never falls below it."""
    segments_before: int = 0
    """Segments that were completed before this process resumed the job."""
    stems_changed: Broadcast = field(default_factory=Broadcast)
    """Wakes readers of the stems when frames become final, before that is stored and published, and when the job or one
    of its stages changes. The event log wakes the watchers of the job."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def of(cls, job: Job) -> ActiveJob:
        """The job as it was stored; finished stems are ready."""
        whole = [(0, job.layout.total_frames)] if job.layout is not None and job.has_stem_files else []
        return cls(job, JobEventLog(job.revision), RangeSet(whole))


class JobRepository:
    """Active jobs in memory, all jobs in the store; store calls go through one writer thread."""

    def __init__(
        self,
        store: JobStore,
        now: Callable[[], float],
        spare: DiskReserve | None = None,
        *,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self.store = store
        self.spare = spare
        self.now = now
        self.active: dict[str, ActiveJob] = {}
        self.ended_logs: dict[str, JobEventLog] = {}
        """The event logs of the jobs that ended last, for watchers that reconnect."""
        self.job_files_lock = asyncio.Lock()
        """Held while a job_id and its link move to another run or are removed, and while a request_id is stored for an
        active job; never while waiting for a job."""
        self.on_callbacks: list[Callable[[], None]] = []
        """Called on the event loop once new callbacks are stored; the outbox sends them."""
        self.on_change: list[Callable[[Job, Job, Event], None]] = []
        """Called on the event loop with a job before and after each stored change."""
        self.on_accepted: list[Callable[[Job], None]] = []
        """Called on the event loop with each accepted job."""
        self.change_feed = ChangeFeed(store, self.read, self.must_write, self._is_published)
        """The changes of all jobs, for WatchJobs."""
        self._unpublished: set[str] = set()
        """Ended runs that are stored, but are not published because their files are not in place yet."""
        self._new_id = new_id
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="store-read")

    async def write(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs a writing store method in the writer thread."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, function, *arguments)

    async def must_write(self, function: Callable[..., T], *arguments: Any) -> T:
        """Like `write`, but on a full disk it releases the disk reserve and tries again."""
        try:
            return await self.write(function, *arguments)
        except DiskFullError:
            if self.spare is None or not await self.write(self.spare.release):
                raise
            return await self.write(function, *arguments)

    async def read(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs a reading store method in a thread of its own, so that it does not wait for the writer."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, function, *arguments)

    async def find(self, job_id: str) -> Job | None:
        """The current state of a job, or None."""
        active = self.active.get(job_id)
        return active.job if active is not None else await self.read(self.store.get, job_id)

    async def get(self, job_id: str) -> Job:
        """The current state of a job; raises JobNotFoundError."""
        job = await self.find(job_id)
        if job is None:
            raise JobNotFoundError(
                f"there is no job {job_id[:128]!r}; it may have expired", metadata={"job_id": job_id[:128]}
            )
        return job

    async def record(
        self,
        active: ActiveJob,
        change: Callable[[Job], Job],
        kind: EventKind,
        body: StageStatus | tuple[tuple[int, int], ...] | None = None,
        *,
        must_write: bool = False,
        before_publishing: Callable[[], Awaitable[object]] | None = None,
    ) -> Job:
        """Applies a change as the job's next revision, stores it with the callbacks it causes, then publishes it.

        Returns the job; one that has ended is returned unchanged. `before_publishing` is awaited after the change is
        stored and before it is published; it must not raise. `must_write` as in the method of this name. The change
        completes even if the caller is cancelled, so that store and watchers never differ.
        """
        write = self.must_write if must_write else self.write
        return await run_to_completion(self._record(active, change, kind, body, write, before_publishing))

    async def record_progress(self, active: ActiveJob, change: Callable[[Job], Job]) -> None:
        """Stores progress that is no event of the job, so makes no revision, then wakes the watchers."""
        await run_to_completion(self._record_progress(active, change))

    async def _record_progress(self, active: ActiveJob, change: Callable[[Job], Job]) -> None:
        async with active.lock:
            if active.job.state.ended:
                return
            job = change(active.job)
            await self.write(self.store.save, job, (), True)
            active.job = job
            active.event_log.touch()

    async def _record(
        self,
        active: ActiveJob,
        change: Callable[[Job], Job],
        kind: EventKind,
        body: StageStatus | tuple[tuple[int, int], ...] | None,
        write: Callable[..., Awaitable[bool]],
        before_publishing: Callable[[], Awaitable[object]] | None,
    ) -> Job:
        async with active.lock:
            if active.job.state.ended:
                return active.job
            job = change(active.job)
            job = replace(job, revision=active.job.revision + 1)
            event = Event(job.revision, self.now(), kind, body)
            callbacks = callbacks_due(active.job, job, event.time, self._new_id)
            segment = kind is EventKind.SEGMENT_READY
            await write(self.store.save, job, callbacks, segment)
            if before_publishing is not None:
                await before_publishing()
            before, active.job = active.job, job
            if segment and isinstance(body, tuple):
                active.ready = active.ready.union(body)
            if job.state.ended:
                self.active.pop(job.job_id, None)
                self._keep_log(active)
            active.event_log.publish(event)
            if segment:
                self.change_feed.progressed()
            else:
                self.change_feed.changed()
                # New frames were announced to readers as they became final.
                active.stems_changed.notify()
            for tell in self.on_change:
                tell(before, job, event)
            if callbacks:
                self.tell_callbacks()
            return job

    async def accept(
        self,
        job: Job,
        request_id: str,
        fingerprint: str,
        callbacks: Sequence[CallbackRow] | None = None,
    ) -> None:
        """Stores a new run with its callbacks: `callbacks`, or else those of the stages that have ended.

        Stages of a new run have ended if it reuses a result.

        Call `publish_ended` for an ended run once its files are in place: only then is it published.
        """
        now = self.now()
        if callbacks is None:
            callbacks = self.first_callbacks(job)
        if job.state.ended:
            self._unpublished.add(job.run_id)
        try:
            await self.write(self.store.accept, job, request_id, fingerprint, now, callbacks)
        except BaseException:
            self._unpublished.discard(job.run_id)
            raise
        finally:
            self.change_feed.changed()

    def first_callbacks(self, job: Job) -> tuple[CallbackRow, ...]:
        """The callbacks of the stages that have ended in a new run."""
        return callbacks_due(None, job, self.now(), self._new_id)

    def publish_ended(self, run_id: str) -> None:
        """Publishes an accepted run that has ended, and announces its callbacks."""
        self._unpublished.discard(run_id)
        self.change_feed.changed()
        self.tell_callbacks()

    async def remove(self, job_id: str) -> None:
        """Removes a job from the store, also on a full disk."""
        try:
            await self.must_write(self.store.delete, job_id, self.now())
        finally:
            self.change_feed.changed()

    def _is_published(self, job: Job) -> bool:
        active = self.active.get(job.job_id)
        if active is not None and active.job.run_id == job.run_id:
            return active.job.revision >= job.revision
        return job.run_id not in self._unpublished

    def tell_callbacks(self) -> None:
        """Notifies the outbox of new callbacks."""
        for listener in self.on_callbacks:
            listener()

    def _keep_log(self, active: ActiveJob) -> None:
        self.ended_logs[active.job.job_id] = active.event_log
        while len(self.ended_logs) > LOGS_KEPT:
            del self.ended_logs[next(iter(self.ended_logs))]

    def close(self) -> None:
        """Waits for running reads and writes, then closes the store."""
        self._writer.shutdown(wait=True)
        self._reader.shutdown(wait=True)
        self.store.close()

"""The one place that changes a job: stored first, then told to whoever watches."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from mismo_grpc.broadcast import Broadcast
from mismo_grpc.completion import run_to_completion
from mismo_grpc.errors import DiskFullError, JobNotFoundError
from mismo_grpc.jobs.callbacks import callbacks_due
from mismo_grpc.jobs.change_feed import ChangeFeed
from mismo_grpc.jobs.event_log import JobEventLog
from mismo_grpc.jobs.events import Event, EventKind
from mismo_grpc.jobs.job import Job, StageStatus
from mismo_grpc.jobs.store.port import JobStore
from mismo_grpc.separation.engine import Separation
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.storage.disk_reserve import DiskReserve

T = TypeVar("T")

LOGS_KEPT = 256


@dataclass(eq=False)
class ActiveJob:
    """A job that has not ended, with what lives only in memory; touched on the event loop only."""

    job: Job
    event_log: JobEventLog
    ready: RangeSet = field(default_factory=RangeSet)
    separation: Separation | None = None
    task: asyncio.Task[None] | None = None
    cancelling: bool = False
    separating_since: float | None = None
    """Seconds of the monotonic clock, as `progressed_at`."""
    progressed_at: float = 0.0
    """When the latest segment was done."""
    fraction: float = 0.0
    """Of the work, as told last: it never goes back."""
    segments_before: int = 0
    """Segments that were done before this process took the job up."""
    stems_changed: Broadcast = field(default_factory=Broadcast)
    """Wakes readers of the stems: as soon as frames are final, before that is stored and told, and whenever the job or
    one of its stages changes. The event log wakes those who watch the job."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


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
        """Of the last jobs that ended, for watchers that come back."""
        self.job_files_lock = asyncio.Lock()
        """Held while a job_id and its folder pass from one run to the next, or go: never while a job is waited for."""
        self.on_callbacks: list[Callable[[], None]] = []
        """Called on the event loop once callbacks are stored, for whoever sends them."""
        self.on_change: list[Callable[[Job, Job, Event], None]] = []
        """Called on the event loop with a job before and after each stored change."""
        self.on_accepted: list[Callable[[Job], None]] = []
        """Called on the event loop with each accepted job."""
        self.change_feed = ChangeFeed(store, self.read, self.must_write, self._is_published)
        """What watchers of all jobs read."""
        self._withheld: set[str] = set()
        """Runs that are stored, but whose result is not in its place yet."""
        self._new_id = new_id
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="store-read")

    async def write(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs a store method that writes in the writer thread."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, function, *arguments)

    async def must_write(self, function: Callable[..., T], *arguments: Any) -> T:
        """`write` for what must be stored on a full disk too."""
        try:
            return await self.write(function, *arguments)
        except DiskFullError:
            if self.spare is None or not await self.write(self.spare.release):
                raise
            return await self.write(function, *arguments)

    async def read(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs a store method that only reads, beside the writer."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, function, *arguments)

    async def find(self, job_id: str) -> Job | None:
        """A job as it is now, or None."""
        active = self.active.get(job_id)
        return active.job if active is not None else await self.read(self.store.get, job_id)

    async def get(self, job_id: str) -> Job:
        """A job as it is now; raises JobNotFoundError."""
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

        A job that has ended stays as it is; the caller looks at the answer. `before_publishing` is awaited once the
        change is stored and before anybody hears of it; it raises nothing.
        With `must_write` a full disk is no reason not to. Once begun it is carried out, also if the caller is
        cancelled: store and watchers never differ.
        """
        write = self.must_write if must_write else self.write
        return await run_to_completion(self._record(active, change, kind, body, write, before_publishing))

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

    async def accept(self, job: Job, request_id: str, fingerprint: str) -> None:
        """Stores a new run; one whose result was there already has ended, and its callbacks with it.

        Such a run and its callbacks are told with `publish_ended`, once the result's files are in their place.
        """
        now = self.now()
        callbacks = callbacks_due(None, job, now, self._new_id)
        if job.state.ended:
            self._withheld.add(job.run_id)
        try:
            await self.write(self.store.accept, job, request_id, fingerprint, now, callbacks)
        except BaseException:
            self._withheld.discard(job.run_id)
            raise
        finally:
            self.change_feed.changed()

    def publish_ended(self, run_id: str) -> None:
        """Tells of an accepted run that has ended, and of its callbacks."""
        self._withheld.discard(run_id)
        self.change_feed.changed()
        self.tell_callbacks()

    async def remove(self, job_id: str) -> None:
        """Removes a job from the store, on a full disk too."""
        try:
            await self.must_write(self.store.delete, job_id, self.now())
        finally:
            self.change_feed.changed()

    def _is_published(self, job: Job) -> bool:
        active = self.active.get(job.job_id)
        if active is not None and active.job.run_id == job.run_id:
            return active.job.revision >= job.revision
        return job.run_id not in self._withheld

    def tell_callbacks(self) -> None:
        """Tells whoever sends callbacks that there are new ones."""
        for listener in self.on_callbacks:
            listener()

    def _keep_log(self, active: ActiveJob) -> None:
        self.ended_logs[active.job.job_id] = active.event_log
        while len(self.ended_logs) > LOGS_KEPT:
            del self.ended_logs[next(iter(self.ended_logs))]

    def close(self) -> None:
        """Waits for what is being stored and closes the store."""
        self._writer.shutdown(wait=True)
        self._reader.shutdown(wait=True)
        self.store.close()

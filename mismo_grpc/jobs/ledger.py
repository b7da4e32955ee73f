"""The one place that changes a job: stored first, then told to whoever watches."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from mismo_grpc.errors import DiskFullError
from mismo_grpc.jobs.callbacks import callbacks_due
from mismo_grpc.jobs.events import Event, EventKind
from mismo_grpc.jobs.feed import JobFeed, Pulse
from mismo_grpc.jobs.job import Job, Progress, StageStatus
from mismo_grpc.jobs.spare_room import SpareRoom
from mismo_grpc.jobs.store import JobStore
from mismo_grpc.jobs.unbroken import unbroken
from mismo_grpc.separation.engine import Separation
from mismo_grpc.separation.ranges import RangeSet

T = TypeVar("T")

FEEDS_KEPT = 256


@dataclass(eq=False)
class ActiveJob:
    """A job that has not ended, with what lives only in memory; touched on the event loop only."""

    job: Job
    feed: JobFeed
    ready: RangeSet = field(default_factory=RangeSet)
    separation: Separation | None = None
    task: asyncio.Task[None] | None = None
    cancelling: bool = False
    playhead: float | None = None
    """Seconds; the latest one asked for."""
    separating_since: float | None = None
    """Seconds of the monotonic clock."""
    tiles_before: int = 0
    """Tiles that were done before this process took the job up."""
    stems_pulse: Pulse = field(default_factory=Pulse)
    """Beats as soon as frames are final, before that is stored and told."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class JobLedger:
    """Active jobs in memory, all jobs in the store; store calls go through one writer thread."""

    def __init__(
        self,
        store: JobStore,
        now: Callable[[], float],
        spare: SpareRoom | None = None,
        *,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self.store = store
        self.spare = spare
        self.now = now
        self.active: dict[str, ActiveJob] = {}
        self.ended_feeds: dict[str, JobFeed] = {}
        """Of the last jobs that ended, for watchers that come back."""
        self.changing_hands = asyncio.Lock()
        """Held while a job_id and its folder pass from one run to the next, or go: never while a job is waited for."""
        self.on_callbacks: list[Callable[[], None]] = []
        """Called on the event loop once callbacks are stored, for whoever sends them."""
        self.on_change: list[Callable[[Job, Job, Event], None]] = []
        """Called on the event loop with a job before and after each stored change."""
        self.on_accepted: list[Callable[[Job], None]] = []
        """Called on the event loop with each accepted job."""
        self._new_id = new_id
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="store-read")

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs a store method that writes in the writer thread."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, function, *arguments)

    async def insist(self, function: Callable[..., T], *arguments: Any) -> T:
        """`call` for what must be stored on a full disk too."""
        try:
            return await self.call(function, *arguments)
        except DiskFullError:
            if self.spare is None or not await self.call(self.spare.release):
                raise
            return await self.call(function, *arguments)

    async def look(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs a store method that only reads, beside the writer."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, function, *arguments)

    async def find(self, job_id: str) -> Job | None:
        """A job as it is now, or None."""
        active = self.active.get(job_id)
        return active.job if active is not None else await self.look(self.store.get, job_id)

    async def record(
        self,
        active: ActiveJob,
        change: Callable[[Job], Job],
        kind: EventKind,
        body: StageStatus | tuple[tuple[int, int], ...] | None = None,
        *,
        insist: bool = False,
        before_publishing: Callable[[], Awaitable[object]] | None = None,
    ) -> Job:
        """Applies a change as the job's next revision, stores it with the callbacks it causes, then publishes it.

        A job that has ended stays as it is; the caller looks at the answer. `before_publishing` is awaited once the
        change is stored and before anybody hears of it; it raises nothing.
        With `insist` a full disk is no reason not to. Once begun it is carried out, also if the caller is
        cancelled: store and watchers never differ.
        """
        call = self.insist if insist else self.call
        return await unbroken(self._record(active, change, kind, body, call, before_publishing))

    async def _record(
        self,
        active: ActiveJob,
        change: Callable[[Job], Job],
        kind: EventKind,
        body: StageStatus | tuple[tuple[int, int], ...] | None,
        call: Callable[..., Awaitable[bool]],
        before_publishing: Callable[[], Awaitable[object]] | None,
    ) -> Job:
        async with active.lock:
            if active.job.state.ended:
                return active.job
            job = change(active.job)
            job = replace(job, revision=active.job.revision + 1)
            event = Event(job.revision, self.now(), kind, body)
            callbacks = callbacks_due(job, kind, event.time, self._new_id)
            await call(self.store.save, job, callbacks)
            if before_publishing is not None:
                await before_publishing()
            before, active.job = active.job, job
            if kind is EventKind.SEGMENT_READY and isinstance(body, tuple):
                active.ready = active.ready.union(body)
            if job.state.ended:
                self.active.pop(job.job_id, None)
                self._keep_feed(active)
            active.feed.publish(event)
            for tell in self.on_change:
                tell(before, job, event)
            if callbacks:
                self.tell_callbacks()
            return job

    async def accept(self, job: Job, request_id: str, fingerprint: str) -> None:
        """Stores a new run; one whose result was there already has ended, and its callbacks with it.

        They are told by the caller, once the result's files are in their place.
        """
        now = self.now()
        callbacks = callbacks_due(job, EventKind.TERMINAL, now, self._new_id)
        await self.call(self.store.accept, job, request_id, fingerprint, now, callbacks)

    def tell_callbacks(self) -> None:
        """Tells whoever sends callbacks that there are new ones."""
        for listener in self.on_callbacks:
            listener()

    def _keep_feed(self, active: ActiveJob) -> None:
        self.ended_feeds[active.job.job_id] = active.feed
        while len(self.ended_feeds) > FEEDS_KEPT:
            del self.ended_feeds[next(iter(self.ended_feeds))]

    def close(self) -> None:
        """Waits for what is being stored and closes the store."""
        self._writer.shutdown(wait=True)
        self._reader.shutdown(wait=True)
        self.store.close()


def progress_of(active: ActiveJob, position: int, clock: float, tile_seconds: float) -> Progress:
    """How far a job is: `clock` is the monotonic time now, `tile_seconds` a segment's usual time (0: unknown)."""
    job = active.job
    total, done = job.segments_total, job.segments_done
    if total == 0:
        return Progress(queue_position=position)
    eta: float | None = None
    fresh = done - active.tiles_before
    if active.separating_since is not None and fresh > 0:
        eta = (clock - active.separating_since) / fresh * (total - done)
    elif tile_seconds > 0:
        eta = tile_seconds * (total - done)
    return Progress(done / total, eta, position, done, total)

"""The events of one job for its watchers: replayed after a reconnect, merged for slow readers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from functools import partial

from mismo_grpc.broadcast import Broadcast
from mismo_grpc.jobs.events import Event, EventKind
from mismo_grpc.jobs.job import Job, Progress, StageStatus
from mismo_grpc.separation.ranges import RangeSet

REPLAY_EVENTS = 2048
"""Events kept in memory for replay; a watcher that needs older ones gets a snapshot of the job instead."""


@dataclass(frozen=True)
class JobView:
    """A job with its progress and ready frames, which change too often to be stored."""

    job: Job
    progress: Progress
    ready: RangeSet


@dataclass(frozen=True)
class SegmentsReady:
    """Frame ranges of a run that became final."""

    ranges: tuple[tuple[int, int], ...]
    run_id: str


@dataclass(frozen=True)
class Heartbeat:
    """Shows that the stream is alive when there is nothing else to send."""


@dataclass(frozen=True)
class Ended:
    """The last event: the job as it ended."""

    view: JobView


@dataclass(frozen=True)
class WatchEvent:
    """One message to a watcher; `time` is in seconds since the epoch. A `JobView` is a snapshot."""

    revision: int
    time: float
    body: JobView | StageStatus | Progress | SegmentsReady | Heartbeat | Ended


class JobEventLog:
    """The recent events of one job and the broadcast that announces them."""

    def __init__(self, revision: int) -> None:
        self._events: deque[Event] = deque(maxlen=REPLAY_EVENTS)
        self._first = revision + 1
        self.revision = revision
        self.changed = Broadcast()
        self.touches = 0
        """How often the job's progress changed, which is not an event."""

    def publish(self, event: Event) -> None:
        """Adds the event of the next revision and wakes the watchers."""
        if len(self._events) == REPLAY_EVENTS:
            self._first = self._events[1].revision
        self._events.append(event)
        self.revision = event.revision
        self.changed.notify()

    def has_news(self, revision: int, touches: int) -> bool:
        """Whether there is a newer event than `revision`, or newer progress than at `touches`."""
        return self.revision > revision or self.touches > touches

    def touch(self) -> None:
        """Wakes the watchers because the job's progress changed."""
        self.touches += 1
        self.changed.notify()

    def can_replay(self, after_revision: int) -> bool:
        """Whether every event after this revision is still kept."""
        return self._first - 1 <= after_revision <= self.revision

    def after(self, revision: int) -> list[Event]:
        """The events after a revision; consecutive segment-ready events are merged into one."""
        newer: list[Event] = []
        for event in reversed(self._events):
            if event.revision <= revision:
                break
            newer.append(event)
        merged: list[Event] = []
        for event in reversed(newer):
            last = merged[-1] if merged else None
            if (
                last is not None
                and last.kind is EventKind.SEGMENT_READY
                and event.kind is EventKind.SEGMENT_READY
                and isinstance(last.body, tuple)
                and isinstance(event.body, tuple)
            ):
                ranges = tuple(RangeSet((*last.body, *event.body)))
                merged[-1] = Event(event.revision, event.time, event.kind, ranges)
            else:
                merged.append(event)
        return merged


async def watch_events(
    log: JobEventLog,
    view: Callable[[], JobView],
    now: Callable[[], float],
    *,
    after_revision: int,
    replay: bool,
    heartbeat: float,
    min_progress_interval: float,
) -> AsyncGenerator[WatchEvent]:
    """Yields a job's events until it has ended; intervals in seconds, `now` gives the time of day for the events.

    A watcher has no queue: each turn takes the events since the last turn. So a slow reader uses no memory, and gets
    segment-ready events merged and only the latest progress.
    """
    seen = after_revision
    if not (replay and log.can_replay(after_revision)):
        current = view()
        seen = current.job.revision
        yield WatchEvent(seen, now(), current)
    # A monotonic clock, because the time of day may be set back.
    clock = asyncio.get_running_loop().time
    last_progress: Progress | None = None
    progress_due = clock()
    heartbeat_due = clock() + heartbeat
    while True:
        if not log.can_replay(seen):
            current = view()
            seen = current.job.revision
            yield WatchEvent(seen, now(), current)
        for event in log.after(seen):
            seen = event.revision
            heartbeat_due = clock() + heartbeat
            if isinstance(event.body, StageStatus):
                yield WatchEvent(event.revision, event.time, event.body)
            elif isinstance(event.body, tuple):
                yield WatchEvent(event.revision, event.time, SegmentsReady(event.body, view().job.run_id))
            elif event.kind is EventKind.UPDATED:
                yield WatchEvent(event.revision, event.time, view())
        touches = log.touches
        current = view()
        if current.job.state.ended and current.job.revision <= seen:
            yield WatchEvent(seen, now(), Ended(current))
            return
        if current.progress != last_progress and clock() >= progress_due:
            last_progress = current.progress
            progress_due = clock() + min_progress_interval
            heartbeat_due = clock() + heartbeat
            yield WatchEvent(seen, now(), current.progress)
        if clock() >= heartbeat_due:
            heartbeat_due = clock() + heartbeat
            yield WatchEvent(seen, now(), Heartbeat())
        wait = heartbeat_due - clock()
        if current.progress != last_progress:
            wait = min(wait, progress_due - clock())
        await log.changed.wait(partial(log.has_news, seen, touches), max(0.0, wait))

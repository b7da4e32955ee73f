"""Watches all jobs: first the changes since a cursor, each job in its newest state, then live changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from mismo_grpc.jobs.change_feed import matches
from mismo_grpc.jobs.cursor import Cursor, decode_cursor, encode_cursor, expired
from mismo_grpc.jobs.event_log import Heartbeat, JobView
from mismo_grpc.jobs.job import Job, JobState, Progress
from mismo_grpc.jobs.repository import JobRepository
from mismo_grpc.jobs.store.change_records import Change, ChangeHead, RemovedJob


@dataclass(frozen=True)
class WatchedJobs:
    """The filter of a watch: jobs in any of `states` (empty: all) that have all of `labels`."""

    states: Collection[JobState] = ()
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class RunProgress:
    """Progress of a running job."""

    job_id: str
    run_id: str
    progress: Progress


@dataclass(frozen=True)
class CaughtUp:
    """All changes from before the watch began have been sent."""


@dataclass(frozen=True)
class JobsEvent:
    """One message to a watcher, which can continue after it with `cursor`. `time` is in seconds since the epoch."""

    cursor: str
    time: float
    body: JobView | RemovedJob | RunProgress | CaughtUp | Heartbeat


async def watch_jobs(
    repository: JobRepository,
    view: Callable[[Job], JobView],
    watched: WatchedJobs,
    *,
    cursor: str,
    heartbeat: float,
    min_progress_interval: float,
) -> AsyncGenerator[JobsEvent]:
    """Yields the changes since `cursor` ("": all jobs that match), then live changes, forever; intervals in seconds.

    A watcher has no queue: it has a position in the numbered changes, and reads the changes after it. So a slow reader
    uses no memory, and gets each job once in its newest state. `view` gives the current view of a stored job.
    Raises InvalidFieldError for a text that is no cursor, CursorExpiredError, StoreError, DiskFullError.
    """
    asked = decode_cursor(cursor) if cursor else None
    async with repository.change_feed.watching() as head:
        begin = await _begin(repository, asked, head)
        watch = _Watch(repository, view, watched, begin, head.last_change, heartbeat, min_progress_interval)
        while True:
            wakes, before = repository.change_feed.wakes, watch.position
            await repository.change_feed.load()
            page = await repository.change_feed.after(watch.position, watched.states, watched.labels)
            if page.forgotten > watch.removals:
                # The sweeper has forgotten removals that this watcher has not read.
                raise expired()
            for change in page.changes:
                if repository.change_feed.is_behind:
                    await repository.change_feed.load()
                event = watch.advance(change)
                if event is not None:
                    yield event
            watch.position = page.position
            for event in watch.due_events():
                yield event
            if watch.position == before:
                await repository.change_feed.woken.wait(
                    lambda seen=wakes: repository.change_feed.wakes != seen, watch.seconds_until_due()
                )


async def _begin(repository: JobRepository, asked: Cursor | None, head: ChangeHead) -> Cursor:
    if asked is None:
        await repository.change_feed.load()
        # Reads from now on do not contain the jobs that were removed up to the head.
        return Cursor(head.start_id, 0, repository.change_feed.head)
    last: int | None = await repository.read(repository.store.last_change_of, asked.start_id)
    if last is None or not head.forgotten_change <= asked.removals <= last:
        raise expired()
    return replace(asked, start_id=head.start_id)


class _Watch:
    """The state of one watcher: its position, and the last progress that it was sent of each running job."""

    def __init__(
        self,
        repository: JobRepository,
        view: Callable[[Job], JobView],
        watched: WatchedJobs,
        begin: Cursor,
        target: int,
        heartbeat: float,
        min_progress_interval: float,
    ) -> None:
        self.position = begin.position
        self._begin = begin
        self._repository = repository
        self._view = view
        self._watched = watched
        self._target = target
        self._caught_up = False
        self._heartbeat = heartbeat
        self._interval = min_progress_interval
        # A monotonic clock, because the time of day may be set back.
        self._clock = asyncio.get_running_loop().time
        self._heartbeat_due = self._clock() + heartbeat
        self._progress_due = self._clock()
        self._running: dict[str, tuple[str, Progress]] = {}
        """The run and the last sent progress of each running job that the watcher knows, by job_id."""

    @property
    def removals(self) -> int:
        """The number up to which removals have been sent or need not be sent."""
        return max(self.position, self._begin.removals)

    def advance(self, change: Change) -> JobsEvent | None:
        """Advances to a change and returns its event, None if there is nothing to send."""
        sent_removals = self.removals
        self.position = change.number
        subject = change.subject
        if isinstance(subject, RemovedJob):
            return None if change.number <= sent_removals else self._event(subject, subject.removed_at)
        if self._repository.change_feed.is_outdated(change):
            return None
        current = self._view(subject)
        job = current.job
        if not matches(job, self._watched.states, self._watched.labels):
            return None
        if job.state is JobState.RUNNING:
            self._running[job.job_id] = (job.run_id, current.progress)
        return self._event(current)

    def due_events(self) -> Iterator[JobsEvent]:
        """The other events that are due: caught up, progress, heartbeat."""
        if not self._caught_up and self.position >= self._target:
            self._caught_up = True
            self._add_running_jobs()
            yield self._event(CaughtUp())
        if self._caught_up and self._clock() >= self._progress_due:
            yield from self._progress_events()
        if self._clock() >= self._heartbeat_due:
            yield self._event(Heartbeat())

    def seconds_until_due(self) -> float:
        """Seconds until an event may be due without a notification."""
        now = self._clock()
        due = self._heartbeat_due
        if self._running:
            # Some progress comes without a notification.
            due = min(due, self._progress_due if self._progress_due > now else now + self._interval)
        return max(0.0, due - now)

    def _add_running_jobs(self) -> None:
        for job_id, active in self._repository.active.items():
            job = active.job
            if job.state is JobState.RUNNING and matches(job, self._watched.states, self._watched.labels):
                self._running.setdefault(job_id, (job.run_id, self._view(job).progress))

    def _progress_events(self) -> Iterator[JobsEvent]:
        for job_id, (run_id, last) in list(self._running.items()):
            active = self._repository.active.get(job_id)
            if active is None or active.job.run_id != run_id or active.job.state is not JobState.RUNNING:
                del self._running[job_id]
                continue
            progress = self._view(active.job).progress
            if progress != last:
                self._running[job_id] = (run_id, progress)
                self._progress_due = self._clock() + self._interval
                yield self._event(RunProgress(job_id, run_id, progress))

    def _event(
        self, body: JobView | RemovedJob | RunProgress | CaughtUp | Heartbeat, time: float | None = None
    ) -> JobsEvent:
        self._heartbeat_due = self._clock() + self._heartbeat
        cursor = Cursor(self._begin.start_id, self.position, self.removals)
        return JobsEvent(encode_cursor(cursor), self._repository.now() if time is None else time, body)

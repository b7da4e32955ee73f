"""The scheduler: one queue for all jobs, which chooses the segment to compute next.

It chooses by (priority class, deadline). In a job that a player follows, each segment's deadline is the moment when
playback needs it. A job without a player has its deadline `PATIENCE_SECONDS` after it was submitted, so it waits for
the followed jobs of its class, but not forever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Generator, Hashable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field

from mismo_grpc.separation.grid import Plan, Segment

PATIENCE_SECONDS = 600.0
EXPECTATION_SECONDS = 0.5
"""The longest time that the device stays idle for a more urgent job that is being decoded."""


@dataclass
class Playhead:
    """A player's position: it was at `frame` at the time `since` (seconds of the scheduler's clock)."""

    frame: int
    since: float


@dataclass(eq=False)
class ScheduledJob:
    """A job in the scheduler's queue."""

    plan: Plan
    sample_rate: int
    priority: int
    submitted_at: float
    batch_key: Hashable
    """Segments of jobs with equal keys can be in one batch."""
    pending: set[int] = field(default_factory=set[int])
    running: set[int] = field(default_factory=set[int])
    alone: set[int] = field(default_factory=set[int])
    """Indexes of segments that run without others, because their batch failed and another segment may be the cause."""
    playheads: dict[object, Playhead] = field(default_factory=dict[object, Playhead])
    hint: Playhead | None = None
    """The playhead that the job's owner gave; used until a player follows and reports its own position."""
    start_frame: int = 0
    """The frame where a job without a player begins."""
    on_taken: Callable[[], None] | None = None
    """Called after segments of this job were taken, in the thread that took them."""

    def next_segment(self) -> tuple[float, int] | None:
        """Returns (deadline, segment index) of the most urgent segment that is not done; None if there is none."""
        if not self.pending:
            return None
        heads = list(self.playheads.values()) or ([self.hint] if self.hint is not None else [])
        if not heads:
            return self.submitted_at + PATIENCE_SECONDS, self._from(self.start_frame)[1]
        best: tuple[float, int] | None = None
        for head in heads:
            ahead, index = self._from(head.frame)
            candidate = (head.since + ahead / self.sample_rate, index)
            if best is None or candidate < best:
                best = candidate
        return best

    def order(self) -> dict[int, tuple[float, int, int]]:
        """Returns a sort key for each segment that is not taken: (deadline, 1 if behind the playhead, index)."""
        heads = list(self.playheads.values()) or ([self.hint] if self.hint is not None else [])
        segments, total = self.plan.segments, self.plan.total_frames
        keys: dict[int, tuple[float, int, int]] = {}
        for index in self.pending:
            segment = segments[index]
            if not heads:
                behind = int(segment.end <= self.start_frame)
                keys[index] = (self.submitted_at + PATIENCE_SECONDS, behind, index)
                continue
            deadline = min(
                head.since
                + (
                    max(0, segment.start - head.frame)
                    if segment.end > head.frame
                    else max(0, total - head.frame) + max(0, segment.start)
                )
                / self.sample_rate
                for head in heads
            )
            keys[index] = (deadline, 0, index)
        return keys

    def _from(self, frame: int) -> tuple[int, int]:
        """Returns (frames until it is needed, index) of the first pending segment from `frame` on, or of the track."""
        segments = self.plan.segments
        ahead = [i for i in self.pending if segments[i].end > frame]
        if ahead:
            index = min(ahead)
            return max(0, segments[index].start - frame), index
        index = min(self.pending)
        return max(0, self.plan.total_frames - frame) + max(0, segments[index].start), index


@dataclass(frozen=True)
class Task:
    """One segment to compute."""

    job: ScheduledJob
    segment: Segment


class Scheduler:
    """Gives out segments, the most urgent first; thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self.clock = clock
        self._jobs: list[ScheduledJob] = []
        self._changed = threading.Condition()
        self._closed = False
        self._expected: dict[object, tuple[int, float]] = {}
        self._taken_at = 0.0

    @contextmanager
    def expecting(self, priority: int) -> Generator[None]:
        """Withholds segments of lower classes while a job of this class is prepared, EXPECTATION_SECONDS at most.

        A running segment cannot be interrupted: one that begins just before the urgent job is ready would delay it by
        a whole segment.
        """
        me = object()
        with self._changed:
            self._expected[me] = (priority, self.clock() + EXPECTATION_SECONDS)
        try:
            yield
        finally:
            with self._changed:
                del self._expected[me]
                self._changed.notify_all()

    def add(self, job: ScheduledJob) -> None:
        """Queues a job's pending segments."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    def remove(self, job: ScheduledJob) -> None:
        """Removes a job; the caller of `take` discards the output of segments that are in progress."""
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)

    def follow(self, job: ScheduledJob, player: object, frame: int) -> None:
        """Records that a player of this job is at `frame` now."""
        with self._changed:
            job.playheads[player] = Playhead(frame, self.clock())
            job.hint = None

    def suggest(self, job: ScheduledJob, frame: int | None) -> None:
        """Records the playhead that the job's owner gave; positions of players that follow take precedence.

        None withdraws an earlier playhead: unless a player follows, the job then continues from its start.
        """
        with self._changed:
            job.hint = None if frame is None else Playhead(frame, self.clock())
            if frame is None:
                job.start_frame = 0

    def unfollow(self, job: ScheduledJob, player: object) -> None:
        """Forgets a player that has left."""
        with self._changed:
            head = job.playheads.pop(player, None)
            if head is not None and not job.playheads:
                job.start_frame = head.frame

    def set_priority(self, job: ScheduledJob, priority: int) -> None:
        """Moves a job to another priority class."""
        with self._changed:
            job.priority = priority

    def ahead_of(self, job: ScheduledJob, needed: Collection[int]) -> list[tuple[ScheduledJob, int]]:
        """Counts, for each job, the segments that are due before the last of `needed` (segments of `job`) is taken.

        The last one itself counts; segments that were taken already do not. Later changes are not foreseen.
        """
        with self._changed:
            own = job.order()
            last = max((own[index] for index in needed if index in own), default=None)
            if last is None:
                return []
            counts = [(job, sum(key <= last for key in own.values()))]
            for other in self._jobs:
                if other is job or other.priority < job.priority or not other.pending:
                    continue
                if other.priority > job.priority:
                    counts.append((other, len(other.pending)))
                    continue
                rank = (last[0], job.submitted_at)
                before = sum((key[0], other.submitted_at) < rank for key in other.order().values())
                counts.append((other, before))
            return counts

    def is_taken(self, job: ScheduledJob, indexes: Iterable[int]) -> bool:
        """Whether any of these segments is computed or written now."""
        with self._changed:
            return any(index in job.running for index in indexes)

    @property
    def taken_ago(self) -> float | None:
        """Seconds since segments were taken last; None if none is being computed or written."""
        with self._changed:
            return self.clock() - self._taken_at if any(job.running for job in self._jobs) else None

    def take(self, max_batch: int, timeout: float | None = None) -> list[Task]:
        """Waits for work; returns the most urgent segment and others that can be in its batch.

        Returns an empty list after `timeout` seconds or once closed.
        """
        batch = self._take(max_batch, timeout)
        for on_taken in {task.job.on_taken for task in batch}:
            if on_taken is not None:
                on_taken()
        return batch

    def _take(self, max_batch: int, timeout: float | None) -> list[Task]:
        with self._changed:
            until = float("inf") if timeout is None else self.clock() + timeout
            while not self._closed:
                batch = self._next_batch(max_batch)
                now = self.clock()
                if batch:
                    self._taken_at = now
                if batch or now >= until:
                    return batch
                wake = min([until, *(end for _, end in self._live_expectations())])
                self._changed.wait(None if wake == float("inf") else max(0.001, wake - now))
            return []

    def _live_expectations(self) -> list[tuple[int, float]]:
        now = self.clock()
        return [(priority, end) for priority, end in self._expected.values() if end > now]

    def _next_batch(self, max_batch: int) -> list[Task]:
        batch: list[Task] = []
        while len(batch) < max_batch:
            task = self._most_urgent(batch[0] if batch else None)
            if task is None:
                break
            task.job.pending.remove(task.segment.index)
            task.job.running.add(task.segment.index)
            batch.append(task)
            if task.segment.index in task.job.alone:
                break
        return batch

    def _most_urgent(self, like: Task | None) -> Task | None:
        best: tuple[int, float, float] | None = None
        choice: Task | None = None
        floor = max((priority for priority, _ in self._live_expectations()), default=None)
        for job in self._jobs:
            if floor is not None and job.priority < floor:
                continue
            if like is not None and job.batch_key != like.job.batch_key:
                continue
            following = job.next_segment()
            if following is None:
                continue
            deadline, index = following
            segment = job.plan.segments[index]
            if like is not None and (
                index in job.alone
                or (segment.length, segment.grid) != (like.segment.length, like.segment.grid)
            ):
                continue
            rank = (-job.priority, deadline, job.submitted_at)
            if best is None or rank < best:
                best, choice = rank, Task(job, segment)
        return choice

    def finish(self, task: Task) -> None:
        """Records that the segment is done."""
        with self._changed:
            task.job.running.discard(task.segment.index)

    def give_back(self, task: Task) -> None:
        """Queues a segment that was not done again, for a batch of its own."""
        with self._changed:
            task.job.running.discard(task.segment.index)
            task.job.alone.add(task.segment.index)
            task.job.pending.add(task.segment.index)
            self._changed.notify_all()

    def run_again(self, job: ScheduledJob, indexes: Iterable[int]) -> None:
        """Queues segments again that were done already."""
        with self._changed:
            job.pending.update(index for index in indexes if index not in job.running)
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """The number of segments that are not taken yet."""
        with self._changed:
            return sum(len(job.pending) for job in self._jobs)

    def close(self) -> None:
        """Makes every present and later call of `take` return at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

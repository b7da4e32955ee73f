"""One queue for all jobs: which segment is computed next.

Chosen by (priority class, deadline). A job that a player follows has a deadline for each segment: the
moment playback needs it. A job that nobody follows is due `PATIENCE_SECONDS` after it came, so it
waits for the followed ones of its class, but not for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Hashable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field

from mismo_grpc.separation.grid import Plan, Tile

PATIENCE_SECONDS = 600.0
EXPECTATION_SECONDS = 0.5
"""How long the device may stand still for a more urgent job that is being decoded."""


@dataclass
class Playhead:
    """Where a player is: it was at `frame` at the time `since` (seconds of the scheduler's clock)."""

    frame: int
    since: float


@dataclass(eq=False)
class Lane:
    """One job's part of the queue."""

    plan: Plan
    sample_rate: int
    priority: int
    submitted_at: float
    batch_key: Hashable
    """Tiles whose lanes share it may go through the model together."""
    pending: set[int] = field(default_factory=set[int])
    running: set[int] = field(default_factory=set[int])
    alone: set[int] = field(default_factory=set[int])
    """Tiles that share no batch: theirs failed, and another tile in it may have been the reason."""
    playheads: dict[object, Playhead] = field(default_factory=dict[object, Playhead])
    hint: Playhead | None = None
    """Where a player is said to be; counts until a player follows and tells it itself."""
    start_frame: int = 0
    """Where a job that nobody follows begins."""

    def next_tile(self) -> tuple[float, int] | None:
        """(deadline, tile index) of the most urgent tile that is not done; None if there is none."""
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

    def _from(self, frame: int) -> tuple[int, int]:
        """(frames until it is needed, index) of the first pending tile from `frame` on, then from the start."""
        tiles = self.plan.tiles
        ahead = [i for i in self.pending if tiles[i].end > frame]
        if ahead:
            index = min(ahead)
            return max(0, tiles[index].start - frame), index
        index = min(self.pending)
        return max(0, self.plan.total_frames - frame) + max(0, tiles[index].start), index


@dataclass(frozen=True)
class Task:
    """One tile to compute."""

    lane: Lane
    tile: Tile


class Scheduler:
    """Hands out tiles, most urgent first; thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self.clock = clock
        self._lanes: list[Lane] = []
        self._changed = threading.Condition()
        self._closed = False
        self._expected: dict[object, tuple[int, float]] = {}

    @contextmanager
    def expecting(self, priority: int) -> Generator[None]:
        """Holds tiles of lower classes back while a job of this class is made ready, EXPECTATION_SECONDS at most.

        A tile cannot be interrupted: one that begins just before the urgent job is ready would cost it a segment.
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

    def add(self, lane: Lane) -> None:
        """Queues a lane's pending tiles."""
        with self._changed:
            self._lanes.append(lane)
            self._changed.notify_all()

    def remove(self, lane: Lane) -> None:
        """Forgets a lane; what runs of it is finished and dropped by whoever runs it."""
        with self._changed:
            if lane in self._lanes:
                self._lanes.remove(lane)

    def follow(self, lane: Lane, player: object, frame: int) -> None:
        """A player of this lane is at `frame` now."""
        with self._changed:
            lane.playheads[player] = Playhead(frame, self.clock())
            lane.hint = None

    def suggest(self, lane: Lane, frame: int) -> None:
        """Whoever plays this lane is said to be at `frame`; players that follow know better."""
        with self._changed:
            lane.hint = Playhead(frame, self.clock())

    def unfollow(self, lane: Lane, player: object) -> None:
        """The player left."""
        with self._changed:
            head = lane.playheads.pop(player, None)
            if head is not None and not lane.playheads:
                lane.start_frame = head.frame

    def set_priority(self, lane: Lane, priority: int) -> None:
        """Moves a lane to another class."""
        with self._changed:
            lane.priority = priority

    def take(self, max_batch: int, timeout: float | None = None) -> list[Task]:
        """Waits for work and answers the most urgent tile, and further ones that fit into its batch.

        Empty on a timeout (seconds) or once closed.
        """
        with self._changed:
            until = float("inf") if timeout is None else self.clock() + timeout
            while not self._closed:
                batch = self._next_batch(max_batch)
                now = self.clock()
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
            task.lane.pending.remove(task.tile.index)
            task.lane.running.add(task.tile.index)
            batch.append(task)
            if task.tile.index in task.lane.alone:
                break
        return batch

    def _most_urgent(self, like: Task | None) -> Task | None:
        best: tuple[int, float, float] | None = None
        choice: Task | None = None
        floor = max((priority for priority, _ in self._live_expectations()), default=None)
        for lane in self._lanes:
            if floor is not None and lane.priority < floor:
                continue
            if like is not None and lane.batch_key != like.lane.batch_key:
                continue
            following = lane.next_tile()
            if following is None:
                continue
            deadline, index = following
            tile = lane.plan.tiles[index]
            if like is not None and (
                index in lane.alone or (tile.length, tile.grid) != (like.tile.length, like.tile.grid)
            ):
                continue
            rank = (-lane.priority, deadline, lane.submitted_at)
            if best is None or rank < best:
                best, choice = rank, Task(lane, tile)
        return choice

    def finish(self, task: Task) -> None:
        """The tile is done."""
        with self._changed:
            task.lane.running.discard(task.tile.index)

    def give_back(self, task: Task) -> None:
        """The tile was not done; it is queued again, for a batch of its own."""
        with self._changed:
            task.lane.running.discard(task.tile.index)
            task.lane.alone.add(task.tile.index)
            task.lane.pending.add(task.tile.index)
            self._changed.notify_all()

    def run_again(self, lane: Lane, indexes: Iterable[int]) -> None:
        """Tiles that were done must run again."""
        with self._changed:
            lane.pending.update(index for index in indexes if index not in lane.running)
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """Tiles that nobody has taken yet."""
        with self._changed:
            return sum(len(lane.pending) for lane in self._lanes)

    def close(self) -> None:
        """Lets everyone who waits in `take` go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

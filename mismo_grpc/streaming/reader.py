"""Reads the stems of one job, finished or growing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mismo_grpc.broadcast import Broadcast
from mismo_grpc.errors import MismoError, StreamInterruptedError
from mismo_grpc.executors import InThread
from mismo_grpc.separation.stems import StemLayout, StemSet
from mismo_grpc.streaming.messages import NotReadyReason
from mismo_grpc.streaming.source import SourceRun

T = TypeVar("T")


def _ignore(player: object, frame: int = 0) -> None:
    pass


@dataclass(frozen=True)
class RunningJob:
    """What a reader asks of a job that still runs, and tells it; frames are those of the stems."""

    follow: Callable[[object, int], None]
    """A player is at this frame."""
    unfollow: Callable[[object], None]
    """That player is gone."""
    grows: Callable[[], bool]
    """False if the job was stopped and goes on in other files than these."""
    reason: Callable[[int], NotReadyReason]
    """Why a frame is not final yet."""
    expected_seconds: Callable[[int], float | None]
    """When such a frame is expected, in seconds from now."""


NOT_RUNNING = RunningJob(_ignore, _ignore, lambda: True, lambda _: NotReadyReason.SEPARATING, lambda _: None)
"""A job that has ended: nothing to wait for, nobody to tell."""


class StemReader:
    """Held while reading: the job's files are not removed under it. On the event loop only."""

    def __init__(
        self,
        run: SourceRun,
        stems: StemSet,
        changed: Broadcast,
        ended: Callable[[], bool],
        ended_without: Callable[[], MismoError],
        sha256s: Callable[[], Sequence[str]],
        job: RunningJob = NOT_RUNNING,
        in_thread: InThread = asyncio.to_thread,
    ) -> None:
        """`changed` is notified when frames become final, a segment begins, or the job ends.

        `ended` tells whether the job has ended, `ended_without` why it lacks a frame that a reader waits for.
        """
        self._run = run
        self._stems = stems
        self._changed = changed
        self._ended = ended
        self._ended_without = ended_without
        self._sha256s = sha256s
        self._job = job
        self._in_thread = in_thread

    @property
    def run(self) -> SourceRun:
        """Whose stems they are."""
        return self._run

    @classmethod
    def of_finished(
        cls,
        run: SourceRun,
        stems: StemSet,
        sha256s: Sequence[str],
        ended_without: Callable[[], MismoError],
        in_thread: InThread = asyncio.to_thread,
    ) -> StemReader:
        """Reads a job that has ended: nothing to wait for, nobody to tell."""
        return cls(run, stems, Broadcast(), lambda: True, ended_without, lambda: sha256s, in_thread=in_thread)

    @property
    def layout(self) -> StemLayout:
        """Names, rate, channels, length and the files' encoding."""
        return self._stems.layout

    def ready_end(self, start_frame: int) -> int:
        """Frames [start_frame, result) are final; `start_frame` itself if that one is not."""
        return self._stems.ready.end_of(start_frame)

    def next_ready(self, start_frame: int) -> int:
        """The first final frame from `start_frame` on; the end of the track if there is none."""
        total = self.layout.total_frames
        gaps = self._stems.ready.missing(start_frame, total)
        return gaps[0][1] if gaps and gaps[0][0] == start_frame else start_frame

    async def wait_ready(self, start_frame: int, timeout: float, interrupted: Callable[[], bool]) -> bool:
        """Waits until a frame is final; False after `timeout` seconds, or once `interrupted` holds.

        Raises JobFailedError or JobNotReadyError if the job ended without it, StreamInterruptedError if the job was
        stopped and has begun again.
        """

        def settled() -> bool:
            ready = self.ready_end(start_frame) > start_frame
            return ready or self._ended() or not self._job.grows()

        if not await self._changed.wait(lambda: settled() or interrupted(), timeout) or not settled():
            return False
        if self.ready_end(start_frame) > start_frame:
            return True
        if not self._ended():
            raise StreamInterruptedError(
                "the job was stopped and has begun again; open the stream again here"
            )
        raise self._ended_without()

    def waiting_reason(self, frame: int) -> NotReadyReason:
        """Why a frame is not final yet."""
        return self._job.reason(frame)

    def expected_seconds(self, frame: int) -> float | None:
        """When a frame that is not final is expected, in seconds from now; None while that is unknown."""
        return self._job.expected_seconds(frame)

    async def read(
        self,
        stem_indexes: Sequence[int],
        start_frame: int,
        frame_count: int,
        prepare: Callable[[Sequence[bytes]], T],
    ) -> T:
        """Reads ready frames of several stems as stored, one buffer a stem, and returns what `prepare` makes of them.

        Both run in a thread; raises OSError.
        """

        def read_all() -> T:
            return prepare([self._stems.read(index, start_frame, frame_count) for index in stem_indexes])

        return await self._in_thread(read_all)

    def follow(self, player: object, frame: int) -> None:
        """Tells the scheduler where this player is."""
        self._job.follow(player, frame)

    def unfollow(self, player: object) -> None:
        """The player left."""
        self._job.unfollow(player)

    def sha256(self, stem_index: int) -> str:
        """Of a finished stem's samples as stored, lower-case hex; empty until the job has ended."""
        sums = self._sha256s()
        return sums[stem_index] if stem_index < len(sums) else ""

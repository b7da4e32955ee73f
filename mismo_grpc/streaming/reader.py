"""Reads the stems of one job, finished or growing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from mismo_grpc.broadcast import Broadcast
from mismo_grpc.errors import MismoError, StreamInterruptedError
from mismo_grpc.executors import InThread
from mismo_grpc.separation.stems import StemLayout, StemSet

T = TypeVar("T")


class StemReader:
    """Held while reading: the job's files are not removed under it. On the event loop only."""

    def __init__(
        self,
        stems: StemSet,
        changed: Broadcast,
        ended: Callable[[], bool],
        ended_without: Callable[[], MismoError],
        follow: Callable[[object, int], None],
        unfollow: Callable[[object], None],
        sha256s: Callable[[], Sequence[str]],
        grows: Callable[[], bool] = lambda: True,
        in_thread: InThread = asyncio.to_thread,
    ) -> None:
        """`ended` tells whether the job has ended, `ended_without` why it lacks a frame that a reader waits for.

        `grows` turns false if the job was stopped and goes on in other files than these."""
        self._stems = stems
        self._changed = changed
        self._ended = ended
        self._ended_without = ended_without
        self._follow = follow
        self._unfollow = unfollow
        self._sha256s = sha256s
        self._grows = grows
        self._in_thread = in_thread

    @classmethod
    def of_finished(
        cls,
        stems: StemSet,
        sha256s: Sequence[str],
        ended_without: Callable[[], MismoError],
        in_thread: InThread = asyncio.to_thread,
    ) -> StemReader:
        """Reads a job that has ended: nothing to wait for, nobody to tell."""

        def ignore(player: object, frame: int = 0) -> None:
            pass

        return cls(
            stems,
            Broadcast(),
            lambda: True,
            ended_without,
            ignore,
            ignore,
            lambda: sha256s,
            in_thread=in_thread,
        )

    @property
    def layout(self) -> StemLayout:
        """Names, rate, channels, length and the files' encoding."""
        return self._stems.layout

    def ready_end(self, start_frame: int) -> int:
        """Frames [start_frame, result) are final; `start_frame` itself if that one is not."""
        return self._stems.ready.end_of(start_frame)

    async def wait_ready(self, start_frame: int, timeout: float) -> bool:
        """Waits until a frame is final; False after `timeout` seconds.

        Raises JobFailedError or JobNotReadyError if the job ended without it, StreamInterruptedError if the job was
        stopped and has begun again.
        """

        def settled() -> bool:
            ready = self.ready_end(start_frame) > start_frame
            return ready or self._ended() or not self._grows()

        if not await self._changed.wait(settled, timeout):
            return False
        if self.ready_end(start_frame) > start_frame:
            return True
        if not self._ended():
            raise StreamInterruptedError(
                "the job was stopped and has begun again; open the stream again here"
            )
        raise self._ended_without()

    async def wait_finished(self, timeout: float) -> bool:
        """Waits until the job has ended and its checksums are known; False after `timeout` seconds."""
        return await self._changed.wait(lambda: self._ended(), timeout)

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
        self._follow(player, frame)

    def unfollow(self, player: object) -> None:
        """The player left."""
        self._unfollow(player)

    def sha256(self, stem_index: int) -> str:
        """Of a finished stem's samples as stored, lower-case hex; empty until the job has ended."""
        sums = self._sha256s()
        return sums[stem_index] if stem_index < len(sums) else ""

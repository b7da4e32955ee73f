"""Reads the stems of one job, finished or growing; orchestration opens the readers, so this room does not know jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from mismo_grpc.broadcast import Broadcast
from mismo_grpc.errors import MismoError, StreamInterruptedError
from mismo_grpc.executors import InThread
from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.streaming.file_cache import StemFiles
from mismo_grpc.streaming.messages import NotReadyReason
from mismo_grpc.streaming.stem_blobs import StemBlobs

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SourceRun:
    """The run whose stems are read; `segment_frames` is a segment's length at the stems' rate, 0 if unknown."""

    job_id: str
    run_id: str
    model: str
    segment_frames: int


def _ignore(player: object, frame: int = 0) -> None:
    pass


@dataclass(frozen=True)
class RunningJob:
    """The functions of a running job that a reader calls; frames are at the stems' sample rate."""

    follow: Callable[[object, int], None]
    """Reports the frame of a player."""
    unfollow: Callable[[object], None]
    """Removes a player."""
    grows: Callable[[], bool]
    """False if the job was stopped and continues in other files than these."""
    reason: Callable[[int], NotReadyReason]
    """Why a frame is not final yet."""
    expected_seconds: Callable[[int], float | None]
    """When a frame is expected, in seconds from now."""


NOT_RUNNING = RunningJob(_ignore, _ignore, lambda: True, lambda _: NotReadyReason.SEPARATING, lambda _: None)
"""Stands for a job that has ended: nothing can be waited for or reported."""


class StemReader:
    """Reads the stems of one run, whose files are not removed meanwhile. On the event loop only."""

    def __init__(
        self,
        run: SourceRun,
        stems: StemFiles,
        changed: Broadcast,
        ended: Callable[[], bool],
        ended_without: Callable[[], MismoError],
        sha256s: Callable[[], Sequence[str]],
        job: RunningJob = NOT_RUNNING,
        in_thread: InThread = asyncio.to_thread,
    ) -> None:
        """`changed` is notified when frames become final, a segment begins, or the job ends.

        `ended` says whether the job has ended; `ended_without` gives the error if it ended without a requested frame.
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
        """The run that the stems belong to."""
        return self._run

    @classmethod
    def of_finished(
        cls,
        run: SourceRun,
        stems: StemFiles,
        sha256s: Sequence[str],
        ended_without: Callable[[], MismoError],
        in_thread: InThread = asyncio.to_thread,
    ) -> StemReader:
        """A reader of a job that has ended."""
        return cls(run, stems, Broadcast(), lambda: True, ended_without, lambda: sha256s, in_thread=in_thread)

    @property
    def layout(self) -> StemLayout:
        """Names, sample rate, channels, length and encoding of the stem files."""
        return self._stems.layout

    @property
    def reads_end_at_once(self) -> bool:
        """Whether a cancelled `read` uses the stems no more; else its thread must be waited for."""
        return isinstance(self._stems, StemBlobs)

    def ready_end(self, start_frame: int) -> int:
        """The end of the final frames from `start_frame` on; `start_frame` if it is not final."""
        return self._stems.ready.end_of(start_frame)

    def next_ready(self, start_frame: int) -> int:
        """The first final frame from `start_frame` on; the end of the track if there is none."""
        total = self.layout.total_frames
        gaps = self._stems.ready.missing(start_frame, total)
        return gaps[0][1] if gaps and gaps[0][0] == start_frame else start_frame

    async def wait_ready(self, start_frame: int, timeout: float, interrupted: Callable[[], bool]) -> bool:
        """Waits until a frame is final; returns False after `timeout` seconds or when `interrupted` returns true.

        `interrupted` is called whenever something of the job changed.
        Raises JobFailedError or JobNotReadyError if the job ended without the frame, StreamInterruptedError if the job
        was stopped and has begun again.
        """

        def settled() -> bool:
            ready = self.ready_end(start_frame) > start_frame
            return ready or self._ended() or not self._job.grows()

        if not await self._changed.wait(lambda: settled() or interrupted(), timeout) or not settled():
            return False
        if self.ready_end(start_frame) > start_frame:
            return True
        self.check_growing()
        return False

    def check_growing(self) -> None:
        """Call it if a frame is not final. Raises the error of `wait_ready` if it will not become final here."""
        if self._ended():
            raise self._ended_without()
        if not self._job.grows():
            raise StreamInterruptedError(
                "the job was stopped and has begun again; open the stream again here"
            )

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
        """Reads ready frames of several stems as stored, one buffer for each, and returns `prepare` of the buffers.

        Both run in a thread, but no thread waits for the blob container. Raises OSError; ArtifactNotFoundError and
        BlobError if the stems are in the container.
        """
        stems = self._stems
        if isinstance(stems, StemBlobs):
            fetched = await stems.fetch(stem_indexes, start_frame, frame_count)
            return await self._in_thread(prepare, fetched)

        def read_all() -> T:
            return prepare([stems.read(index, start_frame, frame_count) for index in stem_indexes])

        return await self._in_thread(read_all)

    def follow(self, player: object, frame: int) -> None:
        """Reports the position of this player to the scheduler."""
        self._job.follow(player, frame)

    def unfollow(self, player: object) -> None:
        """Removes this player from the scheduler."""
        self._job.unfollow(player)

    def sha256(self, stem_index: int) -> str:
        """The hash of a finished stem's samples as stored, in lower-case hex; empty until it is known."""
        sums = self._sha256s()
        return sums[stem_index] if stem_index < len(sums) else ""


class OpenStems(Protocol):
    """Opens the stems of a job once its track is decoded, and keeps them open for the block."""

    def __call__(
        self, job_id: str, expected_run_id: str, on_waiting: Callable[[NotReadyReason], None]
    ) -> AbstractAsyncContextManager[StemReader]:
        """Calls `on_waiting` with the reason of a wait, at once and whenever the reason changes.

        Raises JobNotFoundError, RunReplacedError, and the error that ended the job.
        """
        ...

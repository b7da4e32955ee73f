"""Reads the stems of one job, finished or growing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from mismo_grpc.errors import JobFailedError, JobNotReadyError, MismoError, StreamInterruptedError, Wire
from mismo_grpc.jobs.feed import Pulse
from mismo_grpc.jobs.job import Job, JobState
from mismo_grpc.separation.stems import StemLayout, StemSet


class StemReader:
    """Held while reading: the job's files are not removed under it. On the event loop only."""

    def __init__(
        self,
        stems: StemSet,
        pulse: Pulse,
        current: Callable[[], Job],
        follow: Callable[[object, int], None],
        unfollow: Callable[[object], None],
        sha256s: Callable[[], Sequence[str]],
        grows: Callable[[], bool] = lambda: True,
    ) -> None:
        """`grows` turns false if the job was stopped and goes on in other files than these."""
        self._stems = stems
        self._pulse = pulse
        self._current = current
        self._follow = follow
        self._unfollow = unfollow
        self._sha256s = sha256s
        self._grows = grows

    @classmethod
    def of_finished(cls, stems: StemSet, job: Job) -> StemReader:
        """Reads a job that has ended: nothing to wait for, nobody to tell."""

        def ignore(player: object, frame: int = 0) -> None:
            pass

        return cls(stems, Pulse(), lambda: job, ignore, ignore, lambda: job.stem_sha256)

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
            return ready or self._current().state.ended or not self._grows()

        if not await self._pulse.wait(settled, timeout):
            return False
        if self.ready_end(start_frame) > start_frame:
            return True
        if not self._current().state.ended:
            raise StreamInterruptedError(
                "the job was stopped and has begun again; open the stream again here"
            )
        raise ended_without(self._current())

    async def wait_finished(self, timeout: float) -> bool:
        """Waits until the job has ended and its checksums are known; False after `timeout` seconds."""
        return await self._pulse.wait(lambda: self._current().state.ended, timeout)

    async def read(self, stem_indexes: Sequence[int], start_frame: int, frame_count: int) -> list[bytes]:
        """Ready samples of some stems in the files' encoding, one buffer a stem, read in a thread."""

        def read_all() -> list[bytes]:
            return [self._stems.read(index, start_frame, frame_count) for index in stem_indexes]

        return await asyncio.to_thread(read_all)

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


def ended_without(job: Job) -> MismoError:
    """Why an ended job does not have what a reader waits for."""
    if job.state is JobState.FAILED and job.error is not None:
        failure = job.error
        form = Wire(failure.reason, failure.grpc_code, 409, failure.retryable)
        return JobFailedError(failure.message, form, metadata=failure.metadata)
    if job.state is JobState.CANCELLED:
        return JobNotReadyError(f"job {job.job_id} was cancelled; submit it again to get its stems")
    return JobNotReadyError(f"job {job.job_id} has no such frames")

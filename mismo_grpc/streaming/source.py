"""What a stream needs of the job that it reads; orchestration provides it, so that this room knows no jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.streaming.messages import NotReadyReason

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SourceRun:
    """The run that is read; `segment_frames` of the model's segments at the stems' rate, 0 if unknown."""

    job_id: str
    run_id: str
    model: str
    segment_frames: int


class StemSource(Protocol):
    """Growing stems that are read; `reader.StemReader` is one."""

    @property
    def layout(self) -> StemLayout:
        """What the stems are."""
        ...

    @property
    def run(self) -> SourceRun:
        """Whose stems they are."""
        ...

    def ready_end(self, start_frame: int) -> int:
        """Frames [start_frame, result) are final; `start_frame` itself where none are."""
        ...

    def next_ready(self, start_frame: int) -> int:
        """The first final frame from `start_frame` on; the end of the track if there is none."""
        ...

    async def wait_ready(self, start_frame: int, timeout: float, interrupted: Callable[[], bool]) -> bool:
        """True once the frame is final; False after `timeout` seconds, or once `interrupted` holds.

        Raises the job's error. `interrupted` is asked whenever something of the job changed.
        """
        ...

    def waiting_reason(self, frame: int) -> NotReadyReason:
        """Why a frame is not final yet."""
        ...

    def expected_seconds(self, frame: int) -> float | None:
        """When a frame that is not final is expected, in seconds from now; None while that is unknown."""
        ...

    async def read(
        self,
        stem_indexes: Sequence[int],
        start_frame: int,
        frame_count: int,
        prepare: Callable[[Sequence[bytes]], T],
    ) -> T:
        """What `prepare` makes of ready frames as stored, one buffer for each stem asked; both in a thread."""
        ...

    def follow(self, player: object, frame: int) -> None:
        """Tells the scheduler where a player is."""
        ...

    def unfollow(self, player: object) -> None:
        """That player is gone."""
        ...

    def sha256(self, stem_index: int) -> str:
        """Of a finished stem's file, as in its StemSet, lower-case hex; empty while the job runs."""
        ...


class OpenStems(Protocol):
    """Holds the stems of a job open, once its track is decoded; raises its error."""

    def __call__(
        self, job_id: str, expected_run_id: str, on_waiting: Callable[[NotReadyReason], None]
    ) -> AbstractAsyncContextManager[StemSource]:
        """`on_waiting` is told why it waits, at once and whenever that changes.

        Raises JobNotFoundError, RunReplacedError, and the error that ended the job.
        """
        ...

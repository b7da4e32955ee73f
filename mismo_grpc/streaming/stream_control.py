"""The messages of a client that its session has not processed yet: credit, seeks, failure."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from mismo_grpc.completion import happens
from mismo_grpc.errors import InvalidFieldError, MismoError, StreamProtocolError
from mismo_grpc.streaming.messages import ClientMessage, Credit, Open, Seek
from mismo_grpc.streaming.positions import check_not_negative
from mismo_grpc.streaming.wire_format import check_chunk_bytes

MAX_CREDIT = 1 << 40
"""The most open credit, in bytes and in frames."""
MAX_WAITING_SEEKS = 32
"""The most waiting seeks; if there are more the oldest are dropped, because only the newest valid one is applied."""
UNLIMITED_FRAMES = 1 << 62


@dataclass(slots=True)
class _WaitingSeek:
    seek: Seek
    frames_since: int = 0
    """Frames of credit granted after this seek and before a later one."""


class StreamControl:
    """The credit and the waiting messages of the client; of bounded size.

    Times are seconds of `clock`, which must be the clock of the event loop's timeouts.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.heard_at = clock()
        self.bytes_left = 0
        self.frames = UNLIMITED_FRAMES
        """Frames of credit in this generation, counted from the earliest start of any stem."""
        self.opened: Open | None = None
        self.half_closed = False
        self._limits_frames = False
        self._changed = asyncio.Event()
        self._failure: MismoError | None = None
        self._seeks: deque[_WaitingSeek] = deque()
        self._newest_generation = 0

    def look(self) -> None:
        """Call before reading the state, so that a later change ends the next wait at once. Raises a failure."""
        self._changed.clear()
        if self._failure is not None:
            raise self._failure

    def wake(self, _: object = None) -> None:
        """Signals a change."""
        self._changed.set()

    async def change(self, seconds: float | None) -> bool:
        """Waits for a change since `look`; returns False if there was none within `seconds`."""
        return await happens(self._changed, seconds)

    def fail(self, error: MismoError) -> None:
        """Makes `look` raise this error; further errors are ignored."""
        if self._failure is None:
            self._failure = error
        self.wake()

    def take_seeks(
        self, frame_of: Callable[[Seek], int | None]
    ) -> tuple[tuple[Seek, int] | None, list[Seek]]:
        """Takes all waiting seeks; returns the newest valid one with its frame, and the invalid ones after it.

        `frame_of` returns None for an invalid seek, which grants no credit. The frames of credit become those of the
        applied seek and those granted since; bytes of credit include those of the seeks that it replaced.
        """
        refused: list[Seek] = []
        since = 0
        while self._seeks:
            waiting = self._seeks.pop()
            since += waiting.frames_since
            frame = frame_of(waiting.seek)
            if frame is not None:
                self.bytes_left += waiting.seek.credit.bytes + sum(w.seek.credit.bytes for w in self._seeks)
                self._seeks.clear()
                if self._limits_frames:
                    self.frames = waiting.seek.credit.frames + since
                return (waiting.seek, frame), refused[::-1]
            refused.append(waiting.seek)
        if self._limits_frames:
            self.frames += since
        return None, refused[::-1]

    def accept(self, message: ClientMessage) -> None:
        """Stores a message; raises StreamProtocolError or InvalidFieldError if it is not allowed now."""
        self.heard_at = self.clock()
        self.wake()
        if isinstance(message, Open):
            self._open(message)
        elif self.opened is None:
            raise StreamProtocolError("the first message must be open", field="open")
        elif isinstance(message, Credit):
            self._check(message, "credit")
            self.bytes_left += message.bytes
            if self._seeks:
                self._seeks[-1].frames_since += message.frames
            elif self._limits_frames:
                self.frames += message.frames
        else:
            self._seek(message)

    def _open(self, message: Open) -> None:
        if self.opened is not None:
            raise StreamProtocolError("open was sent twice; send it once, as the first message", field="open")
        check_not_negative(message.start, "open.start_frame", "open.start_time")
        check_chunk_bytes(message.chunk_bytes, "open.chunk_bytes")
        if message.generation < 0:
            raise InvalidFieldError("open.generation must not be negative", field="open.generation")
        self._check(message.credit, "open.credit")
        self.bytes_left = message.credit.bytes
        self._limits_frames = message.credit.frames > 0
        if self._limits_frames:
            self.frames = message.credit.frames
        self._newest_generation = message.generation
        self.opened = message

    def _seek(self, seek: Seek) -> None:
        if seek.generation <= self._newest_generation:
            raise StreamProtocolError(
                f"seek.generation must grow: {seek.generation} came after {self._newest_generation}",
                field="seek.generation",
            )
        check_not_negative(seek.start, "seek.start_frame", "seek.start_time")
        self._check(seek.credit, "seek.credit")
        self._newest_generation = seek.generation
        if len(self._seeks) == MAX_WAITING_SEEKS:
            self.bytes_left += self._seeks.popleft().seek.credit.bytes
        self._seeks.append(_WaitingSeek(seek))

    def _check(self, credit: Credit, field: str) -> None:
        frames = self._seeks[-1].frames_since if self._seeks else self.frames if self._limits_frames else 0
        for unit, granted, left in (
            ("bytes", credit.bytes, self.bytes_left),
            ("frames", credit.frames, frames),
        ):
            if granted < 0:
                raise InvalidFieldError(f"{field}.{unit} must not be negative", field=f"{field}.{unit}")
            if granted + left > MAX_CREDIT:
                raise StreamProtocolError(
                    f"{field}.{unit}: more than {MAX_CREDIT} {unit} of credit would be open",
                    field=f"{field}.{unit}",
                )

"""What a player said and its session has not dealt with yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mismo_grpc.errors import InvalidFieldError, MismoError, StreamProtocolError
from mismo_grpc.streaming.blocks import check_chunk_bytes
from mismo_grpc.streaming.messages import ClientMessage, Credit, Open, Seek

MAX_CREDIT_BYTES = 1 << 40


class StreamControl:
    """What the client said and the session has not dealt with yet; of bounded size.

    Seconds are of `clock`, which must be that of the event loop's timeouts.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.heard_at = clock()
        self.credit = 0
        self.opened: Open | None = None
        self.half_closed = False
        self._changed = asyncio.Event()
        self._failure: MismoError | None = None
        self._seek: Seek | None = None
        self._newest_generation = 0

    def look(self) -> None:
        """Call before looking at the state: a later change ends the next wait at once. Raises a failure."""
        self._changed.clear()
        if self._failure is not None:
            raise self._failure

    def wake(self, _: object = None) -> None:
        """Something changed."""
        self._changed.set()

    async def change(self, seconds: float | None) -> bool:
        """Waits until something changed since `look`; False if nothing did for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def fail(self, error: MismoError) -> None:
        """The next `look` raises this; the first one counts."""
        if self._failure is None:
            self._failure = error
        self.wake()

    def take_seek(self) -> Seek | None:
        """The newest seek, once."""
        seek, self._seek = self._seek, None
        return seek

    def accept(self, message: ClientMessage) -> None:
        """Raises StreamProtocolError or InvalidFieldError for a message that is not allowed now."""
        self.heard_at = self.clock()
        self.wake()
        if isinstance(message, Open):
            if self.opened is not None:
                raise StreamProtocolError(
                    "open came twice; it is the first message and comes once", field="open"
                )
            if message.start_frame < 0:
                raise InvalidFieldError("open.start_frame must not be negative", field="open.start_frame")
            check_chunk_bytes(message.chunk_bytes, "open.chunk_bytes")
            self._grant(message.credit_bytes, "open.credit_bytes")
            self.opened = message
        elif self.opened is None:
            raise StreamProtocolError("the first message must be open", field="open")
        elif isinstance(message, Credit):
            self._grant(message.granted_bytes, "credit.bytes")
        else:
            self._queue(message)

    def _grant(self, granted_bytes: int, field: str) -> None:
        if granted_bytes < 0:
            raise InvalidFieldError(f"{field} must not be negative", field=field)
        if self.credit + granted_bytes > MAX_CREDIT_BYTES:
            raise StreamProtocolError(
                f"{field}: more than {MAX_CREDIT_BYTES} bytes of credit would be open", field=field
            )
        self.credit += granted_bytes

    def _queue(self, seek: Seek) -> None:
        if seek.generation <= self._newest_generation:
            raise StreamProtocolError(
                f"seek.generation must grow: {seek.generation} came after {self._newest_generation}",
                field="seek.generation",
            )
        if seek.start_frame < 0:
            raise InvalidFieldError("seek.start_frame must not be negative", field="seek.start_frame")
        self._newest_generation = seek.generation
        self._seek = seek

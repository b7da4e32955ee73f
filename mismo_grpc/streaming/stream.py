"""A StreamStems stream from open to end, independent of the transport."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack

from mismo_grpc.completion import end_task
from mismo_grpc.errors import MismoError, StreamIdleError, StreamProtocolError
from mismo_grpc.streaming.messages import ClientMessage, NotReady, NotReadyReason, Open, ServerMessage
from mismo_grpc.streaming.reader import OpenStems
from mismo_grpc.streaming.session import SessionOver, StreamSession
from mismo_grpc.streaming.stream_control import StreamControl

REPEAT_SECONDS = 9.0
"""The contract promises that NotReady and AwaitingCredit are repeated at least every 10 s."""
OPENING_SECONDS = 0.1
"""A finished job usually opens within this time; only then the client is told that it must wait."""


class StemStream:
    """One stream; the transport calls `on_message` and sends the messages that `messages` yields.

    `open_stems` opens a job's stems once the track is decoded.
    """

    def __init__(
        self,
        open_stems: OpenStems,
        *,
        server_epoch: str,
        idle_seconds: float,
        repeat_seconds: float = REPEAT_SECONDS,
        opening_seconds: float = OPENING_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_stems = open_stems
        self._server_epoch = server_epoch
        self._idle_seconds = idle_seconds
        self._repeat_seconds = repeat_seconds
        self._opening_seconds = opening_seconds
        self._control = StreamControl(clock)
        self._reason: NotReadyReason | None = None

    def on_message(self, message: ClientMessage) -> None:
        """Processes a message of the client; for a message that is not allowed `messages` raises an error."""
        try:
            self._control.accept(message)
        except MismoError as error:
            self._control.fail(error)

    def on_half_close(self) -> None:
        """The client has closed its side and sends no more messages."""
        self._control.half_closed = True
        self._control.wake()

    def fail(self, error: MismoError) -> None:
        """Makes `messages` raise this error."""
        self._control.fail(error)

    async def messages(self) -> AsyncGenerator[ServerMessage, None]:
        """The messages to send, in order. Close the generator (`aclosing`) so that the stems are released at once.

        Raises StreamError, InvalidFieldError, StemNotFoundError, JobNotFoundError, RunReplacedError, and the job's
        error.
        """
        opened = await self._first_message()
        async with AsyncExitStack() as stack:
            stems = self._open_stems(opened.job_id, opened.expected_run_id, self._on_waiting)
            opening = asyncio.ensure_future(stack.enter_async_context(stems))
            opening.add_done_callback(self._control.wake)
            stack.push_async_callback(end_task, opening)
            told: NotReadyReason | None = None
            due = self._control.clock() + self._opening_seconds
            while not opening.done():
                self._control.look()
                now = self._control.clock()
                if self._reason is not None and (now >= due or told not in (None, self._reason)):
                    told, due = self._reason, now + self._repeat_seconds
                    yield NotReady(opened.generation, None, None, told)
                else:
                    await self._control.change(due - now if now < due else None)
            session = StreamSession(
                self._control,
                opened,
                opening.result(),
                idle_seconds=self._idle_seconds,
                repeat_seconds=self._repeat_seconds,
            )
            stack.push_async_callback(session.close)
            yield session.info(self._server_epoch)
            while True:
                self._control.look()
                try:
                    message = await session.step()
                except SessionOver:
                    return
                if message is not None:
                    yield message

    def _on_waiting(self, reason: NotReadyReason) -> None:
        self._reason = reason
        self._control.wake()

    async def _first_message(self) -> Open:
        while True:
            self._control.look()
            if self._control.opened is not None:
                return self._control.opened
            if self._control.half_closed:
                raise StreamProtocolError("the stream was closed before open was received", field="open")
            if not await self._control.change(self._idle_seconds):
                raise StreamIdleError(f"open did not come within {self._idle_seconds:g} s", field="open")

"""Stems for a player: interleaved by time, paced by credit, with seek, over broken streams."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import TracebackType
from typing import Self

import grpc

from mismo.analysis.v1 import transfer_service_pb2, transfer_service_pb2_grpc
from mismo_client.errors import (
    ChecksumError,
    ClientError,
    MismoRpcError,
    RunReplacedError,
    SeekRefusedError,
    StreamCorruptError,
)
from mismo_client.retry import Attempts
from mismo_client.streaming import end_well
from mismo_client.transfer.positions import Position
from mismo_client.transfer.stem_events import NotReady, SeekRefused, StemChunk, StemEvent
from mismo_client.transfer.stem_format import StemFormat
from mismo_client.transfer.stem_receiver import StemReceiver, StemRequest

Request = transfer_service_pb2.StreamStemsRequest
Response = transfer_service_pb2.StreamStemsResponse
StemCall = grpc.aio.StreamStreamCall[Request, Response]

QUEUED_EVENTS = 16
"""Events that came while `format` waited, kept for the consumer; the oldest make room."""


class StemPlayer:
    """An async iterator of chunks; one consumer reads, any task may seek.

    A chunk counts as taken, and its credit goes back, when the next one is asked for: a consumer
    that pauses holds no more than the window. Chunks from before a seek are dropped unseen. After a
    broken stream it goes on where each stem stopped, in the same run of the job. Iteration ends when
    all stems were read to their end, and begins again after another `seek`. `events` brings what else
    the server tells.

    Raises MismoRpcError (with the job's own error if the job failed), RunReplacedError,
    SeekRefusedError for a refused seek (reading may go on after it), ChecksumError, StreamCorruptError.
    """

    def __init__(self, open_call: Callable[[], StemCall], request: StemRequest, attempts: Attempts) -> None:
        self._open_call = open_call
        self._attempts = attempts
        self._receiver = StemReceiver(request)
        self._call: StemCall | None = None
        self._responses: AsyncIterator[Response] | None = None
        self._writing = asyncio.Lock()
        self._sent_generation = 0
        self._queued: deque[StemEvent] = deque(maxlen=QUEUED_EVENTS)
        self._closed = False

    @property
    def run_id(self) -> str:
        """The run of the job that is streamed; empty until the stream has begun."""
        return self._receiver.run_id

    @property
    def generation(self) -> int:
        """Of the chunks that are delivered now; a seek raises it."""
        return self._receiver.place.generation

    @property
    def stale_bytes(self) -> int:
        """Payload that came for an older generation and was dropped, over all seeks."""
        return self._receiver.stale_bytes

    @property
    def not_ready(self) -> NotReady | None:
        """What the server must separate before it can send more; None while chunks come."""
        return self._receiver.not_ready

    @property
    def stem_sha256(self) -> dict[str, str]:
        """SHA-256 of the finished stem files' samples, by stem; only of stems that ended after the job had."""
        return dict(self._receiver.stem_sha256)

    def next_frame(self, stem_name: str) -> int:
        """The first frame of this stem that was not delivered since the last seek.

        Raises ValueError before the format is known, and for a stem that is not streamed.
        """
        form = self._receiver.format
        if form is None or stem_name not in form.stem_names:
            raise ValueError(f"no stem {stem_name!r} is streamed, or format() was not awaited yet")
        return self._receiver.next_frame(form.stem_names.index(stem_name), form)

    async def format(self) -> StemFormat:
        """The stems' form; waits until the track is decoded. Before or between reads only."""
        while self._receiver.format is None:
            event = await self._advance()
            if event is not None:
                self._queued.append(event)
        return self._receiver.format

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StemChunk:
        while (event := await self._next_event()) is not None:
            if isinstance(event, StemChunk):
                return event
            if isinstance(event, SeekRefused):
                raise SeekRefusedError(event.generation, event.message)
        raise StopAsyncIteration

    async def events(self) -> AsyncGenerator[StemEvent, None]:
        """Chunks, NotReady, AwaitingCredit, SeekApplied, SeekRefused, EndOfStem and StreamEnd, as they come.

        To be used in place of iterating over the player itself; here a refused seek is an event and no
        error. Ends after StreamEnd; call it again after a seek.
        """
        while (event := await self._next_event()) is not None:
            yield event

    async def _next_event(self) -> StemEvent | None:
        self._receiver.credit.hold(0)
        while not self._closed:
            if self._queued:
                return self._queued.popleft()
            if self._receiver.place.finished:
                return None
            event = await self._advance()
            if event is not None:
                if isinstance(event, StemChunk):
                    self._receiver.credit.hold(len(event.data))
                return event
        return None

    async def seek(self, frame: int | None = None, *, time: float | None = None) -> int:
        """Goes on at `frame`, or at `time` in seconds, for all stems; what is on its way is dropped.

        Answers the generation of the chunks that follow. A position at or past the end raises
        SeekRefusedError and changes nothing; while the length of the track is not known yet, the next
        read raises it instead. Raises ValueError.
        """
        generation = self._receiver.seek(Position.of(frame, time, ("frame", "time")))
        async with self._writing:
            # Another seek may have come first and sent this one along; an opening call begins there anyway.
            if self._call is not None and self._call.done():
                self._drop_call()
            if self._call is not None and self._sent_generation != self.generation:
                await self._send_seek(self._call)
        return generation

    async def aclose(self) -> None:
        """Ends the stream; the job lives on. A read that is waiting ends its iteration."""
        self._closed = True
        call, responses = self._call, self._responses
        if call is not None and responses is not None and self._receiver.place.finished:
            # After the end the server waits for seeks; closing our side lets it end well.
            await end_well(call, responses)
        self._drop_call()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _advance(self) -> StemEvent | None:
        """Takes one message; None where it brought nothing for the consumer, or the stream was opened again."""
        try:
            responses = self._responses or await self._connect()
            await self._return_credit()
            message = await anext(responses, None)
            if message is not None:
                return self._take(message)
            if self._receiver.place.finished:
                return None
            broken: ClientError = MismoRpcError(
                grpc.StatusCode.UNAVAILABLE, "", "the stream ended before its stems did"
            )
        except grpc.aio.AioRpcError as error:
            broken = MismoRpcError.of(error)
        except StreamCorruptError as error:
            broken = error
        except (ChecksumError, RunReplacedError):
            self._drop_call()
            raise
        except asyncio.CancelledError:
            self._drop_call()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # The call was cancelled under this task: by aclose, or by a seek that was itself cancelled.
            return None
        self._drop_call()
        await self._attempts.after(broken, stream=True)
        return None

    def _take(self, message: Response) -> StemEvent | None:
        event = self._receiver.take(message)
        if isinstance(event, SeekRefused):
            if self._receiver.goes_on:
                self._sent_generation = self.generation
            else:
                # Chunks of that place were dropped while the seek was out: a new call goes on exactly there.
                self._drop_call()
        if event is not None:
            self._attempts.progressed()
        elif message.HasField("info"):
            self._attempts.connected()
        return event

    async def _connect(self) -> AsyncIterator[Response]:
        async with self._writing:
            call = self._call = self._open_call()
            responses = self._responses = aiter(call)
            opened = self._receiver.open_message()
            self._sent_generation = opened.generation
            await self._send(call, Request(open=opened))
            if self._sent_generation != self.generation:
                await self._send_seek(call)
        return responses

    async def _return_credit(self) -> None:
        async with self._writing:
            # A seek that was not sent yet brings credit of its own.
            if self._call is not None and self._sent_generation == self.generation:
                credit = self._receiver.credit_due()
                if credit is not None:
                    await self._send(self._call, Request(credit=credit))

    async def _send_seek(self, call: StemCall) -> None:
        seek = self._receiver.seek_message()
        self._sent_generation = seek.generation
        await self._send(call, Request(seek=seek))

    async def _send(self, call: StemCall, request: Request) -> None:
        try:
            await call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The call has ended: reading from it tells why.
            return

    def _drop_call(self) -> None:
        call, self._call, self._responses = self._call, None, None
        if call is not None:
            call.cancel()


def open_player(
    stub: transfer_service_pb2_grpc.TransferServiceAsyncStub, request: StemRequest, attempts: Attempts
) -> StemPlayer:
    """A player over the service; nothing is sent until it is read."""
    return StemPlayer(lambda: stub.StreamStems(), request, attempts)

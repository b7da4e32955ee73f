"""Stems for a player: interleaved by time, paced by credits, with seek, over broken streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

import grpc

from mismo.analysis.v1 import transfer_service_pb2, transfer_service_pb2_grpc
from mismo.analysis.v1.audio_pb2 import ENCODING_PCM_S16LE, Encoding
from mismo_client.checksum import crc32c
from mismo_client.errors import ClientError, JobChangedError, MismoRpcError, StreamCorruptError
from mismo_client.retry import Attempts
from mismo_client.stem_format import StemFormat
from mismo_client.streaming import end_well

Request = transfer_service_pb2.StreamStemsRequest
Response = transfer_service_pb2.StreamStemsResponse
StemCall = grpc.aio.StreamStreamCall[Request, Response]

PLAYER_CREDIT_BYTES = 1 << 20
SPARE_CREDIT_BYTES = 32_768
"""Of a larger credit the server always holds at least this much: room for one FLAC frame."""


class StemChunk(NamedTuple):
    """Consecutive frames of one stem; `generation` counts the seeks before it."""

    stem_index: int
    stem_name: str
    start_frame: int
    frame_count: int
    data: bytes
    generation: int


@dataclass(frozen=True)
class StemRequest:
    """What to stream; `credit_bytes` is the most that is ever on its way, over all stems.

    With `follow` the server separates first what this player needs next. `chunk_bytes` 0: the
    server's default.
    """

    job_id: str
    stem_names: Sequence[str] = ()
    encoding: Encoding = ENCODING_PCM_S16LE
    start_frame: int = 0
    follow: bool = False
    credit_bytes: int = PLAYER_CREDIT_BYTES
    chunk_bytes: int = 0

    def __post_init__(self) -> None:
        if self.credit_bytes <= 0:
            raise ValueError("credit_bytes must be greater than 0")


class StemPlayer:
    """An async iterator of chunks; one consumer reads, any task may seek.

    A chunk counts as taken, and its credit goes back, when the next one is asked for: a consumer
    that pauses holds at most `credit_bytes`. Chunks from before a seek are dropped unseen. After a
    broken stream it goes on where each stem stopped. Iteration ends when all stems were read to
    their end, and begins again after another `seek`.

    Raises MismoRpcError (with the job's own error if the job failed), StreamCorruptError,
    JobChangedError.
    """

    def __init__(self, open_call: Callable[[], StemCall], request: StemRequest, attempts: Attempts) -> None:
        self._open_call = open_call
        self._request = request
        self._attempts = attempts
        self._call: StemCall | None = None
        self._responses: AsyncIterator[Response] | None = None
        self._writing = asyncio.Lock()
        self._closed = False
        # Where playing stands
        self._format: StemFormat | None = None
        self._start_frame = request.start_frame
        self._next_frames: dict[int, int] = {}
        self._generation = 0
        self._finished = False
        self._sha256: dict[str, str] = {}
        self._waiting_for: tuple[int, int] | None = None
        # What the open call knows: its own generations begin at 0
        self._call_generation = 0
        self._sent_generation = 0
        # Payload bytes
        self._in_hand = 0
        self._to_return = 0
        self._stale_bytes = 0
        self._return_at = max(1, min(request.credit_bytes // 2, request.credit_bytes - SPARE_CREDIT_BYTES))

    @property
    def generation(self) -> int:
        """Seeks so far."""
        return self._generation

    @property
    def stale_bytes(self) -> int:
        """Payload that came for an older generation and was dropped, over all seeks."""
        return self._stale_bytes

    @property
    def waiting_for(self) -> tuple[int, int] | None:
        """Frames [start, end) that the server still separates before it can send more; else None."""
        return self._waiting_for

    @property
    def sha256(self) -> dict[str, str]:
        """Of the finished stem files' samples, by stem, as far as the server told."""
        return dict(self._sha256)

    def next_frame(self, stem_name: str) -> int:
        """The first frame of this stem that was not delivered since the last seek."""
        if self._format is None or stem_name not in self._format.stem_names:
            return self._start_frame
        return self._next_frames.get(self._format.stem_names.index(stem_name), self._start_frame)

    async def format(self) -> StemFormat:
        """The stems' form; waits until the track is decoded. Before or between reads only."""
        while self._format is None:
            await self._advance()
        return self._format

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StemChunk:
        self._to_return += self._in_hand
        self._in_hand = 0
        while not (self._finished or self._closed):
            chunk = await self._advance()
            if chunk is not None:
                self._in_hand = len(chunk.data)
                return chunk
        raise StopAsyncIteration

    async def seek(self, frame: int) -> None:
        """Goes on at `frame`, for all stems; what is on its way is dropped."""
        self._generation += 1
        self._start_frame = frame
        self._next_frames.clear()
        self._finished = False
        self._waiting_for = None
        async with self._writing:
            # Another seek may have come first and sent this one along; an opening call begins there anyway.
            if self._call is not None and self._call.done():
                self._drop_call()
            if self._call is None or self._sent_generation == self._generation:
                return
            self._sent_generation = self._generation
            seek = transfer_service_pb2.StreamSeek(
                generation=self._generation - self._call_generation, start_frame=self._start_frame
            )
            await self._send(self._call, Request(seek=seek))

    async def aclose(self) -> None:
        """Ends the stream; the job lives on. A read that is waiting ends its iteration."""
        self._closed = True
        call, responses = self._call, self._responses
        if call is not None and responses is not None and self._finished:
            # After the end the server waits for seeks; closing our side lets it end well.
            await end_well(call, responses)
        self._drop_call()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _advance(self) -> StemChunk | None:
        """Takes one message; None where it brought no audio, or the stream was opened again."""
        try:
            responses = self._responses or await self._connect()
            if self._to_return >= self._return_at:
                await self._return_credit()
            message = await anext(responses, None)
            if message is not None:
                return self._take(message)
            if self._finished:
                return None
            broken: ClientError = MismoRpcError(
                grpc.StatusCode.UNAVAILABLE, "", "the stream ended before its stems did"
            )
        except grpc.aio.AioRpcError as error:
            broken = MismoRpcError.of(error)
        except StreamCorruptError as error:
            broken = error
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

    async def _connect(self) -> AsyncIterator[Response]:
        async with self._writing:
            call = self._call = self._open_call()
            responses = self._responses = aiter(call)
            self._call_generation = self._sent_generation = self._generation
            self._to_return = 0
            await self._send(call, Request(open=self._open_message()))
        return responses

    def _open_message(self) -> transfer_service_pb2.StreamOpen:
        names = self._format.stem_names if self._format is not None else ()
        return transfer_service_pb2.StreamOpen(
            job_id=self._request.job_id,
            stem_names=self._request.stem_names,
            encoding=self._request.encoding,
            start_frame=self._start_frame,
            chunk_bytes=self._request.chunk_bytes,
            credit_bytes=self._request.credit_bytes,
            follow=self._request.follow,
            resume_points=[
                transfer_service_pb2.ResumePoint(stem_name=names[index], start_frame=frame)
                for index, frame in sorted(self._next_frames.items())
            ],
        )

    async def _return_credit(self) -> None:
        async with self._writing:
            if self._call is not None:
                credit = transfer_service_pb2.StreamCredit(bytes=self._to_return)
                self._to_return = 0
                await self._send(self._call, Request(credit=credit))

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

    def _take(self, message: Response) -> StemChunk | None:
        kind = message.WhichOneof("message")
        if kind == "chunk":
            return self._take_chunk(message.chunk)
        if kind == "info":
            self._attempts.connected()
            self._take_info(message.info)
        elif kind == "not_ready":
            self._attempts.progressed()
            if self._current(message.not_ready.generation):
                waiting = message.not_ready.range
                self._waiting_for = (waiting.start_frame, waiting.end_frame)
        elif kind == "end_of_stem":
            if message.end_of_stem.sha256:
                name = self._known_format().stem_names[message.end_of_stem.stem_index]
                self._sha256[name] = message.end_of_stem.sha256
        elif kind == "end" and self._current(message.end.generation):
            self._check_whole()
            self._finished = True
        return None

    def _current(self, generation: int) -> bool:
        return self._call_generation + generation == self._generation

    def _take_info(self, info: transfer_service_pb2.StreamInfo) -> None:
        form = StemFormat.of(info)
        if self._format is not None and form != self._format:
            raise JobChangedError(
                f"job {self._request.job_id} ran anew in another form; begin again with a new stream"
            )
        self._format = form

    def _known_format(self) -> StemFormat:
        if self._format is None:
            raise StreamCorruptError("the stream did not begin with its form")
        return self._format

    def _take_chunk(self, chunk: transfer_service_pb2.StemChunk) -> StemChunk | None:
        data = chunk.data
        if not self._current(chunk.generation):
            self._stale_bytes += len(data)
            self._to_return += len(data)
            return None
        if crc32c(data) != chunk.crc32c:
            raise StreamCorruptError(f"a chunk at frame {chunk.start_frame} does not fit its checksum")
        form = self._known_format()
        index, start, count = chunk.stem_index, chunk.start_frame, chunk.frame_count
        name = form.stem_names[index]
        expected = self._next_frames.get(index)
        if expected is not None and start != expected:
            raise StreamCorruptError(f"{name} went on at frame {start} instead of {expected}")
        self._attempts.progressed()
        self._next_frames[index] = start + count
        self._waiting_for = None
        return StemChunk(index, name, start, count, data, self._generation)

    def _check_whole(self) -> None:
        form = self._known_format()
        for index, name in enumerate(form.stem_names):
            reached = self._next_frames.get(index, self._start_frame)
            if reached < form.total_frames:
                raise StreamCorruptError(f"{name} ended at frame {reached} of {form.total_frames}")


def open_player(
    stub: transfer_service_pb2_grpc.TransferServiceAsyncStub, request: StemRequest, attempts: Attempts
) -> StemPlayer:
    """A player over the service; nothing is sent until it is read."""
    return StemPlayer(lambda: stub.StreamStems(), request, attempts)

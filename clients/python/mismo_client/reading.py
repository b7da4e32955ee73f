"""One stem, read from a frame on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import grpc

from mismo.analysis.v1 import transfer_service_pb2, transfer_service_pb2_grpc
from mismo.analysis.v1.audio_pb2 import ENCODING_PCM_S16LE, Encoding
from mismo_client.checksum import crc32c
from mismo_client.errors import ClientError, JobChangedError, MismoRpcError, StreamCorruptError
from mismo_client.retry import Attempts
from mismo_client.stem_format import StemFormat
from mismo_client.stems import StemChunk
from mismo_client.streaming import unbroken

READ_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True)
class ReadRequest:
    """Frames [start_frame, start_frame + frame_limit) of a stem; `frame_limit` 0: to the end.

    With `follow` what is not separated yet is waited for; otherwise it ends the reading with
    MismoRpcError, reason JOB_NOT_READY.
    """

    job_id: str
    stem_name: str
    encoding: Encoding = ENCODING_PCM_S16LE
    start_frame: int = 0
    frame_limit: int = 0
    follow: bool = False
    chunk_bytes: int = READ_CHUNK_BYTES


class StemReading:
    """An async iterator of chunks; goes on where it stopped after a broken stream.

    Raises MismoRpcError, StreamCorruptError, JobChangedError.
    """

    def __init__(
        self,
        stub: transfer_service_pb2_grpc.TransferServiceAsyncStub,
        request: ReadRequest,
        attempts: Attempts,
    ) -> None:
        self._stub = stub
        self._request = request
        self._attempts = attempts
        self._format: StemFormat | None = None
        self._next_frame: int | None = None
        self._first: StemChunk | None = None
        self._chunks = self._read()

    async def format(self) -> StemFormat:
        """The stem's form; waits for it. Before the first chunk or between chunks."""
        if self._format is None:
            self._first = await anext(self._chunks, None)
        if self._format is None:
            raise StreamCorruptError("the stream did not begin with its form")
        return self._format

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StemChunk:
        first, self._first = self._first, None
        return first if first is not None else await anext(self._chunks)

    async def aclose(self) -> None:
        """Ends the reading."""
        await self._chunks.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _read(self) -> AsyncGenerator[StemChunk, None]:
        while not self._complete():
            broken: ClientError = MismoRpcError(
                grpc.StatusCode.UNAVAILABLE, "", "the stream ended before the stem did"
            )
            async with aclosing(unbroken(self._open, self._attempts)) as messages:
                try:
                    async for message in messages:
                        chunk = self._take(message)
                        if chunk is not None:
                            yield chunk
                except StreamCorruptError as error:
                    broken = error
            if not self._complete():
                await self._attempts.after(broken, stream=True)

    def _open(
        self,
    ) -> grpc.aio.UnaryStreamCall[
        transfer_service_pb2.ReadStemRequest, transfer_service_pb2.ReadStemResponse
    ]:
        request = self._request
        start, limit = request.start_frame, request.frame_limit
        if self._next_frame is not None:
            limit = limit - (self._next_frame - start) if limit else 0
            start = self._next_frame
        return self._stub.ReadStem(
            transfer_service_pb2.ReadStemRequest(
                job_id=request.job_id,
                stem_name=request.stem_name,
                encoding=request.encoding,
                start_frame=start,
                frame_limit=limit,
                follow=request.follow,
                chunk_bytes=request.chunk_bytes,
            )
        )

    def _end_frame(self, form: StemFormat) -> int:
        if not self._request.frame_limit:
            return form.total_frames
        return min(self._request.start_frame + self._request.frame_limit, form.total_frames)

    def _complete(self) -> bool:
        if self._format is None:
            return False
        reached = self._request.start_frame if self._next_frame is None else self._next_frame
        return reached >= self._end_frame(self._format)

    def _take(self, message: transfer_service_pb2.ReadStemResponse) -> StemChunk | None:
        if message.HasField("info"):
            form = StemFormat.of(message.info)
            if self._format is not None and form != self._format:
                raise JobChangedError(f"job {self._request.job_id} ran anew in another form; read it again")
            self._format = form
        data = message.data
        if not data:
            return None
        if crc32c(data) != message.crc32c:
            raise StreamCorruptError(f"a chunk at frame {message.start_frame} does not fit its checksum")
        if self._next_frame is not None and message.start_frame != self._next_frame:
            raise StreamCorruptError(
                f"the stem went on at frame {message.start_frame} instead of {self._next_frame}"
            )
        self._attempts.progressed()
        self._next_frame = message.start_frame + message.frame_count
        return StemChunk(0, self._request.stem_name, message.start_frame, message.frame_count, data, 0)

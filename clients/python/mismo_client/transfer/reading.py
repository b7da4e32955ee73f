"""One stem, read from a frame on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import grpc

from mismo.analysis.v1 import transfer_service_pb2, transfer_service_pb2_grpc
from mismo.analysis.v1.audio_pb2 import ENCODING_PCM_S16LE, Encoding
from mismo_client.durations import duration
from mismo_client.errors import ClientError, MismoRpcError, StreamCorruptError
from mismo_client.retry import Attempts
from mismo_client.runs import StreamRun
from mismo_client.streaming import reopened
from mismo_client.transfer.checksum import crc32c
from mismo_client.transfer.positions import Position, frames_in
from mismo_client.transfer.stem_events import StemChunk
from mismo_client.transfer.stem_format import StemFormat

READ_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True)
class ReadRequest:
    """A stem from `start` on, so much of it: `frame_limit` frames or `time_limit` seconds; neither: to the end.

    With `follow` what is not separated yet is waited for; otherwise it ends the reading with
    MismoRpcError, reason JOB_NOT_READY. Raises ValueError for both limits.
    """

    job_id: str
    stem_name: str
    encoding: Encoding = ENCODING_PCM_S16LE
    start: Position = field(default_factory=lambda: Position(frame=0))
    frame_limit: int | None = None
    time_limit: float | None = None
    expected_run_id: str = ""
    follow: bool = False
    chunk_bytes: int = READ_CHUNK_BYTES

    def __post_init__(self) -> None:
        if self.frame_limit is not None and self.time_limit is not None:
            raise ValueError("give frame_limit or time_limit, not both")
        if (self.frame_limit or 0) < 0 or (self.time_limit or 0.0) < 0:
            raise ValueError("frame_limit and time_limit must be 0 or greater; leave them out for all of it")

    def frames(self, form: StemFormat) -> tuple[int, int]:
        """First frame and the first one after what is asked for, inside the track."""
        start = self.start.at(form.sample_rate)
        limit = self.frame_limit
        if self.time_limit is not None:
            limit = frames_in(self.time_limit, form.sample_rate)
        return start, min(start + limit, form.total_frames) if limit else form.total_frames


class StemReading:
    """An async iterator of chunks; goes on where it stopped after a broken stream.

    Raises MismoRpcError, RunReplacedError, StreamCorruptError.
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
        self._run = StreamRun(request.job_id, request.expected_run_id)
        self._format: StemFormat | None = None
        self._next_frame: int | None = None
        self._first: StemChunk | None = None
        self._chunks = self._read()

    async def format(self) -> StemFormat:
        """The stem's form; waits for it. Before the first chunk or between chunks."""
        if self._format is None:
            self._first = await anext(self._chunks, None)
        return self._known_format()

    @property
    def run_id(self) -> str:
        """The run of the job that is read; empty until the stream has begun."""
        return self._run.run_id

    async def frames(self) -> tuple[int, int]:
        """First frame, and first frame after the part that is read; waits for the form."""
        return self._request.frames(await self.format())

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
            async with aclosing(reopened(self._open, self._attempts)) as messages:
                try:
                    async for message in messages:
                        chunk = self._take(message)
                        if chunk is not None:
                            yield chunk
                        if self._complete():
                            # Another call would ask for a limit of 0 frames, which means all.
                            return
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
        message = transfer_service_pb2.ReadStemRequest(
            job_id=request.job_id,
            expected_run_id=self._run.run_id,
            stem_name=request.stem_name,
            encoding=request.encoding,
            follow=request.follow,
            chunk_bytes=request.chunk_bytes,
        )
        if self._format is not None and self._next_frame is not None:
            message.start_frame = self._next_frame
            message.frame_limit = request.frames(self._format)[1] - self._next_frame
            return self._stub.ReadStem(message)
        start = request.start.duration
        if start is not None:
            message.start_time.CopyFrom(start)
        else:
            message.start_frame = request.start.frame or 0
        limit = duration(request.time_limit)
        if limit is not None:
            message.time_limit.CopyFrom(limit)
        elif request.frame_limit is not None:
            message.frame_limit = request.frame_limit
        return self._stub.ReadStem(message)

    def _complete(self) -> bool:
        if self._format is None:
            return False
        start, end = self._request.frames(self._format)
        return (start if self._next_frame is None else self._next_frame) >= end

    def _take(self, message: transfer_service_pb2.ReadStemResponse) -> StemChunk | None:
        if message.HasField("info"):
            self._run.check(message.info.run_id)
            form = StemFormat.of(message.info)
            if self._format is not None and form != self._format:
                raise StreamCorruptError(
                    f"run {self._run.run_id} of job {self._request.job_id} changed its form"
                )
            self._format = form
        data = message.data
        if not data:
            return None
        if crc32c(data) != message.crc32c:
            raise StreamCorruptError(f"a chunk at frame {message.start_frame} does not fit its checksum")
        expected = self._next_frame
        if expected is None and self._known_format().is_pcm:
            # FLAC begins at the start of its own frame.
            expected = self._request.start.frame
        if expected is not None and message.start_frame != expected:
            raise StreamCorruptError(f"the stem went on at frame {message.start_frame} instead of {expected}")
        self._attempts.progressed()
        self._next_frame = message.start_frame + message.frame_count
        return StemChunk(0, self._request.stem_name, message.start_frame, message.frame_count, data, 0)

    def _known_format(self) -> StemFormat:
        if self._format is None:
            raise StreamCorruptError("the stream did not begin with its form")
        return self._format

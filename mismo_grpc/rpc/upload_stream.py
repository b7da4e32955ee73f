"""One UploadAudio stream: writes chunks as they arrive, and acknowledges them as fast as the client reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace

from mismo.analysis.v1 import transfer_service_pb2 as pb
from mismo_grpc.completion import happens
from mismo_grpc.errors import StreamIdleError, StreamProtocolError
from mismo_grpc.uploads.uploads import Uploads, UploadStatus

ACKNOWLEDGE_BYTES = 1 << 20
PAUSE_SECONDS = 0.1
"""When a client sends nothing for this time, it gets an acknowledgement of all that was written."""


class UploadStream:
    """The two directions of one stream: `receive` writes the chunks, `acknowledgements` yields what is sent meanwhile.

    They run concurrently, so that a client that sends everything before it reads is not blocked: it gets fewer
    acknowledgements, each with the latest state.
    """

    def __init__(self, uploads: Uploads, now: Callable[[], float], idle_seconds: float) -> None:
        self._uploads = uploads
        self._now = now
        self._idle_seconds = idle_seconds
        self._status: UploadStatus | None = None
        self._changed = asyncio.Event()

    async def receive(self, requests: AsyncIterator[pb.UploadAudioRequest]) -> None:
        """Writes chunks until `finish` or the client's half-close; the upload can be resumed later.

        Raises StreamProtocolError, StreamIdleError, and what `Uploads` raises.
        """
        try:
            await self._receive(requests)
        finally:
            if self._status is not None:
                self._uploads.leave(self._status.writer)

    async def _receive(self, requests: AsyncIterator[pb.UploadAudioRequest]) -> None:
        while (request := await self._next(requests)) is not None:
            kind = request.WhichOneof("message")
            status = self._status
            if kind == "header":
                if status is not None:
                    raise StreamProtocolError(
                        "header was sent twice; send it once, as the first message", field="header"
                    )
                header = request.header
                self._set_status(
                    await self._uploads.open(
                        header.upload_id, header.filename, header.total_bytes, header.sha256, self._now()
                    )
                )
            elif status is None:
                raise StreamProtocolError("the first message must be header", field="header")
            elif kind == "chunk":
                chunk = request.chunk
                crc32c = chunk.crc32c if chunk.HasField("crc32c") else None
                committed = await self._uploads.write(
                    status.upload_id, chunk.offset, chunk.data, crc32c, writer=status.writer
                )
                self._set_status(replace(status, committed_bytes=committed))
            elif kind == "finish":
                self._set_status(await self._uploads.finish(status.upload_id, writer=status.writer))
                return
            else:
                raise StreamProtocolError(
                    "a message must be header, chunk or finish; check the client's stubs"
                )

    async def _next(self, requests: AsyncIterator[pb.UploadAudioRequest]) -> pb.UploadAudioRequest | None:
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await anext(requests, None)
        except TimeoutError as error:
            raise StreamIdleError(
                f"no message was received for {self._idle_seconds:g} s; resume this upload in a new stream"
            ) from error

    def _set_status(self, status: UploadStatus) -> None:
        self._status = status
        self._changed.set()

    async def acknowledgements(self, receiving: asyncio.Task[None]) -> AsyncGenerator[UploadStatus, None]:
        """Yields the state after the header, at least every ACKNOWLEDGE_BYTES, when the client pauses, and at the end.

        Ends with the task `receiving`, and raises the task's error after the last acknowledgement.
        """
        receiving.add_done_callback(lambda _: self._changed.set())
        sent: UploadStatus | None = None
        while True:
            self._changed.clear()
            status = self._status
            if status is not None and status != sent:
                if receiving.done() or _due(status, sent) or not await happens(self._changed, PAUSE_SECONDS):
                    sent = status
                    yield status
                continue
            if receiving.done():
                receiving.result()
                return
            await self._changed.wait()


def _due(status: UploadStatus, sent: UploadStatus | None) -> bool:
    return (
        sent is None
        or status.complete != sent.complete
        or abs(status.committed_bytes - sent.committed_bytes) >= ACKNOWLEDGE_BYTES
    )

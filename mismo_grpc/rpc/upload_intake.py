"""One UploadAudio stream: chunks are written as they come, acknowledged as the client reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace

from mismo.analysis.v1 import transfer_service_pb2 as pb
from mismo_grpc.errors import StreamIdleError, StreamProtocolError
from mismo_grpc.uploads.uploads import Uploads, UploadStatus

ACKNOWLEDGE_BYTES = 1 << 20
PAUSE_SECONDS = 0.1
"""A client that sends nothing for this long hears at once how far it got."""


class UploadIntake:
    """The two sides of one stream; `take` is the writing task, `acknowledgements` what is sent meanwhile.

    They are apart so that a client which sends everything before it reads does not stand still: it gets fewer
    acknowledgements, each with the latest state.
    """

    def __init__(self, uploads: Uploads, now: Callable[[], float], idle_seconds: float) -> None:
        self._uploads = uploads
        self._now = now
        self._idle_seconds = idle_seconds
        self._status: UploadStatus | None = None
        self._changed = asyncio.Event()

    async def take(self, requests: AsyncIterator[pb.UploadAudioRequest]) -> None:
        """Writes what comes until `finish` or the client's half-close; the upload can go on later from there.

        Raises StreamProtocolError, StreamIdleError, and what `Uploads` raises.
        """
        try:
            await self._take(requests)
        finally:
            if self._status is not None:
                self._uploads.leave(self._status.writer)

    async def _take(self, requests: AsyncIterator[pb.UploadAudioRequest]) -> None:
        while (request := await self._next(requests)) is not None:
            kind = request.WhichOneof("message")
            status = self._status
            if kind == "header":
                if status is not None:
                    raise StreamProtocolError(
                        "header came twice; it is the first message and comes once", field="header"
                    )
                header = request.header
                self._tell(
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
                self._tell(replace(status, committed_bytes=committed))
            elif kind == "finish":
                self._tell(await self._uploads.finish(status.upload_id, writer=status.writer))
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
                f"nothing came for {self._idle_seconds:g} s; go on with this upload in a new stream"
            ) from error

    def _tell(self, status: UploadStatus) -> None:
        self._status = status
        self._changed.set()

    async def acknowledgements(self, taking: asyncio.Task[None]) -> AsyncGenerator[UploadStatus, None]:
        """The state after the header, every ACKNOWLEDGE_BYTES at least, when the client pauses, at the end.

        Ends with the task, and raises its error after the last acknowledgement.
        """
        taking.add_done_callback(lambda _: self._changed.set())
        told: UploadStatus | None = None
        while True:
            self._changed.clear()
            status = self._status
            if status is not None and status != told:
                if taking.done() or _due(status, told) or not await self._change(PAUSE_SECONDS):
                    told = status
                    yield status
                continue
            if taking.done():
                taking.result()
                return
            await self._change(None)

    async def _change(self, seconds: float | None) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True


def _due(status: UploadStatus, told: UploadStatus | None) -> bool:
    return (
        told is None
        or status.complete != told.complete
        or abs(status.committed_bytes - told.committed_bytes) >= ACKNOWLEDGE_BYTES
    )

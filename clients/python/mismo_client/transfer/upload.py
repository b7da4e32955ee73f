"""Sends a track, and goes on where the server stopped taking it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import grpc

from mismo.analysis.v1 import transfer_service_pb2, transfer_service_pb2_grpc
from mismo_client.errors import MismoRpcError, TrackChangedError
from mismo_client.retry import Attempts
from mismo_client.streaming import end_well
from mismo_client.submits import UploadedTrack
from mismo_client.transfer.artifacts import BytesProgress
from mismo_client.transfer.checksum import crc32c

Request = transfer_service_pb2.UploadAudioRequest
Response = transfer_service_pb2.UploadAudioResponse
UploadCall = grpc.aio.StreamStreamCall[Request, Response]

CHUNK_BYTES = 256 * 1024
# The server forgot the upload: it expired.
START_OVER_REASONS = frozenset({"UPLOAD_NOT_FOUND"})
TRY_AGAIN_REASONS = frozenset({"UPLOAD_CHECKSUM_MISMATCH", "UPLOAD_GAP"})


@dataclass(frozen=True)
class Track:
    """A file as it was when its upload began."""

    path: Path
    filename: str
    total_bytes: int
    sha256: str


def read_track(path: Path) -> Track:
    """Reads the file once for its checksum; blocks. Raises OSError."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return Track(path, path.name, file.tell(), digest.hexdigest())


class Upload:
    """One track on its way to the server."""

    def __init__(
        self,
        stub: transfer_service_pb2_grpc.TransferServiceAsyncStub,
        track: Track,
        attempts: Attempts,
        on_progress: BytesProgress | None = None,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self._stub = stub
        self._track = track
        self._attempts = attempts
        self._on_progress = on_progress
        self._chunk_bytes = chunk_bytes
        self._upload_id = ""

    async def run(self) -> UploadedTrack:
        """Sends what the server does not have yet until it has all.

        Raises MismoRpcError, TrackChangedError, OSError.
        """
        while True:
            try:
                uploaded = await self._send_once()
                if uploaded is not None:
                    return uploaded
                failed = MismoRpcError(
                    grpc.StatusCode.UNAVAILABLE, "", "the upload ended before it was complete"
                )
            except grpc.aio.AioRpcError as error:
                failed = MismoRpcError.of(error)
            if failed.reason in START_OVER_REASONS and self._upload_id:
                self._upload_id = ""
            elif failed.reason in TRY_AGAIN_REASONS:
                await self._check_unchanged(failed)
                await self._attempts.after(
                    MismoRpcError(grpc.StatusCode.UNAVAILABLE, failed.reason, failed.message)
                )
            else:
                await self._attempts.after(failed, stream=True)

    async def _check_unchanged(self, failed: MismoRpcError) -> None:
        if await asyncio.to_thread(read_track, self._track.path) != self._track:
            raise self._changed() from failed

    def _changed(self) -> TrackChangedError:
        return TrackChangedError(f"{self._track.path} changed while it was uploaded; upload it again")

    async def _send_once(self) -> UploadedTrack | None:
        """One call; None if the server ended it early without an error."""
        call = self._stub.UploadAudio()
        acks = aiter(call)
        rest: asyncio.Task[Response | None] | None = None
        try:
            header = transfer_service_pb2.UploadHeader(
                upload_id=self._upload_id,
                filename=self._track.filename,
                total_bytes=self._track.total_bytes,
                sha256=self._track.sha256,
            )
            await _write(call, Request(header=header))
            # The first answer tells where to begin; a content that the server knows is complete with it.
            ack = await anext(acks, None)
            if ack is None:
                return None
            self._note(ack)
            if not ack.complete:
                rest = asyncio.create_task(self._await_complete(acks))
                await self._send_from(call, ack.committed_bytes, rest.done)
                ack = await rest
                if ack is None:
                    return None
            await end_well(call, acks)
            return UploadedTrack(ack.upload_id, self._track.total_bytes, ack.sha256)
        finally:
            call.cancel()
            if rest is not None:
                rest.cancel()
                await asyncio.wait([rest])
                if not rest.cancelled():
                    rest.exception()

    async def _await_complete(self, acks: AsyncIterator[Response]) -> Response | None:
        async for ack in acks:
            self._note(ack)
            if ack.complete:
                return ack
        return None

    def _note(self, ack: Response) -> None:
        self._upload_id = ack.upload_id
        self._attempts.progressed()
        if self._on_progress is not None:
            self._on_progress(ack.committed_bytes, self._track.total_bytes)

    async def _send_from(self, call: UploadCall, offset: int, ended: Callable[[], bool]) -> None:
        file = await asyncio.to_thread(_open_at, self._track.path, offset)
        try:
            while offset < self._track.total_bytes:
                data = await asyncio.to_thread(file.read, self._chunk_bytes)
                if not data:
                    raise self._changed()
                chunk = transfer_service_pb2.UploadChunk(offset=offset, data=data, crc32c=crc32c(data))
                if ended() or not await _write(call, Request(chunk=chunk)):
                    return
                offset += len(data)
            await _write(call, Request(finish=transfer_service_pb2.UploadFinish()))
        finally:
            file.close()


def _open_at(path: Path, offset: int) -> BinaryIO:
    file = path.open("rb")
    file.seek(offset)
    return file


async def _write(call: UploadCall, request: Request) -> bool:
    """False if the call has ended; reading from it tells why."""
    try:
        await call.write(request)
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return False
    return True

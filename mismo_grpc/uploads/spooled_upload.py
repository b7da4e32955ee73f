"""A spooled upload: an HTTP body of unknown length, written to a file that becomes an upload."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
from pathlib import Path
from types import TracebackType

from mismo_grpc.completion import run_to_completion
from mismo_grpc.errors import EmptyAudioError, UploadTooLargeError
from mismo_grpc.executors import InThread
from mismo_grpc.storage.disk import Disk, disk_errors
from mismo_grpc.uploads.uploads import Uploads

BUFFER_BYTES = 1 << 20


class SpooledUploads:
    """Creates spooled uploads in the folder `root`, which is emptied when the server starts."""

    def __init__(
        self,
        root: Path,
        uploads: Uploads,
        disk: Disk,
        *,
        max_bytes: int,
        reserve_bytes: int,
        in_thread: InThread = asyncio.to_thread,
    ) -> None:
        """Blocks."""
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        self.root = root
        self.uploads = uploads
        self.disk = disk
        self.max_bytes = max_bytes
        self.reserve_bytes = reserve_bytes
        self.in_thread = in_thread

    def file(self, field: str) -> SpooledUpload:
        """Creates a spooled upload; errors name it as `field`. Use it as an async context manager."""
        return SpooledUpload(self, self.root / f"{secrets.token_hex(16)}.part", field)


class SpooledUpload:
    """Grows by `append` until `finish` turns it into an upload; without `finish` its file is removed."""

    def __init__(self, spool: SpooledUploads, path: Path, field: str) -> None:
        self._spool = spool
        self._path = path
        self._field = field
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self._descriptor = -1
        self.size = 0

    async def __aenter__(self) -> SpooledUpload:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await run_to_completion(self._spool.in_thread(self._close))

    def _open(self) -> None:
        with disk_errors():
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._path.unlink(missing_ok=True)

    async def append(self, data: bytes) -> None:
        """Appends bytes; raises UploadTooLargeError past the limit, DiskFullError."""
        self.size += len(data)
        if self.size > self._spool.max_bytes:
            raise UploadTooLargeError(
                f"{self._field}: larger than the {self._spool.max_bytes} bytes this server takes "
                "(MAX_UPLOAD_SIZE)",
                field=self._field,
                metadata={"limit_bytes": str(self._spool.max_bytes)},
            )
        self._buffer += data
        if len(self._buffer) >= BUFFER_BYTES:
            await self._flush()

    async def finish(self, filename: str, now: float) -> str:
        """Turns the received bytes into a complete upload, returns its id; raises EmptyAudioError, DiskFullError."""
        if not self.size:
            # The error of the uploads would name the header of UploadAudio, which this client has not sent.
            raise EmptyAudioError(
                f"{self._field}: the file is empty; send one with audio in it", field=self._field
            )
        await self._flush()
        return await self._spool.uploads.adopt(self._path, filename, self.size, self._digest.hexdigest(), now)

    async def _flush(self) -> None:
        data, self._buffer = bytes(self._buffer), bytearray()
        # A cancelled caller closes the descriptor, so the write must finish before the cancellation is raised.
        await run_to_completion(self._spool.in_thread(self._write, data))

    def _write(self, data: bytes) -> None:
        with disk_errors():
            self._spool.disk.require(self._path.parent, len(data), self._spool.reserve_bytes)
            if self._descriptor < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags, 0o600)
            self._digest.update(data)
            left = memoryview(data)
            while left:
                left = left[os.write(self._descriptor, left) :]

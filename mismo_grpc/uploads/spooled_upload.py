"""A file that comes in one go and of unknown length, on its way to being an upload."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
from pathlib import Path
from types import TracebackType

from mismo_grpc.completion import run_to_completion
from mismo_grpc.errors import UploadTooLargeError
from mismo_grpc.executors import InThread
from mismo_grpc.storage.disk import Disk, disk_errors
from mismo_grpc.uploads.uploads import Uploads

BUFFER_BYTES = 1 << 20


class SpooledUploads:
    """Where such files are written: the folder `root`, emptied at the start of the server."""

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
        """A new file; `field` names it in errors. Use it as an async context manager."""
        return SpooledUpload(self, self.root / f"{secrets.token_hex(16)}.part", field)


class SpooledUpload:
    """Grows by `append` until `finish` makes an upload of it; what is not finished leaves nothing behind."""

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
        """Adds bytes; raises UploadTooLargeError at the limit, DiskFullError."""
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
        """Makes a complete upload of what came and answers its id; raises EmptyAudioError, DiskFullError."""
        await self._flush()
        return await self._spool.uploads.adopt(self._path, filename, self.size, self._digest.hexdigest(), now)

    async def _flush(self) -> None:
        data, self._buffer = bytes(self._buffer), bytearray()
        # The descriptor is closed by whoever cancels, but not under a write.
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

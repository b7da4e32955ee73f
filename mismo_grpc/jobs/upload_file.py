"""The file of an upload while it grows: its size is what is committed, its hash is kept up as bytes come."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from mismo_grpc.storage.disk import sync

SYNC_BYTES = 4 << 20
"""The file is forced out to the disk whenever this much is new."""
HASH_BLOCK_BYTES = 1 << 20


class UploadFile:
    """Bytes that arrive in order, `total_bytes` in the end. One thread at a time; every method blocks.

    All raise OSError, ENOSPC among them, and then nothing has changed.
    """

    def __init__(self, path: Path, total_bytes: int) -> None:
        self.path = path
        self._total_bytes = total_bytes
        self._hash = hashlib.sha256()
        self._committed = 0
        self._unsynced = 0
        self._recovered = False

    def size(self) -> int:
        """Bytes that are written, without reading them."""
        if self._recovered:
            return self._committed
        return min(self.path.stat().st_size, self._total_bytes) if self.path.exists() else 0

    def committed(self) -> int:
        """Bytes that are written; after a restart the first call reads and hashes them."""
        if not self._recovered:
            self._recover()
        return self._committed

    def _recover(self) -> None:
        found, size = hashlib.sha256(), 0
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            while block := os.read(descriptor, min(HASH_BLOCK_BYTES, self._total_bytes - size)):
                found.update(block)
                size += len(block)
            os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)
        self._hash, self._committed, self._unsynced, self._recovered = found, size, size, True

    def append(self, data: memoryview) -> None:
        """Writes all of `data` behind what is committed."""
        place = self.committed()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            left = data
            while left:
                written = os.pwrite(descriptor, left, place)
                place, left = place + written, left[written:]
            unsynced = self._unsynced + len(data)
            if unsynced >= SYNC_BYTES:
                os.fdatasync(descriptor)
                unsynced = 0
        except OSError:
            os.ftruncate(descriptor, self._committed)
            raise
        finally:
            os.close(descriptor)
        self._hash.update(data)
        self._committed, self._unsynced = place, unsynced

    def sha256(self) -> str:
        """Of the committed bytes, lower-case hex."""
        self.committed()
        return self._hash.hexdigest()

    def sync(self) -> None:
        """Brings the file and its name to the disk."""
        sync(self.path)
        sync(self.path.parent)

    def drop(self) -> None:
        """Forgets all bytes, to begin anew."""
        os.truncate(self.path, 0)
        self._hash, self._committed, self._unsynced, self._recovered = hashlib.sha256(), 0, 0, True

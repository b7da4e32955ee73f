"""The part file: the growing file of an upload. Its size is the committed bytes; its hash grows with them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from mismo_grpc.storage.disk import sync

SYNC_BYTES = 4 << 20
"""The file is synced whenever its size passes a multiple of this; no chunk is longer."""
HASH_BLOCK_BYTES = 1 << 20


def durable_bytes(size: int) -> int:
    """Returns how many bytes of a file found with this size are certain to have survived a power cut.

    The size may include a chunk whose content was lost, and the bytes before it since the last multiple of SYNC_BYTES
    were not synced either.
    """
    return max(0, size // SYNC_BYTES - 1) * SYNC_BYTES


class UploadFile:
    """A file of `total_bytes` bytes that are appended in order. One thread at a time; every method blocks.

    `same_boot` says whether the machine has not rebooted since the file was last written. Methods raise OSError (also
    ENOSPC) and then have changed nothing, except if a sync failed: see `append`.
    """

    def __init__(self, path: Path, total_bytes: int, *, same_boot: bool) -> None:
        self.path = path
        self._total_bytes = total_bytes
        self._same_boot = same_boot
        self._hash = hashlib.sha256()
        self._committed = 0
        self._recovered = False
        self._name_synced = False

    def size(self) -> int:
        """The size of the file; reads no content."""
        if self._recovered:
            return self._committed
        found = self.path.stat().st_size if self.path.exists() else 0
        return min(found if self._same_boot else durable_bytes(found), self._total_bytes)

    def committed(self) -> int:
        """The committed bytes. The first call after a restart hashes them, and drops what a power cut may have lost."""
        if not self._recovered:
            self._recover()
        return self._committed

    def _recover(self) -> None:
        found, size, there = hashlib.sha256(), 0, self.size()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            while block := os.read(descriptor, min(HASH_BLOCK_BYTES, there - size)):
                found.update(block)
                size += len(block)
            os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)
        self._hash, self._committed, self._recovered, self._same_boot = found, size, True, True

    def append(self, data: memoryview) -> None:
        """Appends all of `data`, at most SYNC_BYTES.

        If a sync fails, the bytes since the last multiple of SYNC_BYTES are dropped: a system may discard unsynced
        data after it has reported the error once.
        """
        start = offset = self.committed()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            left = data
            while left:
                written = os.pwrite(descriptor, left, offset)
                offset, left = offset + written, left[written:]
        except OSError:
            os.ftruncate(descriptor, start)
            raise
        finally:
            os.close(descriptor)
        if offset // SYNC_BYTES > start // SYNC_BYTES:
            self.sync()
        self._hash.update(data)
        self._committed = offset

    def sha256(self) -> str:
        """Returns the SHA-256 of the committed bytes in lower-case hex."""
        self.committed()
        return self._hash.hexdigest()

    def sync(self) -> None:
        """Syncs the file and its folder; if that fails, bytes are dropped as in `append`."""
        try:
            sync(self.path)
            if not self._name_synced:
                sync(self.path.parent)
                self._name_synced = True
        except OSError:
            os.truncate(self.path, self._committed // SYNC_BYTES * SYNC_BYTES)
            self._recovered = False
            raise

    def drop(self) -> None:
        """Empties the file, so that the upload can start over."""
        os.truncate(self.path, 0)
        sync(self.path)
        self._hash, self._committed, self._recovered = hashlib.sha256(), 0, True

"""The file of an upload while it grows: its size is what is committed, its hash is kept up as bytes come."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from mismo_grpc.storage.disk import sync

SYNC_BYTES = 4 << 20
"""The file is forced out to the disk whenever it passes a multiple of this; no chunk is longer."""
HASH_BLOCK_BYTES = 1 << 20


def durable_bytes(size: int) -> int:
    """What a power cut surely leaves of the content of a file that is found with this size.

    Of the chunk that was under way all may be missing but its length, and before it whatever came since the last
    multiple of SYNC_BYTES.
    """
    return max(0, size // SYNC_BYTES - 1) * SYNC_BYTES


class UploadFile:
    """Bytes that arrive in order, `total_bytes` in the end. One thread at a time; every method blocks.

    `same_boot` tells whether the machine has run since the file was last written. What is raised is OSError, ENOSPC
    among them, and then nothing has changed, unless the disk refused to keep what was committed: see `append`.
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
        """Bytes that are written, without reading them."""
        if self._recovered:
            return self._committed
        found = self.path.stat().st_size if self.path.exists() else 0
        return min(found if self._same_boot else durable_bytes(found), self._total_bytes)

    def committed(self) -> int:
        """Bytes that are written; after a restart the first call reads and hashes them, and drops what is not sure."""
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
        """Writes all of `data`, at most SYNC_BYTES, behind what is committed.

        If the disk does not take what it is forced to, the bytes since the last multiple of SYNC_BYTES are dropped:
        a system may forget them after it has said so once.
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
        """Of the committed bytes, lower-case hex."""
        self.committed()
        return self._hash.hexdigest()

    def sync(self) -> None:
        """Brings the file and its name to the disk; what this cannot is dropped as in `append`."""
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
        """Forgets all bytes, to begin anew."""
        os.truncate(self.path, 0)
        sync(self.path)
        self._hash, self._committed, self._recovered = hashlib.sha256(), 0, True

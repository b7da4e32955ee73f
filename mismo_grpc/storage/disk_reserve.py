"""Disk space reserved for the one record that must be written even on a full disk: how a job ended."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

RESERVE_BYTES = 1 << 20


class DiskReserve:
    """A preallocated file that is emptied when the job store finds the disk full; thread-safe, blocks."""

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self._path = path
        self._size = size
        self._lock = threading.Lock()
        self.refill()

    def refill(self) -> bool:
        """Reserves the space if the disk has it; returns whether it is reserved now."""
        with self._lock:
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError:
                return False
            try:
                if os.fstat(descriptor).st_size != self._size:
                    os.posix_fallocate(descriptor, 0, self._size)
            except OSError:
                os.ftruncate(descriptor, 0)
                return False
            finally:
                os.close(descriptor)
            return True

    def release(self) -> bool:
        """Frees the space; returns False if it was free already."""
        with self._lock:
            try:
                if self._path.stat().st_size == 0:
                    return False
                os.truncate(self._path, 0)
            except OSError:
                return False
        log.warning("the disk is full; the space reserved for recording how jobs ended is now in use")
        return True

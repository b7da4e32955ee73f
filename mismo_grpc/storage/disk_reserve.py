"""Room on the disk that is kept for the one thing which must be written on a full one: how jobs end."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

SPARE_BYTES = 1 << 20


class DiskReserve:
    """A file without content that is given up when the job store finds no room; thread-safe, blocks."""

    def __init__(self, path: Path, size: int = SPARE_BYTES) -> None:
        self._path = path
        self._size = size
        self._lock = threading.Lock()
        self.refill()

    def refill(self) -> bool:
        """Takes the room, if there is some; answers whether it is there now."""
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
        """Gives the room up; False if it was given up before."""
        with self._lock:
            try:
                if self._path.stat().st_size == 0:
                    return False
                os.truncate(self._path, 0)
            except OSError:
                return False
        log.warning("the disk is full; the room kept for the ends of jobs is being used up")
        return True

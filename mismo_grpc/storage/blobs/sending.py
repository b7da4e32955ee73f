"""Sends a file in parts, and checks while it is read that it has the checksum that it should have."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from pathlib import Path
from typing import Any, BinaryIO

from mismo_grpc.errors import InternalError, MismoError
from mismo_grpc.executors import InThread

PART_BYTES = 5 << 20
"""The smallest part that S3 accepts."""
PARTS_IN_FLIGHT = 3
PIECE_BYTES = 1 << 20
ABORT_SECONDS = 2.0
"""How long a cancelled upload may take to remove the parts that it has sent."""


class FileParts:
    """An asynchronous iterator of a file's bytes in pieces.

    It raises InternalError instead of its end if the file did not have the checksum, and for the next piece after
    `stop`: the client then discards what it has sent. The error is also in `failure`.
    """

    def __init__(self, source: Path, sha256: str, in_thread: InThread) -> None:
        self.failure: MismoError | None = None
        self._source = source
        self._sha256 = sha256
        self._in_thread = in_thread
        self._digest = hashlib.sha256()
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self.total_bytes = 0

    def open(self) -> None:
        """Opens the file and sets `total_bytes`; blocks. Raises InternalError."""
        with self._lock:
            try:
                self._file = self._source.open("rb")
                self.total_bytes = os.fstat(self._file.fileno()).st_size
            except OSError as error:
                raise self._unreadable(error) from error

    def __aiter__(self) -> FileParts:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._in_thread(self.next_piece)
        if not piece:
            raise StopAsyncIteration
        return piece

    def next_piece(self) -> bytes:
        """Returns the next piece, b"" after the last one; blocks. Raises InternalError."""
        with self._lock:
            try:
                if self._file is None:
                    raise self._failed("the upload was stopped")
                piece = self._file.read(PIECE_BYTES)
            except OSError as error:
                raise self._unreadable(error) from error
            self._digest.update(piece)
            if not piece and self._digest.hexdigest() != self._sha256:
                raise self._failed(
                    f"{self._source.name} on the server's disk is damaged: its checksum is not the one recorded when "
                    "it was made; it was not uploaded. Submit the job again"
                )
            return piece

    def stop(self) -> None:
        """Closes the file; waits for a piece that is being read."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _unreadable(self, error: OSError) -> MismoError:
        return self._failed(
            f"{self._source.name} on the server's disk cannot be read ({error.strerror}); it was not uploaded"
        )

    def _failed(self, message: str) -> MismoError:
        self.failure = InternalError(message)
        return self.failure


def file_sha256(path: Path) -> str:
    """Returns a file's SHA-256 in hexadecimal digits; blocks. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def completed(sending: asyncio.Future[Any], parts: FileParts) -> None:
    """Waits for an upload; if the caller is cancelled it first stops the upload, within ABORT_SECONDS."""
    try:
        await asyncio.wait([sending])
    except asyncio.CancelledError:
        # In a thread, because it waits for a piece that is being read.
        await asyncio.to_thread(parts.stop)
        await asyncio.wait([sending], timeout=ABORT_SECONDS)
        raise
    finally:
        if not sending.done():
            sending.cancel()
        elif not sending.cancelled():
            sending.exception()

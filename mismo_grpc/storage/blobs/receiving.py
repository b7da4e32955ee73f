"""Receives a blob: byte ranges fetched in parallel, and a file that is complete or absent."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Protocol

from mismo_grpc.completion import run_to_completion, wait_ended
from mismo_grpc.executors import InThread
from mismo_grpc.storage.disk import disk_errors, sync

RANGE_BYTES = 4 << 20
RANGES_IN_FLIGHT = 3
SUFFIX = ".partial"


class Readable(Protocol):
    """Bytes that a memoryview can be made of."""

    def __len__(self) -> int: ...


async def ranges_in_order(
    fetch: Callable[[int, int], Awaitable[Readable]], total_bytes: int
) -> AsyncGenerator[Readable]:
    """Yields all bytes in order; `fetch(start, end)` is called ahead for at most RANGES_IN_FLIGHT ranges.

    Raises what `fetch` does. Use it in `contextlib.aclosing`, which ends the calls in flight.
    """
    starts = deque(range(0, total_bytes, RANGE_BYTES))
    flight: deque[asyncio.Future[Readable]] = deque()
    try:
        while starts or flight:
            while starts and len(flight) < RANGES_IN_FLIGHT:
                start = starts.popleft()
                flight.append(asyncio.ensure_future(fetch(start, min(start + RANGE_BYTES, total_bytes))))
            data = await flight[0]
            del flight[0]
            yield data
    finally:
        if flight:
            for task in flight:
                task.cancel()
            await wait_ended(flight)


class PartialFile:
    """A file that gets its name only when it is complete; without `finish` nothing of it remains.

    The bytes go to `NAME.partial` in the same folder; one that a crash left is replaced. Raises DiskFullError or
    InternalError.
    """

    def __init__(self, target: Path, in_thread: InThread) -> None:
        self._target = target
        self._partial = target.with_name(target.name + SUFFIX)
        self._in_thread = in_thread
        self._digest = hashlib.sha256()
        self._file: FileIO | None = None
        self.written_bytes = 0

    async def __aenter__(self) -> PartialFile:
        try:
            await run_to_completion(self._in_thread(self._open))
        except BaseException:
            await run_to_completion(self._in_thread(self._close))
            raise
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await run_to_completion(self._in_thread(self._close))

    async def write(self, data: Readable) -> None:
        """Appends bytes; if the caller is cancelled it returns once they are written."""
        await run_to_completion(self._in_thread(self._write, data))

    async def finish(self) -> str:
        """Syncs the file and gives it its name; returns the SHA-256 in hexadecimal digits."""
        await run_to_completion(self._in_thread(self._finish))
        return self._digest.hexdigest()

    def _open(self) -> None:
        with disk_errors():
            self._partial.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._file = FileIO(os.open(self._partial, flags, 0o666), "wb")

    def _write(self, data: Readable) -> None:
        assert self._file is not None
        view = memoryview(data)  # pyright: ignore[reportArgumentType]  # obstore's Bytes, whose stub needs Python 3.12
        self._digest.update(view)
        with disk_errors():
            rest = view
            while rest:
                rest = rest[self._file.write(rest) :]
        self.written_bytes += len(view)

    def _finish(self) -> None:
        assert self._file is not None
        with disk_errors():
            os.fsync(self._file.fileno())
            self._partial.replace(self._target)
            sync(self._target.parent)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._partial.unlink(missing_ok=True)

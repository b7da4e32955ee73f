"""JSON text of known length that contains files and blobs as base64, read block by block while it is sent."""

from __future__ import annotations

import asyncio
import binascii
import errno
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from mismo_grpc.executors import InThread
from mismo_grpc.results.copies import ResultBlob

T = TypeVar("T")

READ_BYTES = 3 << 18
"""Bytes of one block; a multiple of 3, so that the blocks' base64 can be concatenated."""


@dataclass(frozen=True)
class Base64File:
    """An open file that the body contains as base64."""

    descriptor: int
    size: int


@dataclass(frozen=True)
class Base64Blob:
    """A stem in the blob container that the body contains as base64."""

    blob: ResultBlob

    @property
    def size(self) -> int:
        return self.blob.total_bytes


_Part = bytes | Base64File | Base64Blob


class Body:
    """JSON text of `length` bytes. It keeps files open: use it as a context manager, or call `close`."""

    def __init__(self, parts: Sequence[_Part], in_thread: InThread) -> None:
        self._parts = parts
        self._call_in_thread = in_thread
        self._closed = False
        self._close_also: Callable[[], None] = lambda: None
        self._pending: set[asyncio.Future[Any]] = set()
        self.length = sum(len(part) if isinstance(part, bytes) else -(-part.size // 3) * 4 for part in parts)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yields the blocks in order; can be repeated. Raises OSError if a file cannot be read to its end, MismoError
        if a blob cannot.

        It reads one block ahead of the sender, because a thread may wait long to run on a busy machine.
        """
        blocks = self._blocks()
        ahead = self._start_read(next(blocks, None))
        while ahead is not None:
            block = await asyncio.shield(ahead)
            ahead = self._start_read(next(blocks, None))
            yield block

    async def read_into(self, consume: Callable[[bytes], object]) -> None:
        """Passes every block to `consume`, which may block, in a thread. Raises as the iteration."""
        if any(isinstance(part, Base64Blob) for part in self._parts):
            async for block in self:
                await self._in_thread(partial(consume, block))
            return
        stopped = threading.Event()

        def consume_blocks() -> None:
            for part, offset in self._blocks():
                if stopped.is_set():
                    return
                assert not isinstance(part, Base64Blob)
                consume(_block(part, offset))

        try:
            await asyncio.shield(self._in_thread(consume_blocks))
        finally:
            stopped.set()

    def _start_read(self, block: tuple[_Part, int] | None) -> asyncio.Future[bytes] | None:
        if block is None:
            return None
        part, offset = block
        if isinstance(part, Base64Blob):
            return self._pend(self._from_blob(part, offset))
        return self._in_thread(partial(_block, part, offset))

    async def _from_blob(self, part: Base64Blob, offset: int) -> bytes:
        data = await part.blob.read(offset, READ_BYTES)
        return await self._call_in_thread(partial(binascii.b2a_base64, data, newline=False))

    def _in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return self._pend(self._call_in_thread(work))

    def _pend(self, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        task = asyncio.ensure_future(work)
        self._pending.add(task)
        task.add_done_callback(self._read_ended)
        return task

    def _read_ended(self, task: asyncio.Future[Any]) -> None:
        self._pending.discard(task)
        if not task.cancelled():
            # Marks the error as retrieved: if the waiter is gone, asyncio would log it.
            task.exception()
        if self._closed:
            self.close()

    def _blocks(self) -> Iterator[tuple[_Part, int]]:
        """The blocks in order, each by its part and its offset there."""
        for part in self._parts:
            for offset in range(0, len(part) if isinstance(part, bytes) else part.size, READ_BYTES):
                yield part, offset

    def also_close(self, close: Callable[[], None]) -> None:
        """Calls `close` with the files' own, which can happen twice."""
        self._close_also = close

    def close(self) -> None:
        """Closes the files, at once or after the last read that is in progress; can be called twice."""
        self._closed = True
        if self._pending:
            return
        for part in self._parts:
            if isinstance(part, Base64File):
                os.close(part.descriptor)
        self._parts = ()
        self._close_also()

    def __enter__(self) -> Body:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def render_body(
    document: Mapping[str, object], files: Mapping[str, Base64File | Base64Blob], in_thread: InThread
) -> Body:
    """Renders the document as JSON with files in place of their placeholders, which occur in the files' order."""
    rest = json.dumps(document, separators=(",", ":")).encode("ascii")
    parts: list[_Part] = []
    for mark, file in files.items():
        before, _, rest = rest.partition(mark.encode("ascii"))
        parts += [before, file]
    return Body([*parts, rest], in_thread)


def _block(part: bytes | Base64File, offset: int) -> bytes:
    return part[offset : offset + READ_BYTES] if isinstance(part, bytes) else _base64(part, offset)


def _base64(file: Base64File, offset: int) -> bytes:
    missing = min(READ_BYTES, file.size - offset)
    blocks: list[bytes] = []
    while missing:
        block = os.pread(file.descriptor, missing, offset)
        if not block:
            raise OSError(errno.EIO, "a stem file became shorter while it was sent")
        blocks.append(block)
        offset += len(block)
        missing -= len(block)
    return binascii.b2a_base64(b"".join(blocks), newline=False)

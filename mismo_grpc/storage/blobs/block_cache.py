"""Reads blobs in blocks that stay in memory for a while, so that one read of the container serves all readers.

A block is fetched when a reader asks for it; the blocks after it are then fetched in the background. No thread waits
for the container.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from mismo_grpc.errors import BlobStoreUnavailableError
from mismo_grpc.storage.blobs.failures import blob_changed
from mismo_grpc.storage.blobs.port import BlobStore

BLOCK_BYTES = 512 << 10
"""About 3 s of a stem of 16 bits, stereo, at 44.1 kHz."""
BLOCKS_AHEAD = 2
CACHE_BYTES = 64 << 20
"""The blocks of 32 stems with what is read ahead of them, 16-bit stems of 8 players for instance."""
FETCHES_AT_ONCE = 16
WAIT_SECONDS = 30.0
"""How long a reader waits for a block, with the wait for its turn."""


@dataclass(frozen=True)
class _Key:
    """One version of a blob."""

    path: str
    version: str


class _Block:
    """A block that is fetched or is there; it is not dropped while it has `waiters`."""

    def __init__(self, fetching: asyncio.Task[bytes]) -> None:
        self.fetching = fetching
        self.waiters = 0


class BlockCache:
    """The blocks of one container that were read last; on the event loop only.

    Over `cache_bytes` those that were used least recently are dropped. Blocks that a reader waits for are not dropped,
    so they may exceed it.
    """

    def __init__(
        self,
        container: BlobStore,
        *,
        block_bytes: int = BLOCK_BYTES,
        cache_bytes: int = CACHE_BYTES,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self.container = container
        self.block_bytes = block_bytes
        self.wait_seconds = wait_seconds
        self._capacity = max(1, cache_bytes // block_bytes)
        self._blocks: OrderedDict[tuple[_Key, int], _Block] = OrderedDict()
        self._open: Counter[_Key] = Counter()
        self._turns = asyncio.Semaphore(FETCHES_AT_ONCE)
        self._fetching = 0

    def open(self, path: str, total_bytes: int, version: str) -> CachedBlob:
        """A reader of one version ("": any) of a blob of `total_bytes` bytes; asks the container for nothing yet."""
        return CachedBlob(self, _Key(path, version), total_bytes)

    @property
    def open_blobs(self) -> int:
        """The number of blobs that have a reader."""
        return len(self._open)

    @property
    def held_bytes(self) -> int:
        """An upper limit of the bytes that are in the cache or are being fetched."""
        return len(self._blocks) * self.block_bytes

    def enter(self, key: _Key) -> None:
        """Counts a reader; called by it."""
        self._open[key] += 1

    def leave(self, key: _Key) -> None:
        """Forgets a reader; after the last one of a blob nothing of it is read ahead any more."""
        self._open[key] -= 1
        if self._open[key] > 0:
            return
        del self._open[key]
        for (of, index), block in list(self._blocks.items()):
            if of == key and not block.waiters and not block.fetching.done():
                self._remove((of, index), block)

    def block(self, key: _Key, index: int, total_bytes: int) -> _Block:
        """The block, which is fetched if it is not there."""
        found = self._blocks.get((key, index))
        if found is None:
            block = _Block(asyncio.create_task(self._fetch(key, index, total_bytes)))
            block.fetching.add_done_callback(lambda _: self._fetched((key, index), block))
            found = self._blocks[key, index] = block
        self._blocks.move_to_end((key, index))
        self._drop()
        return found

    def read_ahead(self, key: _Key, first: int, total_bytes: int) -> None:
        """Fetches blocks from `first` on in the background, unless many are being fetched or the cache is too small."""
        room = self._capacity // max(1, len(self._open)) - 1
        end = min(first + min(BLOCKS_AHEAD, room), -(-total_bytes // self.block_bytes))
        for index in range(first, end):
            if self._fetching < FETCHES_AT_ONCE and (key, index) not in self._blocks:
                self.block(key, index, total_bytes)

    async def _fetch(self, key: _Key, index: int, total_bytes: int) -> bytes:
        start = index * self.block_bytes
        count = min(self.block_bytes, total_bytes - start)
        self._fetching += 1
        try:
            async with self._turns:
                return await self.read(key, start, count)
        finally:
            self._fetching -= 1

    async def read(self, key: _Key, start: int, count: int) -> bytes:
        """Reads `count` bytes from the container. Raises BlobChangedError if there are fewer, and as the container."""
        data = await self.container.read(key.path, start, count, key.version)
        if len(data) != count:
            raise blob_changed(self.container.uri, key.path)
        return data

    def _fetched(self, name: tuple[_Key, int], block: _Block) -> None:
        if block.fetching.cancelled() or block.fetching.exception() is not None:
            # The next reader tries again.
            self._remove(name, block)

    def _remove(self, name: tuple[_Key, int], block: _Block) -> None:
        if self._blocks.get(name) is block:
            del self._blocks[name]
        block.fetching.cancel()

    def _drop(self) -> None:
        """Drops what was used least recently; what is being fetched for nobody is not fetched any more."""
        over = len(self._blocks) - self._capacity
        # The newest block is about to get its first waiter.
        for name, block in list(self._blocks.items())[:-1]:
            if over <= 0:
                break
            if not block.waiters:
                self._remove(name, block)
                over -= 1


class CachedBlob:
    """Reads any part of one version of a blob; on the event loop only. Close it."""

    def __init__(self, cache: BlockCache, key: _Key, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self._cache = cache
        self._key = key
        self._closed = False
        cache.enter(key)

    async def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on, fewer at the end.

        Raises what `BlobStore.read` does, BlobStoreUnavailableError if the container does not respond in time. A
        cancelled call leaves nothing waiting.
        """
        cache, size = self._cache, self._cache.block_bytes
        end = min(offset + count, self.total_bytes)
        if not 0 <= offset < end:
            return b""
        first, last = offset // size, (end - 1) // size
        blocks: list[_Block] = []
        try:
            for index in range(first, last + 1):
                block = cache.block(self._key, index, self.total_bytes)
                block.waiters += 1
                blocks.append(block)
            data = await self._in_time(_joined(blocks))
        finally:
            for block in blocks:
                block.waiters -= 1
        if not self._closed:
            # Not before, so that it takes no bandwidth from what is waited for.
            cache.read_ahead(self._key, last + 1, self.total_bytes)
        return data[offset - first * size : end - first * size]

    async def read_apart(self, offset: int, count: int) -> bytes:
        """Like `read`, but fetches just these bytes and keeps none, for a few bytes that are needed once."""
        count = min(count, self.total_bytes - offset)
        return await self._in_time(self._cache.read(self._key, offset, count))

    async def _in_time(self, reading: Coroutine[Any, Any, bytes]) -> bytes:
        try:
            async with asyncio.timeout(self._cache.wait_seconds):
                return await reading
        except TimeoutError:
            raise BlobStoreUnavailableError(
                f"{self._key.path} in {self._cache.container.uri} did not come in time (timeout): see that the storage "
                "service runs and that the server can reach it, then try again"
            ) from None

    def close(self) -> None:
        """Ends the reading ahead; can be called twice."""
        if not self._closed:
            self._closed = True
            self._cache.leave(self._key)


async def _joined(blocks: Sequence[_Block]) -> bytes:
    return b"".join([await asyncio.shield(block.fetching) for block in blocks])

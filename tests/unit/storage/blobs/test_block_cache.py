"""One read of a container serves all readers, what is kept is bounded, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import numpy as np
import pytest

from mismo_grpc.errors import BlobChangedError, BlobStoreUnavailableError
from mismo_grpc.storage.blobs.block_cache import FETCHES_AT_ONCE, BlockCache
from mismo_grpc.storage.blobs.object_store import ObjectBlobStore

BLOCK = 1000
TOTAL = 10_500
DATA = np.random.default_rng(3).bytes(TOTAL)


class Watched:
    """A container on a disk that counts its reads; while `flowing` is cleared they do not end."""

    def __init__(self, store: ObjectBlobStore) -> None:
        self._store = store
        self.reads: Counter[int] = Counter()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.pending = 0
        self.most = 0

    @property
    def uri(self) -> str:
        return self._store.uri

    async def read(self, path: str, start: int, count: int, version: str = "") -> bytes:
        self.reads[start // BLOCK] += 1
        self.pending += 1
        self.most = max(self.most, self.pending)
        try:
            await self.flowing.wait()
            return await self._store.read(path, start, count, version)
        finally:
            self.pending -= 1


class Opened:
    """A blob in a watched container behind a cache of so many blocks."""

    def __init__(self, watched: Watched, version: str, blocks: int, **changes: Any) -> None:
        self.container = watched
        container: Any = watched
        self.cache = BlockCache(container, block_bytes=BLOCK, cache_bytes=blocks * BLOCK, **changes)
        self.version = version

    def blob(self):
        return self.cache.open("a.wav", TOTAL, self.version)

    async def idle(self) -> None:
        fetching = [block.fetching for block in self.cache._blocks.values()]
        await asyncio.wait(fetching)


@pytest.fixture
def opened(place_of):
    async def make(blocks: int = 20, **changes: Any) -> Opened:
        store = place_of("disk").store()
        info = await store.write("a.wav", DATA)
        return Opened(Watched(store), info.version, blocks, **changes)

    return make


async def test_any_range_is_read_as_it_is_stored(place):
    store = place.store()
    info = await store.write("a.wav", DATA)
    blob = BlockCache(store, block_bytes=BLOCK).open("a.wav", TOTAL, info.version)
    for offset, count in ((0, 1), (999, 2), (0, TOTAL), (10_400, 500), (10_499, 1), (TOTAL, 5), (2500, 3000)):
        assert await blob.read(offset, count) == DATA[offset : offset + count]
        if offset < TOTAL:
            assert await blob.read_apart(offset, count) == DATA[offset : offset + count]
    blob.close()


async def test_one_read_serves_all_readers_and_the_next_blocks_come_unasked(opened):
    it = await opened()
    first, second = it.blob(), it.blob()
    it.container.flowing.clear()
    reads = [asyncio.ensure_future(blob.read(100, 50)) for blob in (first, second)]
    await asyncio.sleep(0)
    it.container.flowing.set()
    assert await asyncio.gather(*reads) == [DATA[100:150]] * 2
    await it.idle()
    assert it.container.reads == {0: 1, 1: 1, 2: 1}
    # The one who comes next waits for nothing.
    it.container.flowing.clear()
    assert await second.read(1500, 1000) == DATA[1500:2500]
    for blob in (first, second):
        blob.close()


async def test_what_is_kept_is_bounded_and_the_least_used_goes_first(opened):
    it = await opened(blocks=3)
    blob = it.blob()
    for block in (0, 4, 0, 8, 0, 2, 0, 6, 0):
        await blob.read(block * BLOCK, 10)
        assert it.cache.held_bytes <= 3 * BLOCK
        await it.idle()
    assert it.cache.held_bytes <= 3 * BLOCK
    blob.close()


async def test_with_many_readers_nothing_is_read_ahead_that_would_be_dropped_unread(opened):
    it = await opened(blocks=2)
    blobs = [it.cache.open(name, TOTAL, it.version) for name in ("b.wav", "c.wav")]
    blob = it.blob()
    await blob.read(0, 10)
    await it.idle()
    assert it.container.reads == {0: 1}
    for each in (*blobs, blob):
        each.close()


async def test_not_more_than_so_many_reads_run_at_once(opened):
    it = await opened()
    it.container.flowing.clear()
    blobs = [it.cache.open(f"{n}.wav", TOTAL, "") for n in range(40)]
    reads = [asyncio.ensure_future(blob.read(0, 10)) for blob in blobs]
    for _ in range(5):
        await asyncio.sleep(0)
    assert it.container.most == FETCHES_AT_ONCE
    for read in reads:
        read.cancel()
    await asyncio.wait(reads)
    for blob in blobs:
        blob.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert (it.container.pending, it.cache.open_blobs, it.cache.held_bytes) == (0, 0, 0)


async def test_a_reader_that_leaves_does_not_end_the_read_of_another(opened):
    it = await opened()
    it.container.flowing.clear()
    leaver, stayer = it.blob(), it.blob()
    leaving, staying = (asyncio.ensure_future(blob.read(0, 10)) for blob in (leaver, stayer))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    leaver.close()
    it.container.flowing.set()
    assert await staying == DATA[:10]
    stayer.close()


async def test_a_container_that_hangs_is_an_error_in_time_and_is_asked_again_afterwards(opened):
    it = await opened(wait_seconds=0.01)
    it.container.flowing.clear()
    blob = it.blob()
    with pytest.raises(BlobStoreUnavailableError, match="did not come in time"):
        await blob.read(0, 10)
    with pytest.raises(BlobStoreUnavailableError, match="did not come in time"):
        await blob.read_apart(0, 10)
    it.container.flowing.set()
    it.cache.wait_seconds = 30
    assert await blob.read(0, 10) == DATA[:10]
    blob.close()


async def test_a_replaced_blob_is_an_error_for_blocks_that_are_not_there_yet(place):
    store = place.store()
    info = await store.write("a.wav", DATA)
    cache = BlockCache(store, block_bytes=BLOCK)
    blob = cache.open("a.wav", TOTAL, info.version)
    await blob.read(0, 10)
    await store.write("a.wav", DATA[::-1])
    with pytest.raises(BlobChangedError):
        await blob.read(9000, 10)
    assert await blob.read(0, 10) == DATA[:10], "of the version that was opened"
    blob.close()


async def test_a_blob_shorter_than_it_should_be_is_an_error(opened):
    it = await opened()
    blob = it.cache.open("a.wav", TOTAL + 5, it.version)
    with pytest.raises(BlobChangedError):
        await blob.read(TOTAL - 1, 6)
    blob.close()

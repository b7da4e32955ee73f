from __future__ import annotations

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.errors import ArtifactNotFoundError
from mismo_grpc.separation.stems import StemLayout, StemSet
from mismo_grpc.storage.run_files import RunFiles
from mismo_grpc.streaming.file_cache import StemFileCache
from mismo_grpc.streaming.stem_blobs import StemBlobs

RUN = "1" * 32
LAYOUT = StemLayout(("drums", "vocals"), 44100, 2, 1000, Encoding.PCM_S16LE)


def finished_run(folder: Path) -> RunFiles:
    files = RunFiles(folder / RUN)
    stems = StemSet(files.stems, LAYOUT, folder / "peaks")
    stems.write(0, np.zeros((2, 1000, 2), dtype=np.float32))
    stems.close()
    return files


def open_files(folder: Path) -> int:
    targets = [Path(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")]
    return sum(str(folder) in os.readlink(t) for t in targets if t.is_symlink())


async def test_readers_share_one_set_and_the_last_one_closes_it(tmp_path: Path) -> None:
    cache, files = StemFileCache(), finished_run(tmp_path)
    first, second = await asyncio.gather(cache.acquire(files, LAYOUT), cache.acquire(files, LAYOUT))
    assert first.stems is second.stems
    assert open_files(tmp_path) == 2
    first.release()
    first.release()
    assert isinstance(second.stems, StemSet)
    assert second.stems.read(0, 0, 10) == bytes(40)
    second.release()
    assert (cache.open_sets, open_files(tmp_path)) == (0, 0)


async def test_a_reader_that_gives_up_while_the_files_open_leaves_nothing_open(tmp_path: Path) -> None:
    cache, files = StemFileCache(), finished_run(tmp_path)
    reader = asyncio.ensure_future(cache.acquire(files, LAYOUT))
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    lease = await cache.acquire(files, LAYOUT)
    stems = lease.stems
    assert isinstance(stems, StemSet)
    lease.release()
    assert cache.open_sets == 0
    with pytest.raises(IndexError):
        stems.read(0, 0, 1)


async def test_files_that_are_gone_or_cut_say_so_and_stay_off_the_shelf(tmp_path: Path) -> None:
    cache, files = StemFileCache(), finished_run(tmp_path)
    os.truncate(files.stem("vocals"), 100)
    with pytest.raises(FileNotFoundError):
        await cache.acquire(files, LAYOUT)
    files.stem("vocals").unlink()
    with pytest.raises(FileNotFoundError):
        await cache.acquire(files, LAYOUT)
    assert (cache.open_sets, open_files(tmp_path)) == (0, 0)


class Blob:
    """The finished file of a stem, as a blob that counts its closings."""

    def __init__(self, content: bytes) -> None:
        self.content, self.closed = content, 0

    @property
    def total_bytes(self) -> int:
        return len(self.content)

    async def read(self, offset: int, count: int, /) -> bytes:
        return self.content[offset : offset + count]

    async def read_apart(self, offset: int, count: int, /) -> bytes:
        return await self.read(offset, count)

    def close(self) -> None:
        self.closed += 1


def blobs_of(files: RunFiles) -> list[Blob]:
    """The blobs of a run, whose files are removed."""
    blobs = [Blob(files.stem(name).read_bytes()) for name in LAYOUT.stem_names]
    for name in LAYOUT.stem_names:
        files.stem(name).unlink()
    return blobs


async def test_readers_share_blobs_opened_elsewhere_and_the_last_one_closes_them(tmp_path: Path) -> None:
    cache, files = StemFileCache(), finished_run(tmp_path)
    blobs, opened = blobs_of(files), list[StemBlobs]()

    async def elsewhere(layout: StemLayout) -> StemBlobs:
        opened.append(StemBlobs(layout, blobs))
        await opened[-1].check()
        return opened[-1]

    first, second = await asyncio.gather(*(cache.acquire(files, LAYOUT, elsewhere) for _ in range(2)))
    assert [first.stems, second.stems] == [*opened, *opened]
    assert await opened[0].fetch((0, 1), 990, 10) == [bytes(40), bytes(40)]
    first.release()
    assert [blob.closed for blob in blobs] == [0, 0]
    second.release()
    assert (cache.open_sets, [blob.closed for blob in blobs]) == (0, [1, 1])


async def test_a_reader_that_gives_up_while_blobs_are_opened_leaves_none_open(tmp_path: Path) -> None:
    cache, files = StemFileCache(), finished_run(tmp_path)
    blobs, opening, go_on = blobs_of(files), asyncio.Event(), asyncio.Event()

    async def elsewhere(layout: StemLayout) -> StemBlobs:
        opening.set()
        await go_on.wait()
        return StemBlobs(layout, blobs)

    reader = asyncio.ensure_future(cache.acquire(files, LAYOUT, elsewhere))
    await opening.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    again = asyncio.ensure_future(cache.acquire(files, LAYOUT, elsewhere))
    go_on.set()
    # It waits behind the opening of the reader that gave up.
    (await again).release()
    assert (cache.open_sets, [blob.closed for blob in blobs]) == (0, [2, 2])


@pytest.mark.parametrize("change", ["header", "size"])
async def test_blobs_that_are_not_what_the_layout_says_are_refused(tmp_path: Path, change: str) -> None:
    blobs = blobs_of(finished_run(tmp_path))
    content = blobs[1].content
    blobs[1].content = b"RIFX" + content[4:] if change == "header" else content[:-4]
    with pytest.raises(ArtifactNotFoundError, match="vocals"):
        await StemBlobs(LAYOUT, blobs).check()


async def test_a_run_that_goes_on_in_new_files_leaves_its_readers_theirs(tmp_path: Path) -> None:
    """A job was stopped, its end could not be stored, and it began again while someone was reading."""
    cache, files = StemFileCache(), finished_run(tmp_path)
    reader = await cache.acquire(files, LAYOUT)
    again = cache.put(files.run_id, StemSet(files.stems, LAYOUT))
    newcomer = await cache.acquire(files, LAYOUT)
    assert newcomer.stems is again.stems is not reader.stems
    reader.release()
    assert isinstance(again.stems, StemSet)
    assert again.stems.read(0, 0, 10) == bytes(40)
    again.release()
    newcomer.release()
    assert (cache.open_sets, open_files(tmp_path)) == (0, 0)


async def test_who_comes_before_the_layout_is_known_gets_the_set_that_is_open_or_none(tmp_path: Path) -> None:
    cache, files = StemFileCache(), finished_run(tmp_path)
    with pytest.raises(FileNotFoundError):
        await cache.acquire(files, None)
    maker = cache.put(files.run_id, StemSet(files.stems, LAYOUT))
    reader = await cache.acquire(files, None)
    assert reader.stems is maker.stems
    maker.release()
    reader.release()
    assert (cache.open_sets, open_files(tmp_path)) == (0, 0)

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.errors import ArtifactNotFoundError
from mismo_grpc.jobs.job import Job, JobState, Priority, SeparationOptions, Source, SourceKind
from mismo_grpc.jobs.stem_shelf import StemShelf
from mismo_grpc.separation.stems import StemLayout, StemSet

LAYOUT = StemLayout(("drums", "vocals"), 44100, 2, 1000, Encoding.PCM_S16LE)


def finished_job(jobs_dir: Path) -> Job:
    stems = StemSet(jobs_dir / "job" / "stems", LAYOUT, jobs_dir / "state.json")
    stems.write(0, np.zeros((2, 1000, 2), dtype=np.float32))
    stems.close()
    return Job(
        "job",
        "run",
        1,
        JobState.SUCCEEDED,
        Priority.NORMAL,
        Source(SourceKind.PATH, "/x.wav"),
        SeparationOptions(),
        {},
        "tiny",
        0.0,
        layout=LAYOUT,
    )


def open_files(folder: Path) -> int:
    targets = [Path(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")]
    return sum(str(folder) in os.readlink(t) for t in targets if t.is_symlink())


async def test_readers_share_one_set_and_the_last_one_closes_it(tmp_path: Path) -> None:
    shelf, job = StemShelf(tmp_path), finished_job(tmp_path)
    first, second = await asyncio.gather(shelf.acquire(job), shelf.acquire(job))
    assert first is second
    assert open_files(tmp_path) == 2
    shelf.release(job.run)
    assert first.read(0, 0, 10) == bytes(40)
    shelf.release(job.run)
    assert (shelf.open_sets, open_files(tmp_path)) == (0, 0)


async def test_a_reader_that_gives_up_while_the_files_open_leaves_nothing_open(tmp_path: Path) -> None:
    shelf, job = StemShelf(tmp_path), finished_job(tmp_path)
    reader = asyncio.ensure_future(shelf.acquire(job))
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    stems = await shelf.acquire(job)
    shelf.release(job.run)
    assert shelf.open_sets == 0
    with pytest.raises(IndexError):
        stems.read(0, 0, 1)


async def test_files_that_are_gone_or_cut_say_so_and_stay_off_the_shelf(tmp_path: Path) -> None:
    shelf, job = StemShelf(tmp_path), finished_job(tmp_path)
    os.truncate(tmp_path / "job" / "stems" / "vocals.wav", 100)
    with pytest.raises(ArtifactNotFoundError):
        await shelf.acquire(job)
    (tmp_path / "job" / "stems" / "vocals.wav").unlink()
    with pytest.raises(ArtifactNotFoundError):
        await shelf.acquire(job)
    assert (shelf.open_sets, open_files(tmp_path)) == (0, 0)


def test_held_jobs_are_known_until_the_last_hold_is_gone(tmp_path: Path) -> None:
    shelf = StemShelf(tmp_path)
    shelf.hold("a")
    shelf.hold("a")
    shelf.unhold("a")
    assert shelf.held == {"a"}
    shelf.unhold("a")
    assert shelf.held == frozenset()

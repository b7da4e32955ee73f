"""Files that were damaged behind the server's back: what a kill left behind, and what had long been finished."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mismo.analysis.v1 import job_pb2
from tests.service.conftest import Server, StartServer
from tests.support.calls import PCM_F32LE, SUCCEEDED, Client, options
from tests.support.process import ServerProcess
from tests.support.tracks import track_bytes, write_track

Stems = dict[str, bytes]
Damage = Callable[[Path], object]

# With a playhead each, jobs take turns: all of them are under way at the same time.
WANTED = options(encoding=PCM_F32LE, overlap=0.5, playhead=0.0)
SEGMENTS_BEFORE_THE_KILL = 3


def stems_of(folder: Path) -> Stems:
    return {path.name: path.read_bytes() for path in folder.glob("stems/*.wav")}


def cut(path: Path) -> None:
    """The second half is gone."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def zero_the_tail(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))


def zero_the_samples(path: Path) -> None:
    """The header stays."""
    content = path.read_bytes()
    path.write_bytes(content[:128] + bytes(len(content) - 128))


def flip_a_bit(path: Path) -> None:
    """Early in the samples, where the first segments are."""
    content = bytearray(path.read_bytes())
    content[1024] ^= 0x10
    path.write_bytes(content)


def garble(path: Path) -> None:
    path.write_bytes(b'{"what": "is this"}\n\xff\xfe{')


def go_stale(path: Path) -> None:
    """As it was before the last change that it tells of."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))


def promise_more(path: Path) -> None:
    """It tells of every segment as done, in the form that it has."""
    header, *entries = path.read_bytes().splitlines(keepends=True)
    last = json.loads(entries[-1])
    last["done"] = [[0, 1000]]
    path.write_bytes(header + b"".join(entries[:-1]) + json.dumps(last).encode() + b"\n")


LEFT_BEHIND: dict[str, tuple[str, Damage]] = {
    "a stem cut": ("stems/bass.wav", cut),
    "a stem empty": ("stems/bass.wav", empty),
    "a stem zero": ("stems/drums.wav", zero),
    "the samples of a stem zero": ("stems/drums.wav", zero_the_samples),
    "a bit of a stem": ("stems/other.wav", flip_a_bit),
    "a stem missing": ("stems/vocals.wav", Path.unlink),
    "pieces zero": ("work/pieces/*", zero),
    "pieces cut": ("work/pieces/*", cut),
    "pieces missing": ("work/pieces/*", Path.unlink),
    "the tail of the mix zero": ("work/mix.f32", zero_the_tail),
    "the mix cut": ("work/mix.f32", cut),
    "the mix missing": ("work/mix.f32", Path.unlink),
    "the record of the mix empty": ("work/mix.json", empty),
    "the record of the mix garbled": ("work/mix.json", garble),
    "the record of work stale": ("work/journal", go_stale),
    "the record of work ahead": ("work/journal", promise_more),
    "the record of work garbled": ("work/journal", garble),
    "the record of work zero": ("work/journal", zero),
    "the peaks zero": ("work/peaks", zero),
}
"""One a run."""


async def segments(client: Client, job_id: str, count: int) -> None:
    """Until so many segments of a job are done; fails if it ends."""
    async for event in client.watch(job_id):
        assert not event.HasField("terminal")
        if event.HasField("segment_ready"):
            count -= 1
            if count == 0:
                return


async def test_damaged_work_is_done_again_after_a_kill(
    process: ServerProcess, start: StartServer, tmp_path: Path
) -> None:
    track = tmp_path / "music" / "track.wav"
    track.write_bytes(track_bytes(3.0))
    undisturbed = await start(jobs_dir=tmp_path / "undisturbed")
    await undisturbed.client.submit(track, job_id="job", wanted=WANTED)
    await undisturbed.client.succeeded("job")
    expected = stems_of(undisturbed.folder("job"))

    process.settings = {"max_concurrent_jobs": len(LEFT_BEHIND)}
    client = await process.start()
    source = job_pb2.Source(upload_id=(await client.upload(track.read_bytes())).upload_id)
    jobs = [f"job-{number}" for number in range(len(LEFT_BEHIND))]
    for job_id in jobs:
        await client.submit(source, job_id=job_id, wanted=WANTED)
    await asyncio.gather(*(segments(client, job_id, SEGMENTS_BEFORE_THE_KILL) for job_id in jobs))
    process.kill()
    await client.close()

    # A job between two segments may have no pieces just now: those that have some get the damages to pieces.
    runs = sorted(
        (process.jobs_dir / ".mismo" / "runs").iterdir(), key=lambda run: not list(run.glob("work/pieces/*"))
    )
    damages_of_pieces_first = sorted(LEFT_BEHIND.items(), key=lambda item: "pieces" not in item[1][0])
    for run, (name, (pattern, damage)) in zip(runs, damages_of_pieces_first, strict=True):
        files = list(run.glob(pattern))
        assert files, f"{name}: {run} has no {pattern}"
        for path in files:
            damage(path)

    client = await process.start()
    damages = {run.name: name for run, (name, _) in zip(runs, damages_of_pieces_first, strict=True)}
    wrong: list[str] = []
    for job_id in jobs:
        job = await client.ended(job_id)
        if job.state != SUCCEEDED:
            wrong.append(f"{job.error.reason} {job.error.message}")
        elif stems_of(process.jobs_dir / job_id) != expected:
            wrong.append(damages[(process.jobs_dir / job_id).resolve().name])
    assert not wrong
    await client.close()


FINISHED: dict[str, Damage] = {
    "cut": cut,
    "zero": zero,
    "samples zero": zero_the_samples,
    "one bit": flip_a_bit,
    "missing": Path.unlink,
}


@pytest.mark.parametrize("damage", FINISHED)
async def test_a_damaged_result_is_not_taken_over(server: Server, music: Path, damage: str) -> None:
    track = write_track(music / "track.wav")
    await server.client.submit(track, job_id="first")
    await server.client.succeeded("first")
    expected = stems_of(server.folder("first"))
    FINISHED[damage](server.stems("first") / "bass.wav")
    assert stems_of(server.folder("first")) != expected
    answer = await server.client.submit(track, job_id="second")
    assert not answer.cache_hit
    await server.client.succeeded("second")
    assert stems_of(server.folder("second")) == expected
    # What was made again is whole.
    assert (await server.client.submit(track, job_id="third")).cache_hit
    assert stems_of(server.folder("third")) == expected

"""Who makes an export, and what becomes of it: many clients, one that leaves, a full disk, a kill, a removed job."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from mismo_grpc.audio.exports.pcm_source import PcmSource
from mismo_grpc.executors import EXPORT_THREADS
from mismo_grpc.results.exports import exports as making
from mismo_grpc.results.exports import rendering
from mismo_grpc.storage.disk import QuotaDisk
from tests.service.conftest import Server, StartServer
from tests.service.exports.shared import STEMS, exported, finished, flac, mp3, stem_mp4, wanted
from tests.service.gateway.test_gateway import client_of
from tests.support.calls import PATIENCE, SUCCEEDED, Client, names_of, refused, seconds, until
from tests.support.process import ServerProcess
from tests.support.tracks import write_track


class HeldEncoder:
    """The encoder of FLAC files; each waits half-way until the test lets it go on, and asks then whether to stop."""

    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write
        self.go_on = threading.Event()
        self.begun = threading.Semaphore(0)
        self.calls = 0

    def __call__(self, source: PcmSource, file: BinaryIO, check: Callable[[], None]) -> None:
        self.calls += 1
        file.write(b"half")
        self.begun.release()
        assert self.go_on.wait(PATIENCE)
        check()
        file.seek(0)
        self._write(source, file, check)

    async def someone_waits(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, True, PATIENCE)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldEncoder]:
    held = HeldEncoder(rendering.write_flac)
    monkeypatch.setattr(rendering, "write_flac", held)
    yield held
    held.go_on.set()


def read(server: Server, name: str, job_id: str = "job") -> asyncio.Task[bytes]:
    return asyncio.create_task(server.client.artifact(job_id, name))


def waiters(server: Server) -> int:
    return sum(each.waiters for each in server.app.exports._renders.values())


async def nothing_is_made(server: Server) -> None:
    await until(lambda: not server.app.exports._renders)
    await server.nothing_is_held()


async def test_an_export_that_many_ask_for_is_made_once(
    server: Server, music: Path, encoder: HeldEncoder
) -> None:
    await finished(server, music, "job")
    tasks = [read(server, "bass.flac") for _ in range(8)] + [read(server, "stems-flac.zip")]
    await until(lambda: waiters(server) == 8 + len(STEMS))
    encoder.go_on.set()
    contents = await asyncio.gather(*tasks)
    assert len(set(contents[:8])) == 1
    assert encoder.calls == len(STEMS)
    await nothing_is_made(server)


async def test_a_client_that_leaves_does_not_stop_the_export_of_another_nor_its_own(
    server: Server, music: Path, encoder: HeldEncoder
) -> None:
    await finished(server, music, "job")
    leaves, stays = read(server, "bass.flac"), read(server, "bass.flac")
    await until(lambda: waiters(server) == 2)
    leaves.cancel()
    await until(lambda: waiters(server) == 1)
    alone = read(server, "drums.flac")
    await until(lambda: waiters(server) == 2)
    alone.cancel()
    await until(lambda: waiters(server) == 1)
    encoder.go_on.set()
    assert (await stays).startswith(b"fLaC")
    await nothing_is_made(server)
    assert {"bass.flac", "drums.flac"} <= set(exported(server, "job"))


async def test_more_exports_than_the_server_queues_are_refused_with_the_time_to_wait(
    server: Server, music: Path, encoder: HeldEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await finished(server, music, "job")
    await finished(server, music, "more")
    monkeypatch.setattr(making, "MAX_WAITING", 2)
    tasks = [read(server, f"{stem}.flac") for stem in STEMS[:EXPORT_THREADS]]
    for _ in tasks:
        await encoder.someone_waits()
    tasks += [read(server, f"{stem}.flac") for stem in STEMS[EXPORT_THREADS:]]
    await until(lambda: server.app.exports.waiting == 2)
    found = await refused(server.client.artifact("more", "bass.flac"))
    assert (found.code, found.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_EXPORTS")
    assert found.retry_seconds == 10
    async with client_of(server) as http:
        answer = await http.get("/jobs/more/stems/bass.flac")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        # What is being made already needs no place.
        tasks.append(read(server, "stems-flac.zip"))
        await until(lambda: waiters(server) == 2 * len(STEMS))
    encoder.go_on.set()
    await asyncio.gather(*tasks)
    assert (await server.client.artifact("more", "bass.flac")).startswith(b"fLaC")


async def test_no_room_is_a_clear_error_and_leaves_nothing(start: StartServer, music: Path) -> None:
    disk = QuotaDisk(1 << 40)
    server = await start(app={"disk": disk})
    await finished(server, music, "job")
    disk.limit = 200_000
    found = await refused(server.client.artifact("job", "bass.flac"))
    assert (found.code, found.reason) == ("RESOURCE_EXHAUSTED", "DISK_FULL")
    assert exported(server, "job") == []
    disk.limit = 1 << 40
    assert (await server.client.artifact("job", "bass.flac")).startswith(b"fLaC")


class Full:
    """A file whose disk is full after 2000 bytes."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self._left = 2000

    def write(self, data: bytes) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


@pytest.mark.parametrize("name", ["bass.flac", "bass.mp3", "track.stem.mp4"])
async def test_a_disk_that_fills_up_half_way_leaves_nothing(
    server: Server, music: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    await finished(server, music, "job")
    with monkeypatch.context() as patch:
        patch.setattr(rendering, "open_part", Full)
        found = await refused(server.client.artifact("job", name))
    assert (found.code, found.reason) == ("RESOURCE_EXHAUSTED", "DISK_FULL")
    assert exported(server, "job") == []
    assert len(await server.client.artifact("job", name)) > 2000


async def test_a_job_deleted_while_it_is_exported_is_gone_at_once(
    server: Server, music: Path, encoder: HeldEncoder
) -> None:
    await finished(server, music, "job")
    folder = server.folder("job").resolve()
    task = read(server, "bass.flac")
    await encoder.someone_waits()
    await server.client.delete("job")
    assert folder.exists()
    encoder.go_on.set()
    found = await refused(task)
    assert (found.reason, "deleted" in found.message) == ("ARTIFACT_NOT_FOUND", True)
    await nothing_is_made(server)
    await server.app.runs.removed()
    assert not folder.exists()


async def test_a_job_does_not_expire_while_it_is_exported(
    start: StartServer, music: Path, encoder: HeldEncoder
) -> None:
    now = time.time()
    server = await start(app={"now": lambda: now})
    await finished(server, music, "job", result_ttl=seconds(60))
    folder = server.folder("job").resolve()
    task = read(server, "bass.flac")
    await encoder.someone_waits()
    now += 61
    assert await server.app.sweeper.sweep() == []
    encoder.go_on.set()
    assert (await task).startswith(b"fLaC")
    await nothing_is_made(server)
    assert await server.app.sweeper.sweep() == ["job"]
    await server.app.runs.removed()
    assert not folder.exists()


async def test_exports_count_towards_the_disk_budget(start: StartServer, music: Path) -> None:
    server = await start()
    await finished(server, music, "one")
    await server.app.sweeper.sweep()
    before = server.app.sweeper.used_bytes
    await server.client.artifact("one", "stems-flac.zip")
    await server.app.sweeper.sweep()
    folder = server.folder("one") / "exports"
    sizes = sum(path.stat().st_size for path in folder.iterdir())
    assert server.app.sweeper.used_bytes == before + sizes
    # Those of a stage count once.
    track = write_track(music / "two.wav", seed=7)
    await server.client.submit(track, job_id="two", wanted=wanted(flac))
    await server.client.succeeded("two")
    await server.idle()
    await server.app.sweeper.sweep()
    assert server.app.sweeper.used_bytes == pytest.approx(2 * (before + sizes), rel=0.01)


async def test_a_cancelled_job_stops_its_export(server: Server, music: Path, encoder: HeldEncoder) -> None:
    await server.client.submit(write_track(music / "a.wav"), job_id="job", wanted=wanted(flac))
    await encoder.someone_waits()
    folder = server.app.runs.files((await server.client.get("job")).run_id).folder
    cancelling = asyncio.create_task(server.client.cancel("job"))
    await until(lambda: any(each.stop.is_set() for each in server.app.exports._renders.values()))
    encoder.go_on.set()
    await cancelling
    await nothing_is_made(server)
    await server.app.runs.removed()
    assert not folder.exists()


async def test_a_server_that_stops_does_not_wait_for_exports_and_goes_on_after(
    start: StartServer, music: Path, encoder: HeldEncoder
) -> None:
    first = await start()
    await first.client.submit(write_track(music / "a.wav"), job_id="job", wanted=wanted(flac))
    await encoder.someone_waits()
    stopping = asyncio.create_task(first.app.stop())
    await until(lambda: any(each.stop.is_set() for each in first.app.exports._renders.values()))
    encoder.go_on.set()
    await stopping
    second = await start()
    job = await second.client.succeeded("job")
    assert "bass.flac" in names_of(job)
    (status,) = (each for each in job.stages if each.stage == 14)
    assert status.attempts == 1


async def test_a_stage_that_fails_leaves_the_job_with_its_stems(
    server: Server, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(rendering, "write_mp3", broken)
    await server.client.submit(write_track(music / "a.wav"), job_id="job", wanted=wanted(flac, mp3))
    job = await server.client.ended("job")
    assert job.state == SUCCEEDED
    (status,) = (each for each in job.stages if each.stage == 14)
    assert status.error.reason == "INTERNAL"
    assert "stems.zip" in names_of(job)
    # The formats that were made can be read.
    assert (await server.client.artifact("job", "bass.flac")).startswith(b"fLaC")


async def test_a_kill_leaves_no_half_export(process: ServerProcess) -> None:
    client = await process.start()
    track = write_track(process.music / "a.wav", 20.0)
    await client.submit(track, job_id="job")
    await client.succeeded("job")
    reading = asyncio.create_task(client.artifact("job", "track.stem.mp4"))
    folder = process.jobs_dir / "job" / "exports"
    await until(lambda: any(folder.glob("*.part")))
    process.kill()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await client.close()
    assert list(folder.glob("*.part"))
    assert not list(folder.glob("*.mp4"))
    client = await process.start()
    assert not list(folder.iterdir())
    content = await client.artifact("job", "track.stem.mp4")
    assert content[4:8] == b"ftyp"
    await client.close()


async def test_a_killed_server_goes_on_with_the_export_of_a_job(process: ServerProcess) -> None:
    client = await process.start()
    track = write_track(process.music / "a.wav", 20.0)
    await client.submit(track, job_id="job", wanted=wanted(flac, stem_mp4))
    folder = process.jobs_dir / "job" / "exports"
    await until(lambda: any(folder.glob("track.stem.mp4.part")))
    made = (folder / "bass.flac").stat().st_mtime_ns
    process.kill()
    await client.close()
    client = await process.start()
    job = await client.succeeded("job")
    assert {"bass.flac", "track.stem.mp4"} <= set(names_of(job))
    assert (folder / "bass.flac").stat().st_mtime_ns == made
    await client.close()


async def test_players_go_on_while_exports_are_made(server: Server, music: Path) -> None:
    """The event loop answers while both threads encode; how fast is the benchmark's question."""
    await finished(server, music, "job", 30.0)
    answers: list[bool] = []

    async def ask(client: Client, exporting: asyncio.Task[Any]) -> None:
        while not exporting.done():
            await client.read_stem("job", "bass", frame_limit=4096)
            answers.append(exporting.done())

    exporting = asyncio.gather(read(server, "stems-mp3.zip"), read(server, "track.stem.mp4"))
    await ask(server.client, exporting)  # pyright: ignore[reportArgumentType]  # any future will do
    await exporting
    assert answers.count(False) > 10

"""A run owns its files: neither a re-run nor a delete nor a cache hit changes what a reader reads."""

from __future__ import annotations

import asyncio
import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from mismo_grpc.results.artifacts import ArtifactReader
from mismo_grpc.separation import device
from tests.service.conftest import Server, StartServer
from tests.support.calls import RUNNING, SUCCEEDED, options, until
from tests.support.tracks import RESULT_FILES, stem_samples, write_track

STEMS = ("drums", "bass", "other", "vocals")


async def finished(server: Server, track: Path, job_id: str) -> dict[str, bytes]:
    """Separates a track; its stem files."""
    await server.client.submit(track, job_id=job_id)
    await server.client.succeeded(job_id)
    return stems_of(server, job_id)


def stems_of(server: Server, job_id: str) -> dict[str, bytes]:
    return {name: (server.stems(job_id) / f"{name}.wav").read_bytes() for name in STEMS}


def run_folders(server: Server) -> list[Path]:
    return list((server.jobs_dir / ".mismo" / "runs").iterdir())


async def rest_of(reader: ArtifactReader, begun: bytes) -> bytes:
    content = begun
    while piece := await reader.read(len(content), 100_000):
        content += piece
    return content


def unzipped(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        return {name.removesuffix(".wav"): opened.read(name) for name in opened.namelist()}


async def test_an_archive_that_is_read_during_a_re_run_is_of_one_run(server: Server, music: Path) -> None:
    before = await finished(server, write_track(music / "a.wav", 0.6, seed=1), "job")
    async with server.app.jobs.artifacts.open("job", "stems.zip") as reader:
        begun = await reader.read(0, 1000)
        after = await finished(server, write_track(music / "b.wav", 0.6, seed=2), "job")
        assert after != before
        assert unzipped(await rest_of(reader, begun)) == before
    async with server.app.jobs.artifacts.open("job", "stems.zip") as reader:
        assert unzipped(await rest_of(reader, b"")) == after
    await until(lambda: len(run_folders(server)) == 1)


async def test_a_player_reads_on_what_it_began_over_a_re_run_and_a_delete(
    server: Server, music: Path
) -> None:
    before = await finished(server, write_track(music / "a.wav", 0.6, seed=1), "job")
    samples = stem_samples(server.stems("job") / "drums.wav")
    async with server.app.jobs.open_stems("job") as stems:
        await finished(server, write_track(music / "b.wav", 0.6, seed=2), "job")
        await server.client.delete("job")
        assert not server.folder("job").is_symlink()
        frames = stems.layout.total_frames
        assert await stems.read([0], 0, frames, b"".join) == samples
    await until(lambda: run_folders(server) == [])
    assert before


async def test_paths_lead_to_the_earlier_result_until_there_is_a_new_one(server: Server, music: Path) -> None:
    before = await finished(server, write_track(music / "a.wav", 0.6, seed=1), "job")
    server.device.close()
    await server.client.submit(write_track(music / "b.wav", 0.6, seed=2), job_id="job")
    await server.device.someone_waits()
    assert (await server.client.get("job")).state == RUNNING
    assert stems_of(server, "job") == before
    server.device.open()
    await server.client.succeeded("job")
    assert stems_of(server, "job") != before
    await server.idle()
    assert {path.name for path in server.folder("job").iterdir()} == RESULT_FILES


async def test_a_re_run_that_fails_leaves_the_earlier_result_at_its_paths(
    server: Server, music: Path
) -> None:
    before = await finished(server, write_track(music / "a.wav", 0.6, seed=1), "job")
    server.hold_decoders()
    track = write_track(music / "b.wav", 0.6, seed=2)
    await server.client.submit(track, job_id="job")
    track.unlink()
    server.release_decoders()
    await server.client.ended("job")
    assert stems_of(server, "job") == before
    await until(lambda: len(run_folders(server)) == 1)
    await server.client.delete("job")
    await until(lambda: run_folders(server) == [])


async def test_a_result_that_is_run_again_at_that_moment_is_not_taken_over(
    server: Server, music: Path
) -> None:
    """The earlier job runs again with another track between the look-up and the acceptance."""
    track, other = write_track(music / "a.wav", 0.6, seed=1), write_track(music / "b.wav", 0.6, seed=2)
    right = await finished(server, track, "first")
    lock = server.app.repository.job_files_lock
    await lock.acquire()
    # Both wait for the lock in this order; the second has found and linked the first one's result by then.
    again = asyncio.create_task(server.client.submit(other, job_id="first"))
    await until(lambda: len(lock._waiters or ()) == 1)
    twin = asyncio.create_task(server.client.submit(track, job_id="second"))
    await until(lambda: len(lock._waiters or ()) == 2)
    lock.release()
    assert not (await again).cache_hit
    assert not (await twin).cache_hit
    await server.client.succeeded("first")
    await server.client.succeeded("second")
    assert stems_of(server, "second") == right
    assert stems_of(server, "first") != right
    # Nor is the wrong result found later.
    third = await server.client.submit(track, job_id="third")
    assert third.cache_hit
    assert stems_of(server, "third") == right
    await until(lambda: len(run_folders(server)) == 3)


@pytest.mark.parametrize("damage", ["zeroed", "cut", "one byte"])
async def test_a_damaged_result_is_made_again(server: Server, music: Path, damage: str) -> None:
    track = write_track(music / "a.wav", 0.6)
    right = await finished(server, track, "first")
    path = server.stems("first") / "bass.wav"
    content = path.read_bytes()
    spoilt = {"zeroed": bytes(len(content)), "cut": content[:-100], "one byte": content[:-1] + b"\x7f"}
    path.write_bytes(spoilt[damage])
    again = await server.client.submit(track, job_id="second")
    assert not again.cache_hit
    await server.client.succeeded("second")
    assert stems_of(server, "second") == right
    # The newest result counts, and it is whole.
    assert (await server.client.submit(track, job_id="third")).cache_hit
    assert stems_of(server, "third") == right


async def test_a_result_of_the_resolved_precision_is_found_and_one_of_another_is_not(
    start: StartServer, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` is no precision: what it came to counts."""
    track = write_track(music / "a.wav", 0.6)
    first = await start(precision="fp32")
    await finished(first, track, "fp32")
    await first.app.stop()

    monkeypatch.setattr(device, "measured_precision", lambda place: "fp32")
    second = await start(precision="auto")
    # At once after the start, before the device is known.
    assert (await second.client.submit(track, job_id="auto")).cache_hit
    await second.app.stop()

    monkeypatch.setattr(device, "measured_precision", lambda place: "bf16")
    third = await start(precision="auto")
    assert not (await third.client.submit(track, job_id="bf16")).cache_hit
    await third.client.succeeded("bf16")


async def test_a_playhead_past_the_end_that_came_by_an_update_ends_no_job_after_a_restart(
    start: StartServer, music: Path
) -> None:
    first = await start()
    first.hold_decoders()
    await first.client.submit(write_track(music / "a.wav", 1.0), job_id="job")
    await first.client.update("job", playhead=3600.0)
    stopping = asyncio.create_task(first.app.stop())
    first.release_decoders()
    await stopping
    second = await start()
    job = await second.client.ended("job")
    assert (job.state, job.error.message) == (SUCCEEDED, "")


async def test_a_delete_and_a_submit_at_once_leave_one_whole_job_or_none(server: Server, music: Path) -> None:
    track = write_track(music / "a.wav", 0.3)
    await finished(server, track, "job")
    for _ in range(5):
        await asyncio.gather(
            server.client.delete("job"), server.client.submit(track, job_id="job"), return_exceptions=True
        )
        jobs = {job.job_id for job in (await server.client.list()).jobs}
        if jobs:
            await server.client.ended("job")
            assert hashlib.sha256((server.stems("job") / "bass.wav").read_bytes()).digest()
        else:
            assert not server.folder("job").is_symlink()
            await finished(server, track, "job")
    await server.idle()
    await until(lambda: len(run_folders(server)) == 1)


async def test_other_options_are_another_result(server: Server, music: Path) -> None:
    track = write_track(music / "a.wav", 0.6)
    await finished(server, track, "first")
    for wanted in (options(overlap=0.5), options(shifts=1)):
        assert not (await server.client.submit(track, wanted=wanted)).cache_hit

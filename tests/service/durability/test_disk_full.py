"""No room: a clear error, nothing half-written, and the server goes on."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import soundfile

from mismo_grpc.storage.disk import Disk, QuotaDisk
from tests.service.conftest import Server, StartServer
from tests.support.calls import (
    FAILED,
    SUCCEEDED,
    chunks_of,
    names_of,
    options,
    refusal_of,
    refused,
    seconds,
    upload_header,
)
from tests.support.tracks import RATE, RESULT_FILES, WAVEFORMS, track_bytes, write_track

KIB, MIB = 1 << 10, 1 << 20


class BlindDisk(Disk):
    """Believes that there is always room, as one does who looks a moment before somebody else takes it."""

    def free_bytes(self, path: Path) -> int:
        """See Disk."""
        return 1 << 50


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 24 MiB, for root."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Ballast:
    """A file that takes the room of a disk."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ballast"

    def leave(self, free: int) -> None:
        """Fills the disk up to that many bytes, also while a server writes to it."""
        self._path.write_bytes(b"")
        with self._path.open("r+b") as file:
            for _ in range(100):
                room = os.statvfs(self._path.parent)
                size = room.f_bavail * room.f_frsize - free
                try:
                    os.posix_fallocate(file.fileno(), 0, max(1, size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                else:
                    return
        raise AssertionError("the disk never held still")

    def go(self) -> None:
        self._path.unlink(missing_ok=True)


async def whole_jobs_only(server: Server) -> None:
    """Every folder is that of a job that succeeded, and nothing lies beside."""
    await server.nothing_is_held()
    jobs = (await server.client.list()).jobs
    kept = {job.job_id for job in jobs if job.state == SUCCEEDED}
    assert {path.name for path in server.jobs_dir.iterdir()} == {".mismo", *kept}
    for job_id in kept:
        names = {path.name for path in server.folder(job_id).iterdir()}
        assert {"stems", "stems.json"} <= names <= RESULT_FILES
        assert names & WAVEFORMS in (set(), WAVEFORMS)
        for name in ("waveform-bass.dat", "waveform-vocals.json"):
            assert (name in names_of(await server.client.get(job_id))) == (name in names)
    await server.app.runs.removed()
    runs = server.jobs_dir / ".mismo" / "runs"
    assert {path.name for path in runs.iterdir()} == {server.folder(job_id).resolve().name for job_id in kept}
    trash = server.jobs_dir / ".mismo" / "trash"
    assert not trash.exists() or not list(trash.iterdir())


async def test_a_job_that_cannot_fit_is_refused_at_submit(start: StartServer, music: Path) -> None:
    quota = QuotaDisk(2 * MIB)
    server = await start(app={"disk": quota})
    client = server.client
    refusal = await refused(client.submit(write_track(music / "long.wav", 10.0)))
    assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "DISK_FULL")
    assert refusal.retry_seconds is not None
    assert int(refusal.metadata["free_bytes"]) <= 2 * MIB < int(refusal.metadata["needed_bytes"])
    refusal = await refused(client.upload(track_bytes(20.0)))
    assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "DISK_FULL")
    await whole_jobs_only(server)
    short = await client.submit(write_track(music / "short.wav", 0.3))
    await client.succeeded(short.job.job_id)
    quota.limit = 1 << 40
    await client.succeeded((await client.submit(music / "long.wav")).job.job_id)


async def test_without_room_for_the_waveforms_the_job_still_succeeds(start: StartServer, music: Path) -> None:
    quota = QuotaDisk(1 << 40)
    server = await start(app={"disk": quota})
    server.device.close()
    await server.client.submit(write_track(music / "a.wav", 1.0), job_id="job")
    await server.device.someone_waits()
    quota.limit = 0
    server.device.open()
    job = await server.client.succeeded("job")
    assert names_of(job) == ["stems.json", "stems.zip"]
    assert len(await server.client.artifact("job", "stems.zip")) > 4 * RATE * 4


def write_unmeasured_flac(path: Path, seconds: float) -> Path:
    """Silence in a few kilobytes, whose header does not say how long it lasts."""
    soundfile.write(path, np.zeros((round(seconds * RATE), 2), np.float32), RATE, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    # STREAMINFO's count of samples: 36 bits from the middle of byte 21 on (RFC 9639, section 8.2); 0 is unknown.
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "room", [4, 14], ids=["for some of the decoded track", "for it and not for its stems"]
)
async def test_a_source_that_hides_its_length_stops_at_the_reserve(
    start: StartServer, music: Path, tmp_path: Path, room: int
) -> None:
    """30 s take 10.6 MB decoded, and as much again in stems."""
    reserve = 2 * MIB
    quota = QuotaDisk(reserve + room * MIB, tmp_path / "jobs")
    server = await start(app={"disk": quota}, disk_reserve_bytes=reserve)
    track = write_unmeasured_flac(music / "a.flac", 30.0)
    assert track.stat().st_size < 150_000
    await server.client.submit(track, job_id="job")
    job = await server.client.ended("job")
    assert (job.state, job.error.reason) == (FAILED, "DISK_FULL")
    await whole_jobs_only(server)
    quota.limit = 1 << 40
    await server.client.submit(track, job_id="job")
    await server.client.succeeded("job")


@pytest.mark.parametrize(
    ("free", "sample_rate"),
    [
        *((free * KIB, 0) for free in (0, 16, 28, 40, 600, 1200, 1800)),
        *((free * KIB, 48_000) for free in (600, 2000)),
        *(
            pytest.param(free * KIB, rate, marks=pytest.mark.heavy)
            for free in (50, 200, 300, 450, 800, 1000, 1300, 1400, 1500, 1700, 2300, 2600, 3000)
            for rate in (0, 48_000)
        ),
    ],
)
async def test_a_disk_that_fills_up_on_the_way_ends_the_job_and_not_the_server(
    start: StartServer, music: Path, small_disk: Path, free: int, sample_rate: int
) -> None:
    """A job of 400 KiB decoded and 850 KiB of stems; from no room for the store to room for all of it."""
    server = await start(app={"disk": BlindDisk()}, jobs_dir=small_disk / "jobs")
    client, ballast = server.client, Ballast(small_disk)
    await client.succeeded((await client.submit(write_track(music / "first.wav", 0.3))).job.job_id)
    await server.nothing_is_held()
    ballast.leave(free)
    track = write_track(music / "a.wav", 1.2, seed=4)
    try:
        await client.submit(track, job_id="job", wanted=options(sample_rate=sample_rate))
    except grpc.aio.AioRpcError as error:
        refusal = refusal_of(error)
        assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "DISK_FULL")
        assert refusal.retry_seconds is not None
        assert (await refused(client.get("job"))).code == "NOT_FOUND"
    else:
        job = await client.ended("job")
        if job.state == FAILED:
            assert (job.error.reason, job.error.code, job.error.retryable) == ("DISK_FULL", 8, True)
            assert "full" in job.error.message
            assert str(small_disk) not in job.error.message
        else:
            assert free >= 1200 * KIB
            assert len(await client.read_stem("job", "bass")) == 1.2 * (sample_rate or RATE) * 4
    await whole_jobs_only(server)
    ballast.go()
    again = await client.submit(track, job_id="job", wanted=options(sample_rate=sample_rate))
    if not again.cache_hit:
        await client.succeeded("job")
    await whole_jobs_only(server)


async def test_the_disk_fills_up_while_segments_are_written(
    start: StartServer, music: Path, small_disk: Path
) -> None:
    server = await start(app={"disk": BlindDisk()}, jobs_dir=small_disk / "jobs")
    client, ballast = server.client, Ballast(small_disk)
    server.device.close()
    await client.submit(write_track(music / "a.wav", 3.0), job_id="job")
    server.device.allow(2)
    async for event in client.watch("job", min_progress_interval=seconds(0)):
        if event.progress.segments_done == 2:
            break
    ballast.leave(0)
    reader = client.play("job", follow=True)
    server.device.open()
    refusal = await refused(reader)
    assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "DISK_FULL")
    job = await client.ended("job")
    assert (job.state, job.error.reason) == (FAILED, "DISK_FULL")
    ballast.go()
    await whole_jobs_only(server)
    await client.submit(music / "a.wav", job_id="job")
    await client.succeeded("job")


async def test_the_disk_fills_up_during_an_upload(start: StartServer, small_disk: Path) -> None:
    server = await start(app={"disk": BlindDisk()}, jobs_dir=small_disk / "jobs")
    client, ballast = server.client, Ballast(small_disk)
    ballast.leave(500 * KIB)
    content = track_bytes(6.0)
    call = client.transfer.UploadAudio()

    async def send_and_hear() -> None:
        """Chunk by chunk, each acknowledged."""
        await call.write(upload_header(len(content)))
        upload_id = (await call.read()).upload_id
        for chunk in chunks_of(content, 1 << 17):
            await call.write(chunk)
            while (await call.read()).committed_bytes <= chunk.chunk.offset:
                assert upload_id

    refusal = await refused(send_and_hear())
    assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "DISK_FULL")
    ballast.go()
    assert (await client.upload(content)).complete


async def test_cancel_and_delete_work_on_a_full_disk(
    start: StartServer, music: Path, small_disk: Path
) -> None:
    """They are what a person does about it."""
    server = await start(app={"disk": BlindDisk()}, jobs_dir=small_disk / "jobs", max_concurrent_jobs=1)
    client, ballast = server.client, Ballast(small_disk)
    await client.succeeded((await client.submit(write_track(music / "d.wav", 1.0), job_id="done")).job.job_id)
    server.device.close()
    await client.submit(write_track(music / "a.wav", 2.0, seed=2), job_id="running")
    await client.submit(write_track(music / "b.wav", 2.0, seed=3), job_id="queued")
    await server.device.someone_waits()
    ballast.leave(0)
    await client.cancel("running")
    await client.delete("done")
    await client.cancel("queued")
    server.device.open()
    ballast.go()
    await whole_jobs_only(server)
    await client.succeeded((await client.submit(music / "a.wav")).job.job_id)

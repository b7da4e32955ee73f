"""How long results stay: by their time, by the disk's budget, and not while someone reads them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import Server, StartServer
from tests.support.calls import FAILED, SUCCEEDED, new_id, refused, seconds, until
from tests.support.tracks import RESULT_FILES, write_track

HOUR = 3600.0


class Clock:
    """A time of day that a test can move."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def finished(server: Server, music: Path, job_id: str, **fields: Any) -> None:
    track = write_track(music / f"{job_id}.wav", 0.5, seed=sum(job_id.encode()))
    await server.client.submit(track, job_id=job_id, **fields)
    await server.client.succeeded(job_id)
    await server.idle()


async def test_a_result_goes_when_its_time_is_over(start: StartServer, music: Path, clock: Clock) -> None:
    server = await start(app={"now": clock}, job_retention_hours=2.0)
    client = server.client
    await finished(server, music, "usual")
    await finished(server, music, "short", result_ttl=seconds(60))
    await finished(server, music, "long", result_ttl=seconds(10 * HOUR))
    expiry = (await client.get("usual")).expire_time.ToNanoseconds() / 1e9
    assert expiry == pytest.approx(clock.now + 2 * HOUR, abs=1.0)

    clock.now += 61
    assert await server.app.sweeper.sweep() == ["short"]
    assert (await refused(client.get("short"))).reason == "JOB_NOT_FOUND"
    assert not server.folder("short").exists()
    clock.now += 2 * HOUR
    assert await server.app.sweeper.sweep() == ["usual"]
    assert [job.job_id for job in (await client.list()).jobs] == ["long"]
    assert {path.name for path in server.jobs_dir.iterdir()} == {".mismo", "long"}


async def test_failed_and_cancelled_jobs_are_forgotten_in_time_too(
    start: StartServer, music: Path, clock: Clock
) -> None:
    server = await start(app={"now": clock})
    server.hold_decoders()
    track = write_track(music / "a.wav", 0.5)
    await server.client.submit(track, job_id="gone")
    await server.client.submit(write_track(music / "b.wav", 0.5, seed=2), job_id="cancelled")
    track.unlink()
    await server.client.cancel("cancelled")
    server.release_decoders()
    assert (await server.client.ended("gone")).state == FAILED
    clock.now += 25 * HOUR
    assert sorted(await server.app.sweeper.sweep()) == ["cancelled", "gone"]
    assert not (await server.client.list()).jobs


async def test_what_someone_reads_stays_until_it_is_read(
    start: StartServer, music: Path, clock: Clock
) -> None:
    server = await start(app={"now": clock})
    await finished(server, music, "job")
    async with server.client.stream("job", credit_bytes=4096) as session:
        await session.next_of("chunk")
        clock.now += 100 * HOUR
        assert await server.app.sweeper.sweep() == []
        assert server.folder("job").exists()
    await until(lambda: not server.app.runs.held_runs)
    assert await server.app.sweeper.sweep() == ["job"]


async def test_a_running_job_never_expires(start: StartServer, music: Path, clock: Clock) -> None:
    server = await start(app={"now": clock})
    server.device.close()
    await server.client.submit(write_track(music / "a.wav", 0.5), job_id="job", result_ttl=seconds(1))
    await server.device.someone_waits()
    clock.now += 1000 * HOUR
    assert await server.app.sweeper.sweep() == []
    server.device.open()
    assert (await server.client.succeeded("job")).state == SUCCEEDED


async def test_over_the_budget_the_oldest_results_go_first(
    start: StartServer, music: Path, clock: Clock
) -> None:
    server = await start(app={"now": clock}, disk_budget_bytes=850_000)
    for name in ("one", "two", "three"):
        await finished(server, music, name)
        clock.now += 1
    # Each has four stems of 88,200 bytes, and small files beside them.
    assert await server.app.sweeper.sweep() == ["one"]
    assert {job.job_id for job in (await server.client.list()).jobs} == {"two", "three"}
    assert server.app.sweeper.used_bytes > 850_000
    assert await server.app.sweeper.sweep() == []
    assert server.app.sweeper.used_bytes < 850_000


async def test_a_request_is_remembered_for_a_day_and_forgotten_after_two(
    start: StartServer, music: Path, clock: Clock
) -> None:
    server = await start(app={"now": clock}, job_retention_hours=1000.0)
    request_id, client = new_id(), server.client
    track = write_track(music / "a.wav", 0.5)
    first = await client.submit(track, request_id=request_id)
    await client.succeeded(first.job.job_id)
    clock.now += 24 * HOUR + 1
    await server.app.sweeper.sweep()
    assert (await client.submit(track, request_id=request_id)).job.job_id == first.job.job_id
    clock.now += 48 * HOUR
    await server.app.sweeper.sweep()
    again = await client.submit(track, request_id=request_id)
    assert not again.deduplicated
    assert again.job.job_id != first.job.job_id


async def test_an_expired_result_is_not_taken_over(start: StartServer, music: Path, clock: Clock) -> None:
    server = await start(app={"now": clock})
    await finished(server, music, "job", result_ttl=seconds(60))
    clock.now += 61
    again = await server.client.submit(music / "job.wav", job_id="again")
    assert not again.cache_hit
    await server.client.succeeded("again")


async def test_a_result_whose_files_are_gone_is_made_again(server: Server, music: Path) -> None:
    await finished(server, music, "job")
    (server.stems("job") / "bass.wav").unlink()
    refusal = await refused(server.client.read_stem("job", "bass"))
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "ARTIFACT_NOT_FOUND")
    again = await server.client.submit(music / "job.wav", job_id="again")
    assert not again.cache_hit
    await server.client.succeeded("again")
    assert await server.client.read_stem("again", "bass")


async def test_what_a_killed_process_left_of_ended_jobs_is_tidied_up(start: StartServer, music: Path) -> None:
    first = await start()
    await finished(first, music, "done")
    await first.idle()
    await first.app.stop()
    # As if it had been killed after it had stored the end, and before it had removed what is not needed.
    done = first.folder("done").resolve()
    (done / "work").mkdir()
    for leftover in (done / "work" / "mix.f32", done / "source"):
        leftover.write_bytes(b"left")
    failed = done.with_name("f" * 32)
    failed.mkdir()

    second = await start()
    await until(
        lambda: not (done / "work").exists() and not (done / "source").exists() and not failed.exists()
    )
    assert {p.name for p in second.folder("done").iterdir()} == RESULT_FILES
    assert await second.client.read_stem("done", "bass")

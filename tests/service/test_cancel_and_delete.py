"""Cancel and delete in every state: the job ends, its files go, the device is free, nothing is held."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mismo_grpc.errors import StreamInterruptedError
from mismo_grpc.separation.engine import SegmentEngine, Separation
from tests.service.conftest import Server, StartServer
from tests.support.calls import CANCELLED, HIGH, PATIENCE, QUEUED, RUNNING, SUCCEEDED, refused, until
from tests.support.gates import GatedDisk
from tests.support.tracks import RATE, write_track

Begin = Callable[[Server, Path], Awaitable[None]]


async def queued(server: Server, music: Path) -> None:
    """One job holds the only slot, the other waits."""
    server.device.close()
    await server.client.submit(write_track(music / "first.wav", 1.0, seed=5), job_id="first")
    await server.client.submit(write_track(music / "a.wav", 2.0), job_id="job")
    assert (await server.client.get("job")).state == QUEUED


async def waiting_for_a_decoder(server: Server, music: Path) -> None:
    server.hold_decoders()
    await server.client.submit(write_track(music / "a.wav", 2.0), job_id="job")
    await stage_begins(server, 1)


async def decoding(server: Server, music: Path) -> None:
    """Long, and at another rate, so that it takes its time."""
    write_track(music / "a.wav", 60.0, rate=192_000)
    await server.client.submit(music / "a.wav", job_id="job")
    await stage_begins(server, 1)


async def separating(server: Server, music: Path) -> None:
    server.device.close()
    await server.client.submit(write_track(music / "a.wav", 2.0), job_id="job")
    server.device.allow(2)
    await server.device.passed_at_least(2)
    await server.device.someone_waits()


async def finishing(server: Server, music: Path) -> None:
    disk = server.app.disk
    assert isinstance(disk, GatedDisk)
    disk.gate.close()
    await server.client.submit(write_track(music / "a.wav", 2.0), job_id="job")
    await disk.gate.someone_waits()


async def stage_begins(server: Server, stage: int) -> None:
    async for event in server.client.watch("job"):
        if event.HasField("stage") and event.stage.stage == stage:
            return
        if event.HasField("snapshot") and event.snapshot.stages[stage - 1].state > 1:
            return


STATES: list[Begin] = [queued, waiting_for_a_decoder, decoding, separating, finishing]


def let_go(server: Server) -> None:
    server.device.open()
    server.release_decoders()
    disk = server.app.disk
    assert isinstance(disk, GatedDisk)
    disk.gate.open()


async def goes_on(server: Server, music: Path) -> None:
    """The server works, and nothing of a former job is left in it."""
    await server.client.submit(write_track(music / "next.wav", 1.0, seed=3), job_id="next")
    await server.client.succeeded("next")
    await server.nothing_is_held()


@pytest.fixture
async def one_slot(start: StartServer) -> Server:
    return await start(app={"disk": GatedDisk()}, max_concurrent_jobs=1)


@pytest.mark.parametrize("begin", STATES)
async def test_cancel_in_every_state_frees_device_and_disk(
    one_slot: Server, music: Path, begin: Begin
) -> None:
    server, client = one_slot, one_slot.client
    await begin(server, music)
    watched = asyncio.create_task(client.events("job"))
    cancelling = asyncio.create_task(client.cancel("job"))
    if begin is finishing:
        # What is being written is written to its end; the job still ends cancelled.
        await until(lambda: server.app.repository.active["job"].cancelling)
        let_go(server)
    job = await cancelling
    assert job.state == CANCELLED
    assert job.HasField("expire_time")
    assert not job.artifacts
    let_go(server)
    assert (await watched)[-1].terminal.job.state == CANCELLED
    assert (await client.cancel("job")).state == CANCELLED
    assert not server.folder("job").exists()
    refusal = await refused(client.read_stem("job", "bass"))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "JOB_NOT_READY")
    refusal = await refused(client.artifact("job", "stems.json"))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "JOB_NOT_READY")
    await goes_on(server, music)


@pytest.mark.parametrize("begin", STATES)
async def test_delete_in_every_state_leaves_nothing(one_slot: Server, music: Path, begin: Begin) -> None:
    server, client = one_slot, one_slot.client
    await begin(server, music)
    watched = asyncio.create_task(client.events("job"))
    deleting = asyncio.create_task(client.delete("job"))
    if begin is finishing:
        await until(lambda: server.app.repository.active["job"].cancelling)
        let_go(server)
    await deleting
    let_go(server)
    assert (await watched)[-1].terminal.job.state == CANCELLED
    assert (await refused(client.get("job"))).code == "NOT_FOUND"
    assert (await refused(client.delete("job"))).code == "NOT_FOUND"
    assert not server.folder("job").exists()
    await goes_on(server, music)
    assert {path.name for path in server.jobs_dir.iterdir()} <= {".mismo", "first", "next"}


async def test_an_ended_job_stays_as_it_is_when_cancelled_and_goes_when_deleted(
    server: Server, music: Path
) -> None:
    client = server.client
    await client.submit(write_track(music / "a.wav", 1.0), job_id="job")
    await client.succeeded("job")
    assert (await client.cancel("job")).state == SUCCEEDED
    assert await client.read_stem("job", "bass")
    await client.delete("job")
    assert not server.folder("job").exists()
    assert (await refused(client.read_stem("job", "bass"))).reason == "JOB_NOT_FOUND"


async def test_unknown_jobs_are_not_found(server: Server) -> None:
    client = server.client
    for call in (
        client.get("none"),
        client.cancel("none"),
        client.delete("none"),
        client.update("none", priority=HIGH),
        client.events("none"),
        client.read_stem("none", "bass"),
        client.artifact("none", "stems.zip"),
        client.play("none"),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", "JOB_NOT_FOUND")


async def test_a_client_that_leaves_in_the_middle_of_a_cancel_leaves_a_cancelled_job(
    one_slot: Server, music: Path
) -> None:
    server, client = one_slot, one_slot.client
    await finishing(server, music)
    cancelling = asyncio.create_task(client.cancel("job"))
    watched = asyncio.create_task(client.events("job"))
    await until(lambda: server.app.repository.active["job"].cancelling)
    cancelling.cancel()
    await server.heard(client)
    let_go(server)
    assert (await watched)[-1].terminal.job.state == CANCELLED
    await goes_on(server, music)


async def test_a_job_that_is_stopped_again_while_it_ends_leaves_no_open_files(
    one_slot: Server, music: Path
) -> None:
    """A job that fails and is cancelled, or that is cancelled when the server stops."""
    server, client = one_slot, one_slot.client
    await separating(server, music)
    active = server.app.repository.active["job"]
    task = active.task
    assert task is not None
    assert active.separation is not None
    with active.separation.committing:
        cancelling = asyncio.create_task(client.cancel("job"))
        # From here on it waits for what is being written.
        await until(lambda: active.separation is None)
        task.cancel()
        await server.heard(client)
        assert not task.done()
    assert (await cancelling).state == CANCELLED
    let_go(server)
    await goes_on(server, music)


async def test_a_job_that_is_stopped_twice_while_its_files_are_opened_leaves_none_open(
    one_slot: Server, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = one_slot, one_slot.client
    opened, go = threading.Event(), threading.Event()
    whole = SegmentEngine.open

    def slow(engine: SegmentEngine, *args: Any) -> Separation:
        separation = whole(engine, *args)
        opened.set()
        assert go.wait(60)
        return separation

    monkeypatch.setattr(SegmentEngine, "open", slow)
    await client.submit(write_track(music / "a.wav", 2.0), job_id="job")
    await until(opened.is_set)
    task = server.app.repository.active["job"].task
    assert task is not None
    cancelling = asyncio.create_task(client.cancel("job"))
    try:
        await until(lambda: task.cancelling() == 1)
        task.cancel()
        await server.heard(client)
        assert not task.done()
    finally:
        go.set()
    assert (await cancelling).state == CANCELLED
    monkeypatch.undo()
    await goes_on(server, music)


async def test_readers_of_a_finished_job_read_on_when_it_is_deleted(server: Server, music: Path) -> None:
    client = server.client
    await client.submit(write_track(music / "a.wav", 3.0), job_id="job")
    await client.succeeded("job")
    whole = await client.read_stem("job", "bass")
    async with (
        client.stream("job", stem_names=["bass"], credit_bytes=4096) as one,
        client.stream("job", stem_names=["bass"], credit_bytes=8192, start_frame=RATE) as two,
    ):
        begun = [await one.next_of("chunk"), await two.next_of("chunk")]
        await client.delete("job")
        assert not server.folder("job").exists()
        for session, chunk in zip((one, two), begun, strict=True):
            data = chunk.data
            await session.credit(1 << 20)
            while True:
                message = await session.next()
                if message.HasField("end"):
                    break
                data += message.chunk.data
            assert data == whole[chunk.start_frame * 4 :]
    assert (await refused(client.get("job"))).code == "NOT_FOUND"


async def test_readers_of_a_running_job_are_told_that_it_was_deleted(server: Server, music: Path) -> None:
    client = server.client
    await separating(server, music)
    readers = [
        asyncio.create_task(refused(client.play("job", follow=True))),
        asyncio.create_task(refused(client.read_stem("job", "bass", follow=True))),
    ]
    async with client.stream("job", follow=True) as session:
        await session.next_of("chunk")
        deleting = asyncio.create_task(client.delete("job"))
        server.device.open()
        await deleting
        for reader in readers:
            refusal = await reader
            assert refusal.reason in ("JOB_NOT_READY", "JOB_NOT_FOUND")
    await goes_on(server, music)


async def test_cancel_and_submit_of_one_job_id_at_once_end_well(server: Server, music: Path) -> None:
    """Whatever comes first: every run ends, and the files are those of the run that is there."""
    client, track = server.client, write_track(music / "a.wav", 0.6)
    for _ in range(10):
        await asyncio.gather(
            client.submit(track, job_id="job"),
            client.cancel("job"),
            client.delete("job"),
            client.submit(track, job_id="job"),
            return_exceptions=True,
        )
        page = await client.list()
        ended = [await client.ended(job.job_id) for job in page.jobs]
        assert all(job.state in (SUCCEEDED, CANCELLED) for job in ended), ended
        if ended and ended[-1].state == SUCCEEDED:
            assert len(await client.read_stem("job", "bass")) == round(0.6 * RATE) * 4
    await server.idle()
    assert not server.app.repository.active
    listed = {job.job_id for job in (await client.list(states=[SUCCEEDED])).jobs}
    assert {path.name for path in server.jobs_dir.iterdir()} - {".mismo"} == listed
    assert not (await client.list(states=[RUNNING, QUEUED])).jobs


async def test_a_cancel_that_cannot_be_stored_leaves_player_and_job_their_own_files(
    server: Server, music: Path
) -> None:
    """The job goes on in files that it opens anew, while the player still has those of before."""
    track = write_track(music / "a.wav", 3.0)
    await server.client.submit(track, job_id="undisturbed")
    await server.client.succeeded("undisturbed")
    expected = (server.stems("undisturbed") / "bass.wav").read_bytes()
    await server.client.delete("undisturbed")

    server.device.close()
    await server.client.submit(track, job_id="job")
    server.device.allow(2)
    async with server.app.jobs.open_stems("job") as player:
        assert await player.wait_ready(0, PATIENCE, bool)
        ready = player.ready_end(0)
        before = await player.read([1], 0, ready, b"".join)
        writer = server.app.store._writer
        writer.execute("PRAGMA query_only=ON")
        assert (await refused(server.client.cancel("job"))).reason == "STORE_FAILED"
        writer.execute("PRAGMA query_only=OFF")
        # Any change of the queue gives it its turn again.
        await server.client.update("job", priority=HIGH)
        with pytest.raises(StreamInterruptedError):
            await player.wait_ready(player.layout.total_frames - 1, PATIENCE, bool)
        assert await player.read([1], 0, ready, b"".join) == before
    # The player has closed its files by now; those of the job are others.
    server.device.open()
    await server.client.succeeded("job")
    assert (server.stems("job") / "bass.wav").read_bytes() == expected
    await server.nothing_is_held()

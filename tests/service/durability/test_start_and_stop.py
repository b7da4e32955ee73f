"""The process: how it starts, how it says why it cannot, how it stops."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2

from mismo.analysis.v1.stage_pb2 import STAGE_STEMS
from tests.service.conftest import StartServer
from tests.support.calls import RUNNING, drained, health_stub, ready_ranges, refused
from tests.support.process import ServerProcess
from tests.support.tracks import write_track
from tests.unit.separation.bags import tiny_demucs, write_safetensors_bag


async def fails_to_start(process: ServerProcess, *arguments: str) -> str:
    """The one line that a process says which cannot start."""
    process.spawn(*arguments)
    assert await process.exited() == 1
    lines = [line for line in process.log().splitlines() if line.startswith("mismo-server: ")]
    assert len(lines) == 1, process.log()
    assert "Traceback" not in process.log()
    assert not process.ready_file.exists()
    return lines[0]


async def test_a_taken_port_is_said_in_one_line(process: ServerProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = await fails_to_start(process, "--grpc-port", str(port))
    assert f"127.0.0.1:{port}" in said
    assert "--grpc-port" in said


async def test_an_address_of_another_machine_is_said_in_one_line(process: ServerProcess) -> None:
    said = await fails_to_start(process, "--host", "192.0.2.1")
    assert "192.0.2.1" in said
    assert "--host" in said


async def test_a_jobs_folder_that_is_a_file_is_said_in_one_line(process: ServerProcess) -> None:
    process.jobs_dir.write_text("no folder")
    said = await fails_to_start(process)
    assert str(process.jobs_dir) in said
    assert "JOBS_DIR" in said


async def test_a_damaged_job_store_is_said_in_one_line(process: ServerProcess) -> None:
    store = process.jobs_dir / ".mismo" / "jobs.sqlite3"
    store.parent.mkdir(parents=True)
    store.write_bytes(os.urandom(8192))
    said = await fails_to_start(process)
    assert "damaged" in said
    assert store.stat().st_size == 8192


async def test_a_second_server_on_the_same_jobs_is_said_in_one_line(
    process: ServerProcess, models: Path
) -> None:
    await (await process.start()).close()
    folder = process.folder / "second"
    folder.mkdir()
    second = ServerProcess(folder, models)
    assert "in use" in await fails_to_start(second, "--jobs-dir", str(process.jobs_dir))
    process.signal()
    assert await process.exited() == 0


async def test_a_device_that_is_not_there_ends_the_server(process: ServerProcess) -> None:
    process.spawn("--device", "cuda:7")
    assert await process.exited() == 1
    assert "cuda:7" in process.log()
    assert "Traceback" not in process.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.heavy)])
async def test_a_stop_in_the_middle_of_a_job_ends_well_and_loses_no_finished_segment(
    process: ServerProcess, number: signal.Signals
) -> None:
    client = await process.start()
    track = write_track(process.music / "a.wav", 8.0)
    await client.submit(track, job_id="long")
    async for event in client.watch("long"):
        if event.HasField("segment_ready"):
            break
    process.signal(number)
    # A second one, and one of the other kind, change nothing.
    process.signal(number)
    process.signal(signal.SIGTERM)
    assert await process.exited() == 0
    assert not process.ready_file.exists()
    assert process.events("stopped")
    # One line an event, whoever wrote it.
    assert all("event" in json.loads(line) for line in process.log().splitlines())
    await client.close()

    client = await process.start()
    job = await client.succeeded("long")
    forwards = process.forwards("long")
    assert len(forwards) == job.progress.segments_total
    # The segment in work was finished and kept.
    assert set(forwards.values()) == {1}
    await client.close()


@pytest.mark.parametrize("grace_seconds", [pytest.param(4.0, marks=pytest.mark.heavy), 0.4])
async def test_a_stop_before_the_model_is_there_ends_well(
    process: ServerProcess, grace_seconds: float
) -> None:
    """The shorter grace time is over before the libraries of the model are loaded."""
    process.settings = {"grace_seconds": grace_seconds}
    client = await process.start()
    await client.submit(write_track(process.music / "a.wav", 1.0), job_id="early")
    process.signal()
    assert await process.exited() == 0
    await client.close()
    client = await process.start()
    await client.succeeded("early")
    await client.close()


async def test_a_segment_that_takes_longer_than_the_grace_time_does_not_hold_the_process(
    process: ServerProcess, tmp_path: Path
) -> None:
    process.models = tmp_path / "models"
    write_safetensors_bag(process.models, "tiny", [tiny_demucs(1, segment=6)])
    process.settings = {"grace_seconds": 0.5}
    client = await process.start()
    await client.submit(write_track(process.music / "a.wav", 6.0), job_id="long")
    async for event in client.watch("long"):
        if event.HasField("stage") and event.stage.stage == STAGE_STEMS:
            break
    process.signal()
    assert await process.exited() == 0
    await client.close()
    process.settings = {}
    client = await process.start()
    await client.succeeded("long")
    await client.close()


async def test_clients_are_told_that_the_server_stops(start: StartServer, music: Path) -> None:
    server = await start(grace_seconds=20.0)
    client = server.client
    server.device.close()
    await client.submit(write_track(music / "a.wav", 2.0), job_id="held")
    await server.device.someone_waits()
    health = health_stub(client.channel)
    state = await health.Check(health_pb2.HealthCheckRequest())
    assert state.status == health_pb2.HealthCheckResponse.SERVING
    call = client.watch("held")
    events = aiter(call)
    assert (await anext(events)).snapshot.state == RUNNING
    stopping = asyncio.create_task(server.app.stop())

    told = await refused(drained(events))
    assert (told.code, told.reason) == ("UNAVAILABLE", "SERVER_DRAINING")
    assert told.retry_seconds is not None
    refusal = await refused(client.submit(music / "a.wav"))
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "SERVER_DRAINING")
    assert refusal.retry_seconds is not None
    assert (await client.info()).draining
    state = await health.Check(health_pb2.HealthCheckRequest())
    assert state.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert (await client.get("held")).state == RUNNING
    server.device.open()
    await stopping
    await server.nothing_is_held()


async def test_a_failed_start_lets_the_jobs_folder_go(
    start: StartServer, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port is taken between the look at it and the listening."""
    monkeypatch.setattr("mismo_grpc.app.check_address", lambda host, port, option: None)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="--grpc-port"):
        await start(grpc_port=taken.getsockname()[1])
    server = await start()
    await server.client.submit(write_track(music / "a.wav", 1.0), job_id="a")
    assert (await server.client.succeeded("a")).job_id == "a"


async def test_a_new_server_goes_on_with_jobs_and_watches(start: StartServer, music: Path) -> None:
    """A graceful stop in this process: queue, running job and watch go on; the old epoch gets a snapshot."""
    first = await start(max_concurrent_jobs=1)
    client = first.client
    first.device.close()
    await client.submit(write_track(music / "a.wav", 3.0), job_id="running")
    await client.submit(write_track(music / "b.wav", 2.0, seed=2), job_id="queued")
    first.device.allow(2)
    await first.device.someone_waits()
    call = client.watch("running")
    snapshot = await call.read()
    call.cancel()
    first.device.open()
    await first.app.stop()

    second = await start(max_concurrent_jobs=1)
    other = second.client
    events = await other.events(
        "running", after_revision=snapshot.revision, server_epoch=snapshot.server_epoch
    )
    assert events[0].HasField("snapshot")
    assert events[0].server_epoch != snapshot.server_epoch
    assert events[0].revision >= snapshot.revision
    assert events[-1].terminal.job.state == (await other.get("running")).state
    covered = events[0].snapshot.stem_set.ready or ready_ranges(events)
    assert covered
    await other.succeeded("running")
    await other.succeeded("queued")

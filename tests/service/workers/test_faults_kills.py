"""kill -9 and SIGTERM while a job fetches its track, generates stems or copies its results to the container."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator

import httpx2
import pytest

from mismo.analysis.v1 import job_pb2
from tests.service.workers.conftest import AudioFiles
from tests.service.workers.faults import (
    GENERATION,
    LONG_TRACK,
    STEMS,
    TRACK,
    UPLOAD,
    analyze,
    generate,
    is_whole,
    no_rests,
    stage_of,
)
from tests.support.calls import PATIENCE, Client
from tests.support.http import Receiver
from tests.support.process import ServerProcess
from tests.support.tcp_proxy import TcpProxy

GRACE_SECONDS = 4.0


@pytest.fixture
async def proxy(own_files: AudioFiles, process: ServerProcess) -> AsyncIterator[TcpProxy]:
    """Between the process and its container."""
    async with TcpProxy(own_files.azurite.port) as proxy:
        process.settings = {
            **own_files.settings(proxy.address),
            "callback_allowed_hosts": '["127.0.0.1"]',
            "grace_seconds": GRACE_SECONDS,
            "job_retry_delay": 0.1,
        }
        yield proxy


def http_of(process: ServerProcess) -> httpx2.AsyncClient:
    port = json.loads(process.ready_file.read_bytes())["http_port"]
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE)


async def stopped(process: ServerProcess, client: Client, end: signal.Signals) -> None:
    """Ends the process: by SIGKILL at once, by SIGTERM within its grace."""
    await client.close()
    if end is signal.SIGKILL:
        process.kill()
    else:
        process.signal(end)
        assert await process.exited() == 0
        (line,) = process.events("stopped", process.runs)
        assert line["seconds"] < GRACE_SECONDS


async def restarted(process: ServerProcess, proxy: TcpProxy) -> Client:
    proxy.flowing.set()
    return await process.start()


async def ends_well(
    process: ServerProcess, client: Client, files: AudioFiles, api: Receiver, job_id: str
) -> job_pb2.Job:
    """The job succeeds, its blobs are whole, each callback was delivered once, and only results are left."""
    job = await client.succeeded(job_id)
    await is_whole(files, job)
    await api.received()
    await client.close()
    # After it nothing is sent any more, and the job's files are tidied.
    process.signal()
    assert await process.exited() == 0
    assert len(process.events("callback delivered")) == 1
    assert [(post.headers["x-mismo-job-id"], post.body["status"]) for post in api.posts] == [
        (job_id, "completed")
    ]
    no_rests(process.jobs_dir)
    assert [path.name for path in (process.jobs_dir / ".mismo" / "runs").iterdir()] == [job.run_id]
    return job


ENDS = pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])


@ENDS
async def test_a_fetch_that_ended_with_the_server_begins_anew(
    process: ServerProcess, proxy: TcpProxy, own_files: AudioFiles, api: Receiver, end: signal.Signals
) -> None:
    client = await process.start()
    await own_files.store.write("a.wav", TRACK)
    proxy.hold_response_at = len(TRACK) // 2
    async with http_of(process) as http:
        assert (await analyze(http, api)).status_code == 202
    await proxy.held.wait()
    await stopped(process, client, end)
    if end is signal.SIGTERM:
        assert not list(process.jobs_dir.rglob("*.partial"))
    client = await restarted(process, proxy)
    await ends_well(process, client, own_files, api, "song")
    assert set(process.forwards("song").values()) == {1}


@ENDS
async def test_stems_that_were_being_copied_are_there_once_and_whole(
    process: ServerProcess, proxy: TcpProxy, own_files: AudioFiles, api: Receiver, end: signal.Signals
) -> None:
    client = await process.start()
    await own_files.store.write("a.wav", LONG_TRACK)
    async with http_of(process) as http:
        assert (await analyze(http, api)).status_code == 202
    # A stem has 5 MB, and two are sent at once: at least one is there, and at least one is not.
    proxy.hold_request_at = 13_000_000
    await proxy.held.wait()
    stems = await own_files.store.list("song/stems")
    assert 1 <= len(stems) <= 3
    assert stage_of(await client.get("song"), UPLOAD).attempts == 1
    versions = {blob.path: blob.version for blob in await own_files.store.list()}
    await stopped(process, client, end)
    assert {blob.path for blob in await own_files.store.list()} == set(versions)
    client = await restarted(process, proxy)
    job = await ends_well(process, client, own_files, api, "song")
    assert set(process.forwards("song").values()) == {1}
    assert stage_of(job, STEMS).attempts == stage_of(job, UPLOAD).attempts == 1
    sizes = {f"song/{blob.name}": blob.total_bytes for blob in job.blobs}
    assert {stem.path: stem.total_bytes for stem in stems}.items() <= sizes.items()
    now = {blob.path: blob.version for blob in await own_files.store.list()}
    again = [name for name in versions if versions[name] != now[name]]
    assert not [name for name in again if name.endswith(".wav")], "a stem was sent twice"


@ENDS
async def test_a_generation_that_ended_with_the_server_begins_anew(
    process: ServerProcess, proxy: TcpProxy, own_files: AudioFiles, api: Receiver, end: signal.Signals
) -> None:
    client = await process.start()
    async with http_of(process) as http:
        assert (await generate(http, api, seconds=120.0)).status_code == 202
        await midway(client)
        await stopped(process, client, end)
    assert await own_files.names() == []
    client = await restarted(process, proxy)
    job = await ends_well(process, client, own_files, api, "gen")
    assert stage_of(job, GENERATION).attempts == 1
    names = [blob.name for blob in job.blobs if blob.name.endswith(".wav")]
    assert names == ["generated/gen/bass.wav", "generated/gen/drums.wav"]


async def midway(client: Client) -> None:
    """Once the first frames of the generation are final."""
    async for event in client.watch("gen"):
        assert not event.HasField("terminal")
        if event.HasField("segment_ready"):
            return
    raise AssertionError("it ended before")

"""What a server has copied to its blob container is read from there once its own files are gone."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mismo.analysis.v1 import job_pb2, stage_pb2
from mismo.analysis.v1 import job_service_pb2 as jobs_pb2
from mismo_grpc.jobs.job import DeliveryMode
from mismo_grpc.storage.blobs.azure_account import DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY
from mismo_grpc.storage.blobs.port import BlobStore
from tests.service.conftest import Server, StartServer
from tests.support.blob_servers import Azurite, azurite
from tests.support.calls import FLAC, PATIENCE, names_of, refused, seconds
from tests.support.tcp_proxy import TcpProxy

SECONDS = 20.0
STEMS = ("bass", "drums")


@pytest.fixture(scope="session")
def azurite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    server = azurite(tmp_path_factory.mktemp("azurite"))
    yield server
    server.stop()


@pytest.fixture
def folder_settings(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "container").mkdir()
    return {"blob_container": (tmp_path / "container").as_uri()}


def azure_settings(server: Azurite, name: str, address: str = "") -> dict[str, Any]:
    server.create(name)
    endpoint = f"http://{address or server.address}/{DEVELOPMENT_ACCOUNT}"
    return {
        "blob_container": f"az://{name}/results",
        "azure_storage_connection_string": (
            f"AccountName={DEVELOPMENT_ACCOUNT};AccountKey={DEVELOPMENT_KEY};BlobEndpoint={endpoint}"
        ),
    }


@pytest.fixture(params=["folder", "azure"])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "folder":
        return request.getfixturevalue("folder_settings")
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:20]
    return azure_settings(request.getfixturevalue("azurite_server"), f"c{name}")


async def generated(server: Server, job_id: str, **fields: Any) -> job_pb2.Job:
    """A job that has ended, with two stems of 20 s."""
    wanted = stage_pb2.GenerationOptions(target_stems=STEMS, duration=seconds(SECONDS), **fields)
    options = job_pb2.JobOptions(stages=[stage_pb2.STAGE_GENERATION], generation=wanted)
    request = jobs_pb2.SubmitJobRequest(job_id=job_id, options=options)
    await server.client.jobs.SubmitJob(request, timeout=PATIENCE)
    job = await server.client.succeeded(job_id)
    await server.idle()
    assert len(job.blobs) == 7
    return job


def container_of(server: Server) -> BlobStore:
    container = server.app.jobs.blob_links._container
    assert container is not None
    return container


def http_of(server: Server) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.app.http_port}", timeout=PATIENCE)


def run_folder(server: Server, job: job_pb2.Job) -> Path:
    return server.app.runs.files(job.run_id).folder


async def lose(server: Server, job: job_pb2.Job) -> None:
    """Removes all files of a job's run by hand."""
    shutil.rmtree(run_folder(server, job))


@dataclass(frozen=True)
class Everything:
    """All that clients can read of a job."""

    stems: list[bytes]
    flac: list[bytes]
    artifacts: dict[str, bytes]
    waveform: Any
    callback: Any


async def read_everything(server: Server, job: job_pb2.Job) -> Everything:
    client, job_id = server.client, job.job_id
    played = await client.play(job_id)
    flac = await client.play(job_id, encoding=FLAC)
    artifacts = {name: await client.artifact(job_id, name) for name in names_of(job)}
    async with http_of(server) as http:
        waveform = (await http.get(f"/jobs/{job_id}/waveform")).json()
        callback = (await http.get(f"/jobs/{job_id}/stems?mode=callback")).json()
    return Everything(played.stems, flac.stems, artifacts, waveform, callback)


async def test_everything_is_the_same_when_the_local_files_are_gone(
    start: StartServer, settings: dict[str, Any]
) -> None:
    server = await start(**settings)
    job = await generated(server, "job")
    before = await read_everything(server, job)
    await lose(server, job)
    after = await read_everything(server, job)
    assert after.stems == before.stems
    assert [hashlib.sha256(pcm).hexdigest() for pcm in after.stems] == list(job.stem_set.sha256)
    assert after.flac == before.flac
    assert after.artifacts == before.artifacts
    assert after.waveform == before.waveform
    assert after.waveform["complete"]
    assert after.callback == before.callback
    assert len(after.callback["waveforms"]) == 3 * len(STEMS)
    await server.nothing_is_held()
    assert server.app.jobs.artifacts._copies.cache is not None
    assert server.app.jobs.artifacts._copies.cache.open_blobs == 0
    assert not run_folder(server, job).exists()


async def test_a_callback_with_the_stems_is_built_and_signed_from_the_container(
    start: StartServer, settings: dict[str, Any]
) -> None:
    server = await start(**settings)
    job = await generated(server, "job")
    stored = await server.app.jobs.get("job")
    bodies = server.app.services.bodies
    before, after = bytearray(), bytearray()
    with await bodies.stems(stored, DeliveryMode.CALLBACK) as body:
        await body.read_into(before.extend)
    await lose(server, job)
    with await bodies.stems(stored, DeliveryMode.CALLBACK) as body:
        await body.read_into(after.extend)
        assert len(after) == body.length
        assert b"".join([block async for block in body]) == after
    assert after == before
    with await bodies.callback(stored, "waveforms", 1.0) as body:
        told = json.loads(b"".join([block async for block in body]))
    assert len(told["data"]["waveforms"]) == 3 * len(STEMS)
    assert server.app.jobs.artifacts._copies.cache is not None
    assert server.app.jobs.artifacts._copies.cache.open_blobs == 0


async def test_http_serves_ranges_of_what_is_only_in_the_container(
    start: StartServer, settings: dict[str, Any]
) -> None:
    server = await start(**settings)
    job = await generated(server, "job")
    async with http_of(server) as http:
        whole = (await http.get("/jobs/job/stems/bass.wav")).content
        archive = (await http.get("/jobs/job/stems.zip")).content
        await lose(server, job)
        answer = await http.get("/jobs/job/stems/bass.wav", headers={"Range": "bytes=500000-1700000"})
        assert (answer.status_code, answer.content) == (206, whole[500_000:1_700_001])
        assert (await http.get("/jobs/job/stems/bass.wav")).content == whole
        again = (await http.get("/jobs/job/stems.zip")).content
        assert again == archive
        assert zipfile.ZipFile(io.BytesIO(again)).testzip() is None
        links = (await http.get("/jobs/job/stems?mode=poll")).json()["stems"]
        assert links["bass"] == "/jobs/job/stems/bass.wav"
        refusal = await http.get("/jobs/job/stems?mode=path")
        assert refusal.status_code == 404
        assert "mode poll or callback" in refusal.json()["error"]["message"]


async def test_seeks_and_resumptions_find_the_same_frames(
    start: StartServer, settings: dict[str, Any]
) -> None:
    server = await start(**settings)
    job = await generated(server, "job")
    whole = await server.client.play("job")
    await lose(server, job)
    async with server.client.stream("job") as session:
        await session.next_of("chunk")
        for generation, frame in enumerate((700_000, 3, 441_000), 1):
            await session.seek(generation, frame)
            assert (await session.next_of("seek_applied")).start_frame == frame
            chunk = await session.next_of("chunk")
            begin = frame * 4
            assert chunk.start_frame == frame
            assert chunk.data == whole.stems[chunk.stem_index][begin : begin + len(chunk.data)]
    await server.nothing_is_held()


async def test_over_the_budget_a_copied_job_loses_its_files_and_nothing_else(
    start: StartServer, settings: dict[str, Any]
) -> None:
    server = await start(**settings, disk_budget_bytes=1)
    old = await generated(server, "old", random_seed=1)
    new = await generated(server, "new", random_seed=2)
    before = await server.client.play("old")
    assert await server.app.sweeper.sweep() == []
    await server.app.runs.removed()
    assert not run_folder(server, old).exists()
    assert not os.path.lexists(server.folder("old"))
    assert run_folder(server, new).exists(), "the newest result stays"
    assert (await server.client.get("old")).revision == old.revision
    assert (await server.client.play("old")).stems == before.stems
    await server.app.sweeper.sweep()
    assert 0 < server.app.sweeper.used_bytes == size_of(server, new), "only what is here counts"
    # The same content is made anew, as there is nothing to link.
    again = await generated(server, "again", random_seed=1)
    assert list(again.stem_set.sha256) == list(old.stem_set.sha256)
    assert server.app.runs.files(again.run_id).stem("bass").stat().st_nlink == 1


def size_of(server: Server, job: job_pb2.Job) -> int:
    files = run_folder(server, job)
    return sum(path.stat().st_size for path in files.rglob("*") if path.is_file())


async def test_a_restart_keeps_a_job_whose_files_are_only_in_the_container(
    start: StartServer, folder_settings: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    first = await start(**folder_settings)
    job = await generated(first, "job")
    before = await first.client.play("job")
    await lose(first, job)
    await first.app.stop()
    capfd.readouterr()
    second = await start(**folder_settings)
    assert "are gone" not in capfd.readouterr().out
    assert not os.path.lexists(second.folder("job")), "no link leads nowhere"
    assert (await second.client.play("job")).stems == before.stems


async def test_a_stem_that_was_cut_is_read_from_the_container(
    start: StartServer, settings: dict[str, Any]
) -> None:
    server = await start(**settings)
    job = await generated(server, "job")
    before = await read_everything(server, job)
    os.truncate(server.app.runs.files(job.run_id).stem("drums"), 5000)
    after = await read_everything(server, job)
    assert after.stems == before.stems
    assert after.artifacts == before.artifacts


async def test_a_blob_of_another_job_is_not_served(start: StartServer, settings: dict[str, Any]) -> None:
    server = await start(**settings)
    job = await generated(server, "job")
    await lose(server, job)
    container = container_of(server)
    blob = next(blob for blob in job.blobs if blob.name.endswith("bass.wav"))
    await container.write(f"job/{blob.name}", b"RIFF of another job")
    refusal = await refused(server.client.play("job"))
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "ARTIFACT_NOT_FOUND")
    assert "was replaced by another job or program, or deleted; submit the track again" in refusal.message
    assert refusal.metadata["cause"] == "BLOB_CHANGED"
    async with http_of(server) as http:
        for path in ("stems/bass.wav", "stems.zip"):
            answer = await http.get(f"/jobs/job/{path}")
            assert answer.status_code == 404
            assert "was replaced" in answer.json()["error"]["message"]
    await container.delete(f"job/{blob.name}")
    refusal = await refused(server.client.play("job"))
    assert refusal.reason == "ARTIFACT_NOT_FOUND"
    assert "deleted; submit the track again" in refusal.message
    await server.nothing_is_held()


async def test_files_whose_copies_are_gone_are_not_given_up_for_room(
    start: StartServer, settings: dict[str, Any]
) -> None:
    """Without a copy the job goes as a whole, as it does on a server without a container."""
    server = await start(**settings, disk_budget_bytes=1)
    old = await generated(server, "old", random_seed=1)
    await generated(server, "new", random_seed=2)
    await container_of(server).delete(f"old/{old.blobs[0].name}")
    assert await server.app.sweeper.sweep() == ["old"]
    assert (await refused(server.client.get("old"))).reason == "JOB_NOT_FOUND"


async def test_a_container_that_goes_away_in_a_stream_is_told_and_the_stream_resumes(
    start: StartServer, tmp_path: Path
) -> None:
    own = azurite(tmp_path)
    try:
        server = await start(**azure_settings(own, "audio"))
        job = await generated(server, "job")
        older = await generated(server, "older", random_seed=8)
        await generated(server, "newest", random_seed=9)
        whole = await server.client.play("job")
        await lose(server, job)
        heard = [bytearray(), bytearray()]
        session = server.client.stream("job", credit_bytes=1 << 17)
        async with session:
            for _ in range(4):
                chunk = await session.next_of("chunk")
                heard[chunk.stem_index] += chunk.data
            await asyncio.to_thread(own.stop)
            await session.credit(1 << 30)

            async def rest() -> None:
                while True:
                    chunk = await session.next_of("chunk")
                    heard[chunk.stem_index] += chunk.data

            refusal = await refused(rest())
        assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "BLOB_STORE_UNAVAILABLE")
        assert refusal.retry_seconds
        assert await refused(server.client.play("job")) is not None
        async with http_of(server) as http:
            assert (await http.get("/jobs/job/stems.json")).status_code == 503
        # Nothing is given up that may have no copy.
        server.app.sweeper._budget = 1
        assert await server.app.sweeper.sweep() == []
        await server.app.runs.removed()
        assert run_folder(server, older).exists()
        await asyncio.to_thread(own.start)
        points = [
            {"stem_name": name, "start_frame": len(data) // 4}
            for name, data in zip(STEMS, heard, strict=True)
        ]
        rest_of = await server.client.play("job", resume_points=points)
        for index in range(len(STEMS)):
            assert bytes(heard[index]) + rest_of.stems[index] == whole.stems[index]
        await server.nothing_is_held()
    finally:
        own.stop()


async def test_a_container_that_hangs_holds_nobody_else_up(
    start: StartServer, azurite_server: Azurite
) -> None:
    async with TcpProxy(azurite_server.port) as proxy:
        server = await start(**azure_settings(azurite_server, "hanging", proxy.address))
        there = await generated(server, "there", random_seed=1)
        gone = await generated(server, "gone", random_seed=2)
        await lose(server, gone)
        proxy.flowing.clear()
        # More than there are threads of players.
        sessions = [server.client.stream("gone") for _ in range(20)]
        for session in sessions:
            await session.__aenter__()
        played = await server.client.play("there")
        assert [hashlib.sha256(pcm).hexdigest() for pcm in played.stems] == list(there.stem_set.sha256)
        for session in sessions:
            await session.__aexit__(None, None, None)
        await server.nothing_is_held()
        proxy.flowing.set()

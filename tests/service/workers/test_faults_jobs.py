"""Jobs that are stopped in a transfer, submitted twice at once, short of room, or without one of their analyses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mismo.analysis.v1 import job_pb2, stage_pb2
from mismo_grpc.errors import AnalysisFailedError
from mismo_grpc.jobs.job import Stage
from mismo_grpc.storage.disk import QuotaDisk
from tests.service.conftest import Server, StartServer
from tests.service.workers.conftest import AudioFiles, client_of
from tests.service.workers.faults import (
    GENERATION,
    LONG_TRACK,
    QUICK,
    STEM_NAMES,
    STEMS,
    TRACK,
    UPLOAD,
    analyze,
    generate,
    has_stage,
    is_clean,
    is_whole,
    stage_of,
    told_once,
)
from tests.support.calls import CANCELLED, FAILED, SUCCEEDED, options, refused, stage_states
from tests.support.http import Receiver
from tests.support.outages import FailingStage
from tests.support.tcp_proxy import TcpProxy


@pytest.fixture
async def proxy(own_files: AudioFiles) -> AsyncIterator[TcpProxy]:
    async with TcpProxy(own_files.azurite.port) as proxy:
        yield proxy


@pytest.mark.parametrize("way", ["cancel", "delete"])
@pytest.mark.parametrize("moment", ["fetch", "upload"])
async def test_a_job_that_is_stopped_in_a_transfer_leaves_nothing(
    start: StartServer, own_files: AudioFiles, api: Receiver, proxy: TcpProxy, moment: str, way: str
) -> None:
    server = await start(**own_files.settings(proxy.address), **QUICK)
    await own_files.store.write("a.wav", TRACK if moment == "fetch" else LONG_TRACK)
    if moment == "fetch":
        proxy.hold_response_at = len(TRACK) // 2
    async with client_of(server) as http:
        assert (await analyze(http, api)).status_code == 202
    if moment == "upload":
        await has_stage(server.client, "song", UPLOAD)
        proxy.hold_request_at = proxy.requested + 1_000_000
    await proxy.held.wait()
    if way == "cancel":
        assert (await server.client.cancel("song")).state == CANCELLED
        assert (await told_once(server, api, "failed"))["error"]["code"] == "CANCELLED"
    else:
        await server.client.delete("song")
        assert (await refused(server.client.get("song"))).reason == "JOB_NOT_FOUND"
    await is_clean(server)
    proxy.flowing.set()
    # No stem was complete when it was stopped.
    assert await own_files.store.list("song/stems") == []


async def test_the_same_generation_submitted_twice_at_once_is_one_job(
    start: StartServer, own_files: AudioFiles, api: Receiver
) -> None:
    server = await start(**own_files.settings())
    async with client_of(server) as http:
        answers = await asyncio.gather(*(generate(http, api) for _ in range(4)))
    assert [answer.status_code for answer in answers] == [202] * 4
    assert len({answer.json()["created_at"] for answer in answers}) == 1
    job = await server.client.succeeded("gen")
    assert (job.run_id, stage_of(job, GENERATION).attempts) == ((await server.client.get("gen")).run_id, 1)
    await is_whole(own_files, job)
    await told_once(server, api)
    await is_clean(server, job.run_id)


async def test_different_requests_with_one_id_at_once_are_refused_but_for_one(
    start: StartServer, own_files: AudioFiles
) -> None:
    server = await start(**own_files.settings())
    await own_files.store.write("a.wav", TRACK)
    await own_files.store.write("b.wav", TRACK)
    server.device.close()
    async with client_of(server) as http:
        answers = await asyncio.gather(*(generate(http, seconds=1.0 + number) for number in range(4)))
        refusals = [answer for answer in answers if answer.status_code != 202]
        assert len(refusals) == 3
        for answer in refusals:
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (422, "REQUEST_ID_REUSED")
            assert error["field"] == "generation_request_id"
        assert (await analyze(http)).status_code == 202
        other = await analyze(http, name="b.wav")
        error = other.json()["error"]
        assert (other.status_code, error["code"], error["field"]) == (409, "JOB_ID_ACTIVE", "audio_file_id")
        assert "another audio_file_id" in error["message"]
        assert "job_id" not in error["message"]
    server.device.open()
    await server.client.succeeded("song")


async def test_a_reused_generation_is_copied_to_its_own_folder(
    start: StartServer, own_files: AudioFiles, api: Receiver
) -> None:
    server = await start(**own_files.settings())
    parameters = {"duration_seconds": 2.0, "random_seed": 5}
    async with client_of(server) as http:
        await generate(http, parameters=parameters)
        first = await server.client.succeeded("gen")
        await generate(http, api, parameters=parameters, generation_request_id="again", audio_file_id="other")
        again = await server.client.succeeded("again")
    assert stage_of(again, GENERATION).attempts == 0
    await is_whole(own_files, first)
    await is_whole(own_files, again)
    told = await told_once(server, api)
    assert [stem["blob_uri"] for stem in told["stems"]] == [
        own_files.url(f"other/generated/again/{stem}.wav") for stem in ("bass", "drums")
    ]


async def test_a_reused_separation_is_copied_to_its_own_folder(
    start: StartServer, own_files: AudioFiles
) -> None:
    server = await start(**own_files.settings())
    wanted = options(stages=[stage_pb2.STAGE_STEMS, stage_pb2.STAGE_BASIC_FEATURES])
    jobs: list[job_pb2.Job] = []
    for job_id in ("first", "again"):
        upload = await server.client.upload(TRACK)
        await server.client.submit(job_pb2.Source(upload_id=upload.upload_id), job_id=job_id, wanted=wanted)
        jobs.append(await server.client.succeeded(job_id))
    first, again = jobs
    assert stage_of(again, STEMS).attempts == 0
    for job in jobs:
        await is_whole(own_files, job)
    assert [blob.name for blob in again.blobs] == [blob.name for blob in first.blobs]
    assert await own_files.names() == sorted(
        f"{job.job_id}/{blob.name}" for job in jobs for blob in job.blobs
    )


@pytest.mark.parametrize("job_id", ["song", "gen"])
async def test_a_full_disk_fails_the_job_and_leaves_nothing_and_the_replay_has_room(
    start: StartServer, own_files: AudioFiles, api: Receiver, job_id: str
) -> None:
    disk = QuotaDisk(1 << 40)
    server = await start(app={"disk": disk}, **own_files.settings(), **QUICK, max_concurrent_jobs=1)
    await own_files.store.write("a.wav", TRACK)
    await own_files.store.write("first.wav", TRACK)
    server.device.close()
    async with client_of(server) as http:
        await analyze(http, name="first.wav", audio_file_id="first")
        await server.device.someone_waits()
        assert (await (analyze if job_id == "song" else generate)(http, api)).status_code == 202
        server.device.open()
        disk.limit = 0
        job = await server.client.ended(job_id)
        assert (job.state, job.dead_letter, job.error.reason) == (FAILED, True, "DISK_FULL")
        assert (await told_once(server, api, "failed"))["error"]["code"] == "DISK_FULL"
        await server.client.ended("first")
        await server.client.delete("first")
        await is_clean(server)
        disk.limit = 1 << 40
        assert (await http.post(f"/jobs/{job_id}/replay")).status_code == 200
    await is_whole(own_files, await server.client.succeeded(job_id))


async def test_analyses_alone_are_copied_without_stems(start: StartServer, own_files: AudioFiles) -> None:
    server = await start(**own_files.settings())
    await own_files.store.write("a.wav", TRACK)
    await server.client.submit(
        job_pb2.Source(blob_uri="az://audio/a.wav"),
        job_id="song",
        wanted=options(stages=[stage_pb2.STAGE_BASIC_FEATURES]),
    )
    job = await server.client.succeeded("song")
    await is_whole(own_files, job)
    assert {blob.name for blob in job.blobs} == {"analysis/annotation.jams", "analysis/basic_features.json"}
    assert server.device.passed == 0
    # An empty folder, which tells that the job's files are not gone.
    await is_clean(server, job.run_id)


def fail(server: Server, stage: Stage) -> None:
    """A stage of the server always fails."""
    works = server.app.runner._works
    works[stage] = FailingStage(works[stage], lambda: AnalysisFailedError("no chord was found"))


async def test_the_rest_is_copied_if_one_analysis_fails(
    start: StartServer, own_files: AudioFiles, api: Receiver
) -> None:
    server = await start(**own_files.settings())
    fail(server, Stage.CHORDS)
    await own_files.store.write("a.wav", TRACK)
    async with client_of(server) as http:
        await analyze(http, api)
    job = await server.client.ended("song")
    assert (job.state, stage_states(job)["CHORDS"]) == (SUCCEEDED, "FAILED")
    await is_whole(own_files, job)
    names = {blob.name for blob in job.blobs}
    assert {"analysis/basic_features.json", "analysis/sections.json", "analysis/annotation.jams"} <= names
    assert "analysis/chords.json" not in names
    told = await told_once(server, api)
    assert {stem["stem_type"] for stem in told["stems"]} == STEM_NAMES
    assert (told["analysis"]["chords"], told["analysis"]["duration_seconds"]) == (None, pytest.approx(2.0))


async def test_a_job_without_any_result_fails_and_copies_nothing(
    start: StartServer, own_files: AudioFiles
) -> None:
    server = await start(**own_files.settings())
    fail(server, Stage.LOUDNESS)
    await own_files.store.write("a.wav", TRACK)
    await server.client.submit(
        job_pb2.Source(blob_uri="az://audio/a.wav"),
        job_id="song",
        wanted=options(stages=[stage_pb2.STAGE_LOUDNESS]),
    )
    job = await server.client.ended("song")
    assert (job.state, job.error.reason) == (FAILED, "ANALYSIS_FAILED")
    assert stage_states(job)["BLOB_UPLOAD"] == "SKIPPED"
    assert await own_files.names() == ["a.wav"]
    await is_clean(server)

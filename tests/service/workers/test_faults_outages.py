"""Storage that is down, slow or silent while a job needs it, and back again; callbacks that nobody receives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mismo.analysis.v1 import job_pb2
from tests.service.conftest import Server, StartServer
from tests.service.workers.conftest import AudioFiles, client_of
from tests.service.workers.faults import (
    DECODE,
    LONG_TRACK,
    PENDING,
    QUICK,
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
from tests.support.calls import FAILED, SUCCEEDED, until
from tests.support.http import Receiver
from tests.support.tcp_proxy import TcpProxy


@pytest.fixture
async def proxy(own_files: AudioFiles) -> AsyncIterator[TcpProxy]:
    async with TcpProxy(own_files.azurite.port) as proxy:
        yield proxy


async def ends_well(server: Server, files: AudioFiles, api: Receiver, job_id: str = "song") -> job_pb2.Job:
    """The job succeeds, its blobs are whole, it is told once, and only the failed stage was done again."""
    job = await server.client.succeeded(job_id)
    await is_whole(files, job)
    told = await told_once(server, api)
    assert {stem["sha256"] for stem in told["stems"]} <= {blob.sha256 for blob in job.blobs}
    await is_clean(server, job.run_id)
    return job


async def test_a_submit_while_the_storage_is_down_is_done_once_it_is_back(
    start: StartServer, own_files: AudioFiles, api: Receiver
) -> None:
    server = await start(**own_files.settings(), **QUICK)
    await own_files.store.write("a.wav", TRACK)
    own_files.azurite.stop()
    async with client_of(server) as http:
        assert (await analyze(http, api)).status_code == 202
        waits = await has_stage(server.client, "song", DECODE, waits=True)
        assert (waits.state, waits.error.reason) == (PENDING, "BLOB_STORE_UNAVAILABLE")
        assert (await http.get("/jobs/song")).json()["status"] == "processing"
    await asyncio.to_thread(own_files.azurite.start)
    job = await ends_well(server, own_files, api)
    assert stage_of(job, DECODE).attempts >= 2
    assert stage_of(job, STEMS).attempts == 1


async def test_a_fetch_that_is_cut_off_begins_again_once_the_storage_is_back(
    start: StartServer, own_files: AudioFiles, api: Receiver, proxy: TcpProxy
) -> None:
    server = await start(**own_files.settings(proxy.address), **QUICK)
    await own_files.store.write("a.wav", LONG_TRACK)
    proxy.responses_left = len(LONG_TRACK) // 2
    async with client_of(server) as http:
        assert (await analyze(http, api)).status_code == 202
    await has_stage(server.client, "song", DECODE, waits=True)
    assert proxy.passed >= len(LONG_TRACK) // 2
    assert not list(server.jobs_dir.rglob("*.partial"))
    own_files.azurite.stop()
    proxy.responses_left = None
    await asyncio.to_thread(own_files.azurite.start)
    job = await ends_well(server, own_files, api)
    assert stage_of(job, STEMS).attempts == 1


async def test_results_are_copied_once_the_storage_is_back(
    start: StartServer, own_files: AudioFiles, api: Receiver
) -> None:
    server = await start(**own_files.settings(), **QUICK)
    await own_files.store.write("a.wav", TRACK)
    server.device.close()
    async with client_of(server) as http:
        assert (await analyze(http, api)).status_code == 202
    await server.device.someone_waits()
    own_files.azurite.stop()
    server.device.open()
    await has_stage(server.client, "song", UPLOAD, waits=True)
    # The stems are finished although the analyses' documents could not be copied.
    await until(lambda: server.app.repository.active["song"].job.has_stem_files)
    forwards = server.device.passed
    await asyncio.to_thread(own_files.azurite.start)
    job = await ends_well(server, own_files, api)
    assert server.device.passed == forwards
    assert {status.attempts for status in job.stages if status.stage != UPLOAD} == {1}
    assert stage_of(job, UPLOAD).attempts >= 2


async def test_generated_stems_are_copied_once_the_storage_is_back(
    start: StartServer, own_files: AudioFiles, api: Receiver
) -> None:
    server = await start(**own_files.settings(), **QUICK)
    own_files.azurite.stop()
    async with client_of(server) as http:
        assert (await generate(http, api)).status_code == 202
    await has_stage(server.client, "gen", UPLOAD, waits=True)
    await asyncio.to_thread(own_files.azurite.start)
    job = await server.client.succeeded("gen")
    await is_whole(own_files, job)
    assert [stem["stem_type"] for stem in (await told_once(server, api))["stems"]] == ["bass", "drums"]
    assert {status.attempts for status in job.stages if status.stage != UPLOAD} == {1}


async def test_an_outage_longer_than_the_retries_is_a_dead_letter_whose_replay_copies_what_is_there(
    start: StartServer, own_files: AudioFiles, api: Receiver
) -> None:
    server = await start(**own_files.settings(), job_retries=1, **QUICK)
    await own_files.store.write("a.wav", TRACK)
    server.device.close()
    async with client_of(server) as http:
        await analyze(http, api)
        await server.device.someone_waits()
        own_files.azurite.stop()
        server.device.open()
        old = await server.client.ended("song")
        assert (old.state, old.dead_letter, old.error.reason) == (FAILED, True, "BLOB_STORE_UNAVAILABLE")
        told = await told_once(server, api, "failed")
        assert (told["error"]["code"], told["analysis"], told["stems"]) == (
            "BLOB_STORE_UNAVAILABLE",
            None,
            [],
        )
        assert own_files.azurite.address not in told["error"]["message"]
        forwards = server.device.passed
        await asyncio.to_thread(own_files.azurite.start)
        assert (await http.post("/jobs/song/replay")).status_code == 200
    job = await server.client.succeeded("song")
    await is_whole(own_files, job)
    assert server.device.passed == forwards
    posts = await api.received(2)
    assert [post.body["status"] for post in posts] == ["failed", "completed"]
    assert len(posts[1].body["stems"]) == 4
    assert posts[1].body["analysis"]["duration_seconds"] == pytest.approx(2.0)
    await is_clean(server, job.run_id)


async def test_a_track_that_could_not_be_fetched_is_a_dead_letter_without_files(
    start: StartServer, own_files: AudioFiles, api: Receiver
) -> None:
    server = await start(**own_files.settings(), job_retries=1, **QUICK)
    await own_files.store.write("a.wav", TRACK)
    own_files.azurite.stop()
    async with client_of(server) as http:
        await analyze(http, api)
        old = await server.client.ended("song")
        assert (old.state, old.dead_letter) == (FAILED, True)
        assert stage_of(old, DECODE).attempts == 2
        await told_once(server, api, "failed")
        await is_clean(server)
        await asyncio.to_thread(own_files.azurite.start)
        assert (await http.post("/jobs/song/replay")).status_code == 200
    await is_whole(own_files, await server.client.succeeded("song"))
    assert [post.body["status"] for post in await api.received(2)] == ["failed", "completed"]


async def test_a_slow_storage_is_waited_for(
    start: StartServer, own_files: AudioFiles, api: Receiver, proxy: TcpProxy
) -> None:
    server = await start(**own_files.settings(proxy.address), **QUICK)
    await own_files.store.write("a.wav", TRACK)
    proxy.delay = 0.02
    async with client_of(server) as http:
        await analyze(http, api)
    job = await ends_well(server, own_files, api)
    assert {status.attempts for status in job.stages} == {1}


async def test_a_storage_that_is_silent_for_longer_than_its_timeout_is_tried_again(
    start: StartServer, own_files: AudioFiles, api: Receiver, proxy: TcpProxy
) -> None:
    server = await start(**own_files.settings(proxy.address), **QUICK, blob_timeout=0.5)
    await own_files.store.write("a.wav", TRACK)
    server.device.close()
    async with client_of(server) as http:
        await analyze(http, api)
    await server.device.someone_waits()
    proxy.flowing.clear()
    server.device.open()
    waits = await has_stage(server.client, "song", UPLOAD, waits=True)
    assert "timeout" in waits.error.message
    proxy.flowing.set()
    job = await ends_well(server, own_files, api)
    assert {status.attempts for status in job.stages if status.stage != UPLOAD} == {1}


async def test_a_callback_that_nobody_receives_does_not_change_the_job(
    start: StartServer, own_files: AudioFiles, api: Receiver
) -> None:
    server = await start(**own_files.settings(), callback_retry_delay=0.02, callback_retries=3)
    await own_files.store.write("a.wav", TRACK)
    api.answer = lambda number: 503 if number < 2 else 200
    async with client_of(server) as http:
        await analyze(http, api)
        job = await server.client.succeeded("song")
        posts = await api.received(3)
        assert {post.headers["x-mismo-callback-id"] for post in posts} == {
            posts[0].headers["x-mismo-callback-id"]
        }
        # From the fourth on.
        api.answer = lambda _: 503
        await generate(http, api, audio_file_id="other")
        await server.client.succeeded("gen")
        await api.received(3 + 4)
    await until(lambda: server.app.outbox.sending_count == 0)
    (row,) = await server.app.jobs.callbacks_of("gen")
    assert (row.state, row.attempts) == ("failed", 4)
    for job_id in ("song", "gen"):
        assert (await server.client.get(job_id)).state == SUCCEEDED
    await is_whole(own_files, await server.client.get("gen"))
    assert job.blobs

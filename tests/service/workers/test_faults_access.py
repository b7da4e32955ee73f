"""Storage that refuses the server, containers and blobs that are missing, blobs that change under the job."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mismo.analysis.v1 import job_pb2, stage_pb2
from mismo_grpc.errors import BlobAccessDeniedError
from mismo_grpc.storage.blobs.azure_account import AzureAccount
from mismo_grpc.storage.blobs.containers import ContainerOpener
from tests.service.conftest import Server, StartServer
from tests.service.workers.conftest import AudioFiles, client_of
from tests.service.workers.faults import (
    DECODE,
    LONG_TRACK,
    QUICK,
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
from tests.support.calls import FAILED, PATIENCE, options
from tests.support.http import Receiver
from tests.support.tcp_proxy import TcpProxy
from tests.support.tracks import track_bytes

WRONG_KEY = "d3JvbmcgYnV0IGJhc2U2NCB0ZXh0"


def sas_settings(files: AudioFiles, seconds: float) -> tuple[dict[str, Any], AzureAccount]:
    """Settings with a SAS that ends in some seconds, and the account with it."""
    ends = datetime.now(UTC) + timedelta(seconds=seconds)
    account = files.azurite.sas_account(ends.strftime("%Y-%m-%dT%H:%M:%SZ"))
    text = f"BlobEndpoint={account.endpoint};SharedAccessSignature={account.sas}"
    return {"blob_container_name": files.name, "azure_storage_connection_string": text}, account


async def has_expired(account: AzureAccount) -> None:
    """Once the service refuses the account's SAS."""
    store = ContainerOpener(azure=account).open("az://audio", "TEST")
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await store.check()
            except BlobAccessDeniedError:
                return
            await asyncio.sleep(0.05)


async def test_a_wrong_key_is_told_at_submit_without_the_key(
    start: StartServer, own_files: AudioFiles, capfd: pytest.CaptureFixture[str]
) -> None:
    server = await start(**own_files.settings(key=WRONG_KEY), **QUICK)
    await own_files.store.write("a.wav", TRACK)
    async with client_of(server) as http:
        answer = await analyze(http)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (502, "BLOB_ACCESS_DENIED", "blob_uri")
    assert "correct or renew them in the server's settings" in error["message"]
    assert (await server.client.list()).jobs == []
    told = capfd.readouterr()
    for text in (answer.text, told.out, told.err):
        assert WRONG_KEY not in text
        assert "SharedKey" not in text


async def test_a_wrong_key_fails_a_generation_when_its_results_are_copied(
    start: StartServer, own_files: AudioFiles, api: Receiver
) -> None:
    server = await start(**own_files.settings(key=WRONG_KEY), job_retry_delay=0.01)
    async with client_of(server) as http:
        await generate(http, api)
    job = await server.client.ended("gen")
    assert (job.state, job.dead_letter, job.error.reason) == (FAILED, True, "BLOB_ACCESS_DENIED")
    # The table of retries has four for this error.
    assert stage_of(job, UPLOAD).attempts == 5
    told = await told_once(server, api, "failed")
    assert (told["error"]["code"], told["stems"]) == ("BLOB_ACCESS_DENIED", [])


async def test_a_sas_that_expires_while_the_job_runs_and_a_replay_with_a_new_one(
    start: StartServer, own_files: AudioFiles, api: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    await own_files.store.write("a.wav", TRACK)
    settings, account = sas_settings(own_files, 3.0)
    signature = account.sas.partition("sig=")[2]
    first = await start(**settings, job_retry_delay=0.01, job_retries=2)
    first.device.close()
    async with client_of(first) as http:
        assert (await analyze(http, api)).status_code == 202
    await first.device.someone_waits()

    await has_expired(account)
    first.device.open()
    old = await first.client.ended("song")
    assert (old.state, old.dead_letter, old.error.reason) == (FAILED, True, "BLOB_ACCESS_DENIED")
    assert stage_of(old, UPLOAD).attempts == 3
    assert signature not in f"{old}{await told_once(first, api, 'failed')}"
    told = capfd.readouterr()
    assert "stage failed" in told.out
    assert signature not in told.out + told.err
    await first.app.stop()

    renewed, _ = sas_settings(own_files, 600.0)
    second = await start(**renewed, **QUICK)
    async with client_of(second) as http:
        assert (await http.post("/jobs/song/replay")).status_code == 200
    job = await second.client.succeeded("song")
    await is_whole(own_files, job)
    assert second.device.passed == 0
    assert [post.body["status"] for post in await api.received(2)] == ["failed", "completed"]


async def test_a_container_that_is_missing(start: StartServer, own_files: AudioFiles, api: Receiver) -> None:
    await own_files.store.write("a.wav", TRACK)
    settings = own_files.settings()
    server = await start(**{**settings, "blob_container_name": "later"}, job_retry_delay=0.02)
    async with client_of(server) as http:
        answer = await analyze(http, blob_uri="az://later/a.wav")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["field"]) == (
            502,
            "BLOB_CONTAINER_NOT_FOUND",
            "blob_uri",
        )
        assert "create it" in error["message"]
        assert (await generate(http, api)).status_code == 202
        await has_stage(server.client, "gen", UPLOAD, waits=True)
        await asyncio.to_thread(own_files.azurite.create, "later")
        await server.client.succeeded("gen")
    assert len((await told_once(server, api))["stems"]) == 2


async def held_after_submit(server: Server, files: AudioFiles, content: bytes) -> None:
    """The job is accepted and waits for a slot that another job has."""
    await files.store.write("first.wav", TRACK)
    await files.store.write("a.wav", content)
    server.device.close()
    async with client_of(server) as http:
        await analyze(http, name="first.wav", audio_file_id="first")
        await server.device.someone_waits()
        assert (await analyze(http)).status_code == 202


async def test_a_blob_that_is_deleted_between_submit_and_fetch_fails_at_once(
    start: StartServer, own_files: AudioFiles
) -> None:
    server = await start(**own_files.settings(), **QUICK, max_concurrent_jobs=1)
    await held_after_submit(server, own_files, TRACK)
    await own_files.store.delete("a.wav")
    server.device.open()
    job = await server.client.ended("song")
    assert (job.state, job.dead_letter, job.error.reason) == (FAILED, False, "BLOB_NOT_FOUND")
    assert stage_of(job, DECODE).attempts == 1
    first = await server.client.succeeded("first")
    await is_clean(server, first.run_id)


async def test_a_blob_that_is_replaced_between_submit_and_fetch_is_taken_as_it_is(
    start: StartServer, own_files: AudioFiles
) -> None:
    server = await start(**own_files.settings(), **QUICK, max_concurrent_jobs=1)
    await held_after_submit(server, own_files, LONG_TRACK)
    await own_files.store.write("a.wav", TRACK)
    server.device.open()
    job = await server.client.succeeded("song")
    stored = server.app.repository.store.get("song")
    assert stored is not None
    assert stored.source_sha256 == hashlib.sha256(TRACK).hexdigest()
    assert job.stem_set.total_frames == 2 * 44_100


async def test_a_blob_that_is_replaced_while_it_is_read_is_fetched_anew(
    start: StartServer, own_files: AudioFiles
) -> None:
    # Five ranges, of which at most three are asked for at once.
    old, new = track_bytes(100.0, seed=1), track_bytes(100.0, seed=2)
    assert len(old) == len(new) > 16 << 20
    async with TcpProxy(own_files.azurite.port) as proxy:
        server = await start(**own_files.settings(proxy.address), **QUICK)
        await own_files.store.write("a.wav", old)
        proxy.hold_response_at = 1 << 20
        await server.client.submit(
            job_pb2.Source(blob_uri="az://audio/a.wav"),
            job_id="song",
            wanted=options(stages=[stage_pb2.STAGE_LOUDNESS]),
        )
        await proxy.held.wait()
        await own_files.store.write("a.wav", new)
        proxy.flowing.set()
        waits = await has_stage(server.client, "song", DECODE, waits=True)
        assert waits.error.reason == "BLOB_CHANGED"
        job = await server.client.succeeded("song")
    assert stage_of(job, DECODE).attempts == 2
    stored = server.app.repository.store.get("song")
    assert stored is not None
    assert stored.source_sha256 == hashlib.sha256(new).hexdigest()
    await is_whole(own_files, job)
    await is_clean(server, job.run_id)

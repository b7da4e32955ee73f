"""What a job_id, a run_id and a request_id mean: while a job is at work, after it ran again, after it was deleted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.service.conftest import Server, StartServer
from tests.support.calls import (
    CANCELLED,
    PCM_S24LE,
    QUEUED,
    SUCCEEDED,
    Client,
    job_pb2,
    new_id,
    options,
    refused,
    until,
)
from tests.support.tracks import track_bytes, write_track

# An active job_id


async def test_an_active_job_id_with_the_same_content_is_that_job(server: Server, music: Path) -> None:
    client, track = server.client, write_track(music / "a.wav", 1.0)
    server.device.close()
    first = await client.submit(track, job_id="deck", wanted=options(playhead=0.2))
    copy = music / "copy.wav"
    copy.write_bytes(track.read_bytes())
    upload = await client.upload(track.read_bytes())
    for source in (track, copy, job_pb2.Source(upload_id=upload.upload_id)):
        for wanted in (None, options(playhead=0.7), options(model="tiny")):
            again = await client.submit(source, job_id="deck", wanted=wanted, labels={"n": "1"})
            assert again.deduplicated
            assert (again.job.run_id, again.job.labels) == (first.job.run_id, {})
    server.device.open()
    await client.succeeded("deck")


async def test_an_active_job_id_takes_no_other_content(server: Server, music: Path) -> None:
    client, track = server.client, write_track(music / "a.wav", 1.0)
    other = write_track(music / "b.wav", 1.0, seed=2)
    upload = await client.upload(other.read_bytes())
    server.device.close()
    first = await client.submit(track, job_id="deck")
    submits: list[tuple[Path | job_pb2.Source, dict[str, Any]]] = [
        (other, {}),
        (job_pb2.Source(upload_id=upload.upload_id), {}),
        (track, {"wanted": options(encoding=PCM_S24LE)}),
        (track, {"wanted": options(two_stems="vocals")}),
        (other, {"validate_only": True}),
        (other, {"request_id": new_id()}),
    ]
    for source, fields in submits:
        refusal = await refused(client.submit(source, job_id="deck", **fields))
        assert (refusal.code, refusal.reason, refusal.field) == ("ALREADY_EXISTS", "JOB_ID_ACTIVE", "job_id")
        assert refusal.metadata == {"job_id": "deck", "run_id": first.job.run_id}
        assert "cancel it" in refusal.message
    # The same path, and other audio in it by now.
    write_track(track, 1.0, seed=3)
    assert (await refused(client.submit(track, job_id="deck"))).reason == "JOB_ID_ACTIVE"
    assert [job.run_id for job in (await client.list()).jobs] == [first.job.run_id]

    await client.cancel("deck")
    assert not (await client.submit(other, job_id="deck")).deduplicated
    server.device.open()
    await client.succeeded("deck")


async def test_an_active_job_is_returned_also_when_the_queue_is_full_or_its_file_is_gone(
    start: StartServer, music: Path
) -> None:
    server = await start(queue_capacity=1)
    client, track = server.client, write_track(music / "a.wav", 1.0)
    server.device.close()
    await client.submit(track, job_id="deck")
    await server.device.someone_waits()
    assert (await client.submit(track, job_id="deck")).deduplicated
    track.unlink()
    assert (await client.submit(track, job_id="deck")).deduplicated
    refusal = await refused(client.submit(music / "never.wav", job_id="deck"))
    assert refusal.reason == "SOURCE_NOT_FOUND"


async def test_a_track_that_came_by_path_and_then_by_form_is_one_job_over_http(
    server: Server, music: Path
) -> None:
    """An app server that was restarted submits again what it was waiting for, with another port for callbacks."""
    track = music / "a.wav"
    track.write_bytes(track_bytes(1.0))
    server.device.close()
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.app.http_port}") as http:
        fields = {"track_hash": "abc", "callback_url": "http://127.0.0.1:1/a"}
        first = await http.post("/jobs", json={"file_path": str(track), **fields})
        assert first.status_code == 200, first.text
        again = await http.post("/jobs", json={"file_path": str(track), "track_hash": "abc"})
        form = {"track_hash": "abc", "callback_url": "http://127.0.0.1:2/a"}
        whole = await http.post("/jobs", data=form, files={"file": ("x.wav", track.read_bytes())})
        for response in (again, whole):
            assert response.status_code == 200, response.text
            assert response.json()["callback_url"] == "http://127.0.0.1:1/a"
        other = await http.post("/jobs", data=form, files={"file": ("x.wav", track_bytes(1.0, seed=2))})
        assert other.status_code == 409
        error = other.json()["error"]
        assert (error["code"], error["field"]) == ("JOB_ID_ACTIVE", "track_hash")
        run_id = (await http.get("/jobs/abc")).json()["run_id"]
        assert run_id == error["metadata"]["run_id"] == (await server.client.get("abc")).run_id


# The run that a client means


def calls_of(client: Client, run_id: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Every call of these tests that can name the run it means."""
    return {
        "watch": lambda: client.events("job", expected_run_id=run_id),
        "artifact": lambda: client.artifact("job", "stems.json", expected_run_id=run_id),
        "update": lambda: client.update("job", playhead=0.1, expected_run_id=run_id),
        "cancel": lambda: client.cancel("job", expected_run_id=run_id),
        "delete": lambda: client.delete("job", expected_run_id=run_id, allow_missing=True),
    }


@pytest.mark.parametrize("ended", [False, True], ids=["at work", "ended"])
@pytest.mark.parametrize("call", ["watch", "artifact", "update", "cancel", "delete"])
async def test_what_names_an_earlier_run_is_refused_and_changes_nothing(
    server: Server, music: Path, call: str, ended: bool
) -> None:
    client, track = server.client, write_track(music / "a.wav", 0.6)
    first = (await client.submit(track, job_id="job")).job
    await client.succeeded("job")
    server.device.close()
    wanted = options(encoding=PCM_S24LE)
    second = (await client.submit(track, job_id="job", wanted=wanted)).job
    assert second.run_id != first.run_id
    if ended:
        server.device.open()
        await client.succeeded("job")
    before = await client.get("job")
    refusal = await refused(calls_of(client, first.run_id)[call]())
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "RUN_REPLACED")
    assert refusal.metadata == {"expected_run_id": first.run_id, "run_id": second.run_id}
    server.device.open()
    after = await client.ended("job")
    assert (after.state, after.run_id) == (SUCCEEDED, second.run_id)
    assert after.options.stems.playhead == before.options.stems.playhead


async def test_what_names_the_run_of_today_is_served(server: Server, music: Path) -> None:
    client = server.client
    server.device.close()
    run_id = (await client.submit(write_track(music / "a.wav", 0.6), job_id="job")).job.run_id
    assert (await client.update("job", playhead=0.1, expected_run_id=run_id)).options.stems.playhead.nanos
    server.device.open()
    assert (await client.events("job", expected_run_id=run_id))[-1].terminal.job.state == SUCCEEDED
    assert await client.artifact("job", "stems.json", expected_run_id=run_id)
    assert (await client.cancel("job", expected_run_id=run_id)).state == SUCCEEDED
    await client.delete("job", expected_run_id=run_id)
    assert (await refused(client.get("job"))).reason == "JOB_NOT_FOUND"
    await client.delete("job", expected_run_id=run_id, allow_missing=True)
    await client.delete("job", allow_missing=True)
    assert (await refused(client.delete("", allow_missing=True))).field == "job_id"


# A deleted job's request_id


async def test_a_deleted_jobs_request_id_answers_with_the_job_as_it_was(
    start: StartServer, music: Path
) -> None:
    server, request_id = await start(), new_id()
    client, track = server.client, write_track(music / "a.wav", 0.6)
    await client.submit(track, job_id="job", request_id=request_id)
    job = await client.succeeded("job")
    await client.delete("job")
    again = await client.submit(track, job_id="job", request_id=request_id)
    assert again.deduplicated
    assert again.job.HasField("delete_time")
    assert again.job.delete_time.ToMicroseconds() >= job.end_time.ToMicroseconds()
    again.job.ClearField("delete_time")
    assert again.job == job
    assert (await refused(client.get("job"))).reason == "JOB_NOT_FOUND"
    refusal = await refused(client.submit(track, request_id=request_id))
    assert refusal.reason == "REQUEST_ID_REUSED"

    # Also once the job_id has another job, and after a restart.
    await client.submit(track, job_id="job", wanted=options(encoding=PCM_S24LE))
    await client.succeeded("job")
    await server.app.stop()
    server = await start()
    late = await server.client.submit(track, job_id="job", request_id=request_id)
    assert (late.deduplicated, late.job.run_id) == (True, job.run_id)
    assert late.job.HasField("delete_time")


async def test_a_job_that_was_deleted_at_work_is_told_as_cancelled(server: Server, music: Path) -> None:
    client, request_id = server.client, new_id()
    track = write_track(music / "a.wav", 0.6)
    server.device.close()
    await client.submit(track, job_id="job", request_id=request_id)
    await server.device.someone_waits()
    deleting = asyncio.create_task(client.delete("job"))
    await until(lambda: "job" not in server.app.repository.active)
    server.device.open()
    await deleting
    again = await client.submit(track, job_id="job", request_id=request_id)
    assert (again.job.state, again.deduplicated) == (CANCELLED, True)


async def test_an_expired_jobs_request_id_answers_until_it_is_forgotten(
    start: StartServer, music: Path
) -> None:
    offset = 0.0
    server = await start(app={"now": lambda: time.time() + offset})
    client, request_id = server.client, new_id()
    track = write_track(music / "a.wav", 0.6)
    await client.submit(track, job_id="job", request_id=request_id)
    job = await client.succeeded("job")
    await server.idle()
    offset = 25 * 3600.0
    assert await server.app.sweeper.sweep() == ["job"]
    again = await client.submit(track, job_id="job", request_id=request_id)
    assert (again.deduplicated, again.job.run_id) == (True, job.run_id)
    assert again.job.HasField("delete_time")
    offset = 49 * 3600.0
    await server.app.sweeper.sweep()
    anew = await client.submit(track, job_id="job", request_id=request_id)
    assert not anew.deduplicated
    assert anew.job.state == QUEUED

"""Stages that fail and are tried again, dead letters and their replay, on whole servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from mismo.analysis.v1 import job_pb2, job_service_pb2, stage_pb2
from mismo_grpc.errors import CorruptAudioError, MismoError
from mismo_grpc.jobs.job import Stage
from tests.service.conftest import Server, StartServer
from tests.support.calls import (
    FAILED,
    PATIENCE,
    RUNNING,
    SUCCEEDED,
    Client,
    names_of,
    options,
    refused,
    until,
)
from tests.support.http import receiver
from tests.support.outages import FailingStage, away
from tests.support.process import ROOT, ServerProcess
from tests.support.tracks import track_bytes, write_track

STEMS, LOUDNESS, DECODE = stage_pb2.STAGE_STEMS, stage_pb2.STAGE_LOUDNESS, stage_pb2.STAGE_DECODE
BOTH, ALONE = options(stages=[STEMS, LOUDNESS]), options(stages=[LOUDNESS])
PENDING = stage_pb2.STAGE_STATE_PENDING
QUICK = {"job_retry_delay": 0.02}
SLOW = {"job_retry_delay": 300.0}


class Outage:
    """The loudness of a server fails as long as there are errors."""

    def __init__(self, server: Server) -> None:
        self.errors: list[MismoError] = []
        works = server.app.runner._works
        self.stage = FailingStage(works[Stage.LOUDNESS], self._next)
        works[Stage.LOUDNESS] = self.stage

    def _next(self) -> MismoError | None:
        return self.errors.pop(0) if self.errors else None

    def lasts(self, attempts: int = 1000) -> None:
        self.errors = [away() for _ in range(attempts)]


def loudness_of(job: job_pb2.Job) -> stage_pb2.StageStatus:
    return next(status for status in job.stages if status.stage == LOUDNESS)


async def waits(client: Client, job_id: str) -> job_pb2.Job:
    """The job once its loudness waits for another attempt."""
    async for event in client.watch(job_id):
        told = [event.stage] if event.HasField("stage") else list(event.snapshot.stages)
        for status in told:
            if status.stage == LOUDNESS and status.HasField("next_attempt_time"):
                return await client.get(job_id)
    raise AssertionError("the job ended without a wait")


async def replay(client: Client, job_id: str, **fields: str) -> job_pb2.Job:
    request = job_service_pb2.ReplayJobRequest(job_id=job_id, **fields)
    return (await client.jobs.ReplayJob(request, timeout=PATIENCE)).job


@pytest.fixture
async def http(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(server) as client:
        yield client


def client_of(server: Server) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.app.http_port}", timeout=PATIENCE)


@pytest.fixture
def loudness_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a job can fail although its stems succeeded, as with an upload to a container."""
    monkeypatch.setattr("mismo_grpc.orchestration.job_end.REQUIRED", frozenset({Stage.LOUDNESS}))


async def test_a_stage_that_fails_twice_works_the_third_time_and_is_told_once(
    start: StartServer, music: Path
) -> None:
    server = await start(**QUICK)
    outage = Outage(server)
    outage.lasts(2)
    async with receiver() as app_server:
        await server.client.submit(
            write_track(music / "a.wav", 1.0),
            job_id="job",
            wanted=ALONE,
            callback=job_pb2.Callback(url=app_server.url),
        )
        events = await server.client.events("job")
        (post,) = await app_server.received(1)
    told = [event.stage for event in events if event.HasField("stage") and event.stage.stage == LOUDNESS]
    waiting = [status for status in told if status.HasField("next_attempt_time")]
    assert [(status.state, status.attempts) for status in waiting] == [(PENDING, 1), (PENDING, 2)]
    assert {status.error.reason for status in waiting} == {"BLOB_STORE_UNAVAILABLE"}
    job = events[-1].terminal.job
    final = loudness_of(job)
    assert (job.state, job.dead_letter, final.attempts) == (SUCCEEDED, False, 3)
    assert not final.HasField("error")
    assert not final.HasField("next_attempt_time")
    assert post.body["status"] == "completed"
    # The outbox holds the run until it has stored the delivery.
    await until(lambda: not server.app.runs.held_runs)
    await server.nothing_is_held()
    async with client_of(server) as http:
        text = (await http.get("/metrics")).text
    counted = 'mismo_stage_retries_total{reason="BLOB_STORE_UNAVAILABLE",stage="loudness"} 2.0'
    assert counted in text


async def test_a_job_that_waits_leaves_its_slot_to_others_and_can_be_cancelled_or_deleted(
    start: StartServer, music: Path
) -> None:
    server = await start(max_concurrent_jobs=1, **SLOW)
    outage, client = Outage(server), server.client
    track = write_track(music / "a.wav", 1.0)
    outage.lasts(2)
    for job_id in ("first", "second"):
        await client.submit(track, job_id=job_id, wanted=ALONE)
        job = await waits(client, job_id)
        assert job.state == RUNNING
        await until(lambda: server.app.jobs.running_count == 0)
    assert (server.app.jobs.queued_count, server.app.jobs.retrying_count) == (0, 2)
    assert (await client.info()).queue_depth == 2
    await client.submit(track, job_id="third", wanted=ALONE)
    assert (await client.succeeded("third")).dead_letter is False
    async with client_of(server) as http:
        status = (await http.get("/jobs/first")).json()
        assert status["status"] == "processing"
        stage = next(each for each in status["stages"] if each["stage"] == "loudness")
        assert (stage["status"], stage["error"]["code"]) == ("pending", "BLOB_STORE_UNAVAILABLE")
        assert stage["next_attempt_at"].startswith("20")
        assert 'mismo_jobs{state="retrying"} 2.0' in (await http.get("/metrics")).text
    assert (await client.cancel("first")).state == job_pb2.JOB_STATE_CANCELLED
    await client.delete("second")
    assert (await refused(client.get("second"))).reason == "JOB_NOT_FOUND"
    assert server.app.jobs.retrying_count == 0
    await server.nothing_is_held()


async def test_a_server_stops_at_once_while_a_job_waits_and_the_next_one_waits_for_the_rest(
    start: StartServer, music: Path
) -> None:
    first = await start(**SLOW)
    Outage(first).lasts()
    await first.client.submit(write_track(music / "a.wav", 1.0), job_id="job", wanted=ALONE)
    before = await waits(first.client, "job")
    await until(lambda: first.app.jobs.retrying_count == 1)
    await asyncio.wait_for(first.app.stop(), first.app.settings.grace_seconds)
    second = await start(**SLOW)
    after = await second.client.get("job")
    assert loudness_of(after) == loudness_of(before)
    assert second.app.jobs.retrying_count == 1
    await second.client.cancel("job")


async def test_a_dead_letter_is_listed_with_its_cause_and_its_replay_does_only_what_is_missing(
    start: StartServer, loudness_is_required: None
) -> None:
    server = await start(job_retries=2, **QUICK)
    outage, client = Outage(server), server.client
    outage.lasts()
    async with receiver() as app_server:
        upload = await client.upload(track_bytes(2.0))
        await client.submit(
            job_pb2.Source(upload_id=upload.upload_id),
            job_id="job",
            wanted=BOTH,
            labels={"deck": "a"},
            callback=job_pb2.Callback(url=app_server.url),
        )
        old = await client.ended("job")
        assert (old.state, old.dead_letter, old.error.reason) == (FAILED, True, "BLOB_STORE_UNAVAILABLE")
        assert loudness_of(old).attempts == outage.stage.failures == 3
        told = {post.body["stage"]: post.body["status"] for post in await app_server.received(2)}
        assert told == {"stems": "completed", "loudness": "failed"}
        assert [job.job_id for job in (await client.list(dead_letters=True)).jobs] == ["job"]
        # Its files are for a replay only.
        assert names_of(old) == []
        assert not server.folder("job").exists()
        for call in (
            client.play("job"),
            client.read_stem("job", "bass"),
            client.artifact("job", "stems.zip"),
            client.artifact("job", "loudness.json"),
        ):
            await refused(call)
        async with client_of(server) as http:
            listed = (await http.get("/jobs", params={"dead_letters": "true"})).json()
            (view,) = listed["jobs"]
            assert (view["job_id"], view["dead_letter"]) == ("job", True)
            assert view["error"]["code"] == "BLOB_STORE_UNAVAILABLE"
            assert (await http.get("/jobs", params={"dead_letters": "perhaps"})).status_code == 422
            await server.app.sweeper.sweep()
            assert "mismo_dead_letters 1.0" in (await http.get("/metrics")).text
        assert server.app.sweeper.used_bytes > 4 * 2 * 44_100 * 4
        outage.errors = []
        forwards = server.device.passed
        new = await replay(client, "job", expected_run_id=old.run_id)
        assert new.run_id != old.run_id
        assert (new.revision, dict(new.labels), new.dead_letter) == (old.revision + 1, {"deck": "a"}, False)
        job = await client.succeeded("job")
        posts = await app_server.received(3)
    assert (job.run_id, loudness_of(job).attempts) == (new.run_id, 1)
    assert server.device.passed == forwards, "the stems were made again"
    assert [post.body["stage"] for post in posts[2:]] == ["loudness"]
    assert posts[2].body["status"] == "completed"
    played = await client.play("job")
    assert played.sha256 == list(job.stem_set.sha256)
    assert len(await client.artifact("job", "stems.zip")) > 4 * 2 * 44_100 * 4
    assert (await client.list(dead_letters=True)).jobs == []
    assert (await refused(replay(client, "job"))).reason == "JOB_NOT_REPLAYABLE"
    await until(lambda: not server.app.runs.held_runs)
    await server.nothing_is_held()
    await server.app.runs.removed()
    runs = server.jobs_dir / ".mismo" / "runs"
    assert [path.name for path in runs.iterdir()] == [job.run_id]


async def test_the_stems_of_a_replayed_job_play_while_the_rest_is_done(
    start: StartServer, music: Path, loudness_is_required: None
) -> None:
    server = await start(job_retries=0, **QUICK)
    outage, client = Outage(server), server.client
    outage.lasts(1)
    await client.submit(write_track(music / "a.wav", 2.0), job_id="job", wanted=BOTH)
    assert (await client.ended("job")).dead_letter
    server.hold_decoders()
    new = await replay(client, "job")
    played = await client.play("job", follow=True)
    assert played.info.run_id == new.run_id
    assert all(played.stems)
    server.release_decoders()
    await client.succeeded("job")


async def test_bad_input_is_tried_once_and_its_upload_cannot_be_replayed(
    server: Server, http: httpx2.AsyncClient
) -> None:
    outage, client = Outage(server), server.client
    outage.errors = [CorruptAudioError("noise")]
    upload = await client.upload(track_bytes(1.0))
    await client.submit(job_pb2.Source(upload_id=upload.upload_id), job_id="job", wanted=ALONE)
    job = await client.ended("job")
    assert (job.state, job.dead_letter, loudness_of(job).attempts) == (FAILED, False, 1)
    assert (await client.list(dead_letters=True)).jobs == []
    refusal = await refused(replay(client, "job"))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "JOB_NOT_REPLAYABLE")
    assert "upload the track again" in refusal.message
    answer = await http.post("/jobs/job/replay")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "JOB_NOT_REPLAYABLE")


async def test_a_job_is_replayed_over_http(start: StartServer, music: Path) -> None:
    server = await start(job_retries=0)
    outage, client = Outage(server), server.client
    outage.lasts(1)
    await client.submit(write_track(music / "a.wav", 1.0), job_id="job", wanted=ALONE)
    old = await client.ended("job")
    async with client_of(server) as http:
        answer = await http.post("/jobs/job/replay", params={"expected_run_id": "5" * 32})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "RUN_REPLACED")
        answer = await http.post("/jobs/job/replay", params={"expected_run_id": old.run_id})
        assert answer.status_code == 200, answer.text
        assert answer.json()["run_id"] not in ("", old.run_id)
        assert (answer.json()["dead_letter"], answer.json()["error"]) == (False, None)
        missing = await http.post("/jobs/nobody/replay")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "JOB_NOT_FOUND")
    await client.succeeded("job")
    refusal = await refused(replay(client, ""))
    assert (refusal.reason, refusal.field) == ("INVALID_FIELD", "job_id")


async def test_a_killed_server_counts_on_and_waits_for_the_rest(process: ServerProcess) -> None:
    outage = process.folder / "outage"
    outage.touch()
    process.program = (ROOT / "tests" / "service" / "durability" / "outage_server.py", outage)
    # Longer than a restart takes.
    process.settings = {"job_retry_delay": 15.0}
    client = await process.start()
    await client.submit(write_track(process.music / "a.wav", 1.0), job_id="job", wanted=BOTH)
    before = await waits(client, "job")
    await client.close()
    process.kill()
    client = await process.start()
    after = loudness_of(await client.get("job"))
    assert after == loudness_of(before)
    outage.unlink()
    job = await client.succeeded("job")
    assert loudness_of(job).attempts == 2
    ended = loudness_of(job).end_time.ToNanoseconds()
    assert ended >= after.next_attempt_time.ToNanoseconds()
    assert set(process.forwards("job").values()) == {1}, "the stems were made twice"
    await client.close()

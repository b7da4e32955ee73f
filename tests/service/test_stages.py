"""Jobs of several stages: each has its own result, error, callback and attempts, also over the death of a process."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from mismo.analysis.v1 import job_pb2, stage_pb2
from mismo.analysis.v1 import system_service_pb2 as system_pb2
from mismo_grpc.jobs.job import Stage
from mismo_grpc.stages.analysis import Analysis, AnalysisStage
from tests.service.conftest import Server, StartServer
from tests.support.analyses import crash, crash_once
from tests.support.calls import (
    FAILED,
    PATIENCE,
    SUCCEEDED,
    Client,
    names_of,
    options,
    refused,
    stage_states,
    until,
)
from tests.support.gates import GatedDisk
from tests.support.http import receiver
from tests.support.process import ServerProcess
from tests.support.tracks import RATE, WAVEFORMS, write_track

STEMS, LOUDNESS, DECODE = stage_pb2.STAGE_STEMS, stage_pb2.STAGE_LOUDNESS, stage_pb2.STAGE_DECODE
BOTH = options(stages=[STEMS, LOUDNESS])
ALL_DONE = {"DECODE": "SUCCEEDED", "STEMS": "SUCCEEDED", "WAVEFORMS": "SUCCEEDED", "LOUDNESS": "SUCCEEDED"}


def status_of(job: job_pb2.Job, stage: int) -> stage_pb2.StageStatus:
    return next(status for status in job.stages if status.stage == stage)


async def stage_ended(client: Client, job_id: str, stage: int) -> job_pb2.Job:
    """The job once one of its stages has ended."""
    async for event in client.watch(job_id):
        told = [event.stage] if event.HasField("stage") else list(event.snapshot.stages)
        if any(each.stage == stage and each.state > stage_pb2.STAGE_STATE_RUNNING for each in told):
            return await client.get(job_id)
    raise AssertionError("the watch ended before the stage")


async def test_stems_and_loudness_of_one_track(server: Server, music: Path) -> None:
    await server.client.submit(write_track(music / "a.wav", 4.0), job_id="job", wanted=BOTH)
    events = await server.client.events("job")
    job = events[-1].terminal.job
    assert job.state == SUCCEEDED
    assert stage_states(job) == ALL_DONE
    assert [status.attempts for status in job.stages] == [1, 1, 1, 1]
    loudness = status_of(job, LOUDNESS).loudness
    assert -40 < loudness.integrated_lufs < -10
    assert loudness.sample_peak_dbfs <= loudness.true_peak_dbtp
    assert set(names_of(job)) == {"stems.json", "stems.zip", "loudness.json", *WAVEFORMS}
    fractions = [event.progress.fraction for event in events if event.HasField("progress")]
    assert fractions == sorted(fractions)
    assert fractions[-1] > 0.5 > fractions[0]
    assert job.progress.fraction == 1.0
    await server.nothing_is_held()


async def test_loudness_alone_needs_no_model_and_makes_no_stems(server: Server, music: Path) -> None:
    client, track = server.client, write_track(music / "a.wav", 4.0)
    server.device.close()
    await client.submit(track, job_id="job", wanted=options(stages=[LOUDNESS]))
    job = await client.succeeded("job")
    assert stage_states(job) == {"DECODE": "SUCCEEDED", "LOUDNESS": "SUCCEEDED"}
    assert (job.model, job.progress.segments_total, names_of(job)) == ("", 0, ["loudness.json"])
    assert not job.HasField("stem_set")
    for call in (client.read_stem("job", "bass"), client.play("job"), client.artifact("job", "stems.zip")):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "JOB_NOT_READY")
        assert "STAGE_STEMS" in refusal.message
    assert not server.folder("job").exists()
    again = await client.submit(track, wanted=options(stages=[LOUDNESS]))
    assert again.cache_hit
    assert status_of(again.job, LOUDNESS).loudness == status_of(job, LOUDNESS).loudness
    await server.nothing_is_held()


async def test_who_waits_for_stems_of_a_job_that_makes_none_is_told_while_it_runs(
    server: Server, music: Path
) -> None:
    server.hold_decoders()
    await server.client.submit(
        write_track(music / "a.wav", 1.0), job_id="job", wanted=options(stages=[LOUDNESS])
    )
    refusal = await refused(server.client.play("job", follow=True))
    assert (refusal.reason, "STAGE_STEMS" in refusal.message) == ("JOB_NOT_READY", True)
    server.release_decoders()
    await server.client.succeeded("job")


async def test_an_earlier_result_is_used_again_only_if_it_has_every_asked_stage(
    server: Server, music: Path
) -> None:
    client, track = server.client, write_track(music / "a.wav", 2.0)
    await client.succeeded((await client.submit(track)).job.job_id)
    first = await client.submit(track, wanted=BOTH)
    assert not first.cache_hit
    job = await client.succeeded(first.job.job_id)
    again = await client.submit(track, wanted=BOTH)
    assert again.cache_hit
    assert status_of(again.job, LOUDNESS).loudness == status_of(job, LOUDNESS).loudness
    assert stage_states(again.job) == ALL_DONE
    assert (await client.submit(track)).cache_hit


def replace_the_analysis(server: Server, analysis: Analysis) -> None:
    works = server.app.runner._works
    works[Stage.LOUDNESS] = AnalysisStage(
        Stage.LOUDNESS, server.app.analyses, analysis, fixed_seconds=PATIENCE, times_length=0.0
    )


async def test_a_worker_that_dies_costs_an_attempt(server: Server, music: Path) -> None:
    replace_the_analysis(server, crash_once)
    await server.client.submit(write_track(music / "a.wav", 2.0), job_id="job", wanted=BOTH)
    job = await server.client.succeeded("job")
    assert stage_states(job) == ALL_DONE
    assert [status.attempts for status in job.stages] == [1, 1, 1, 2]
    assert not status_of(job, LOUDNESS).HasField("error")


async def test_a_stage_that_fails_for_good_leaves_the_others_their_results(
    server: Server, music: Path
) -> None:
    replace_the_analysis(server, crash)
    client = server.client
    async with receiver() as app_server:
        callback = job_pb2.Callback(url=app_server.url)
        await client.submit(write_track(music / "a.wav", 2.0), job_id="job", wanted=BOTH, callback=callback)
        job = await client.succeeded("job")
        posts = {post.body["stage"]: post.body for post in await app_server.received(2)}
    assert stage_states(job) == {**ALL_DONE, "LOUDNESS": "FAILED"}
    failed = status_of(job, LOUDNESS)
    assert (failed.error.reason, failed.attempts) == ("ANALYSIS_CRASHED", 3)
    assert not failed.HasField("loudness")
    assert not job.HasField("error")
    assert len(await client.read_stem("job", "bass")) == 2 * RATE * 4
    assert posts["stems"]["status"] == "completed"
    assert (posts["loudness"]["status"], posts["loudness"]["error"]["code"]) == ("failed", "ANALYSIS_CRASHED")
    again = await client.submit(music / "a.wav", wanted=BOTH)
    assert not again.cache_hit
    await client.cancel(again.job.job_id)


async def test_an_undecodable_track_fails_all_stages_and_is_told_for_each(
    server: Server, music: Path
) -> None:
    """It is spoilt after it was accepted."""
    track = write_track(music / "a.wav", 1.0)
    async with receiver() as app_server:
        callback = job_pb2.Callback(url=app_server.url)
        server.hold_decoders()
        await server.client.submit(track, job_id="job", wanted=BOTH, callback=callback)
        track.write_bytes(b"RIFF" + bytes(100))
        server.release_decoders()
        job = await server.client.ended("job")
        assert (job.state, job.error.reason) == (FAILED, status_of(job, DECODE).error.reason)
        assert stage_states(job) == {
            "DECODE": "FAILED",
            "STEMS": "SKIPPED",
            "WAVEFORMS": "SKIPPED",
            "LOUDNESS": "SKIPPED",
        }
        posts = await app_server.received(2)
    assert {post.body["stage"] for post in posts} == {"stems", "loudness"}
    for post in posts:
        assert post.body["status"] == "failed"
        assert post.body["error"]["code"] == job.error.reason


async def test_callbacks_leave_as_their_stages_end(server: Server, music: Path) -> None:
    async with receiver() as app_server:
        server.device.close()
        callback = job_pb2.Callback(url=app_server.url)
        await server.client.submit(
            write_track(music / "a.wav", 2.0), job_id="job", wanted=BOTH, callback=callback
        )
        (first,) = await app_server.received(1)
        assert first.headers["x-mismo-stage"] == first.body["stage"] == "loudness"
        assert first.body["status"] == "completed"
        job = await server.client.get("job")
        assert first.body["data"]["integrated_lufs"] == status_of(job, LOUDNESS).loudness.integrated_lufs
        assert job.state < SUCCEEDED
        server.device.open()
        second = (await app_server.received(2))[1]
        assert second.headers["x-mismo-stage"] == second.body["stage"] == "stems"
        assert second.body["data"]["waveforms"]
        await server.client.succeeded("job")


async def test_stems_can_be_fetched_while_another_stage_goes_on(start: StartServer, music: Path) -> None:
    server = await start(app={"disk": GatedDisk()})
    disk, client = server.app.disk, server.client
    assert isinstance(disk, GatedDisk)
    disk.gate.close()
    await client.submit(write_track(music / "a.wav", 2.0), job_id="job")
    job = await stage_ended(client, "job", STEMS)
    assert job.state < SUCCEEDED
    assert names_of(job) == ["stems.json", "stems.zip"]
    assert list(job.stem_set.sha256)
    assert len(await client.artifact("job", "stems.zip")) > 4 * 2 * RATE * 4
    assert (server.folder("job") / "stems" / "bass.wav").exists()
    played = await client.play("job")
    assert played.sha256 == list(job.stem_set.sha256)
    refusal = await refused(client.artifact("job", "waveform-bass.dat"))
    assert refusal.reason == "JOB_NOT_READY"
    disk.gate.open()
    await client.succeeded("job")
    assert await client.artifact("job", "waveform-bass.dat")


async def test_a_cancelled_job_leaves_nothing_of_what_had_succeeded(start: StartServer, music: Path) -> None:
    server = await start(app={"disk": GatedDisk()})
    disk, client = server.app.disk, server.client
    assert isinstance(disk, GatedDisk)
    disk.gate.close()
    await client.submit(write_track(music / "a.wav", 1.0), job_id="job")
    await disk.gate.someone_waits()
    cancelling = asyncio.create_task(client.cancel("job"))
    await until(lambda: server.app.repository.active["job"].cancelling)
    disk.gate.open()
    job = await cancelling
    assert not job.artifacts
    assert not server.folder("job").is_symlink()
    await server.nothing_is_held()


async def test_a_killed_server_goes_on_with_what_is_missing(process: ServerProcess) -> None:
    client = await process.start()
    track = write_track(process.music / "a.wav", 20.0)
    await client.submit(track, job_id="job", wanted=BOTH)
    before = await stage_ended(client, "job", LOUDNESS)
    await client.close()
    process.signal(signal.SIGKILL)
    await process.exited()
    client = await process.start()
    job = await client.succeeded("job")
    assert stage_states(job) == ALL_DONE
    assert status_of(job, LOUDNESS) == status_of(before, LOUDNESS)
    assert [status.attempts for status in job.stages] == [1, 1, 1, 1]
    await client.close()


async def test_the_stages_are_listed_with_what_they_need(server: Server) -> None:
    answer = await server.client.system.ListStages(system_pb2.ListStagesRequest(), timeout=PATIENCE)
    stages = {info.stage: info for info in answer.stages}
    assert set(stages) == set(stage_pb2.Stage.values()) - {stage_pb2.STAGE_UNSPECIFIED}
    offered = {stage for stage, info in stages.items() if info.available}
    assert offered == set(stages) - {stage_pb2.STAGE_BLOB_UPLOAD}
    assert list(stages[stage_pb2.STAGE_WAVEFORMS].needs) == [STEMS]
    assert list(stages[LOUDNESS].needs) == [DECODE]
    for info in answer.stages:
        assert bool(info.reason) == (not info.available)


@pytest.mark.parametrize(
    ("stages", "code"),
    [
        ([DECODE], "INVALID_ARGUMENT"),
        ([STEMS, stage_pb2.STAGE_BLOB_UPLOAD], "UNIMPLEMENTED"),
        ([stage_pb2.STAGE_ANNOTATION], "INVALID_ARGUMENT"),
    ],
)
async def test_what_has_no_result_or_is_not_offered_is_refused(
    server: Server, music: Path, stages: list[int], code: str
) -> None:
    refusal = await refused(
        server.client.submit(write_track(music / "a.wav", 1.0), wanted=options(stages=stages))
    )
    assert (refusal.code, refusal.field) == (code, "options.stages")

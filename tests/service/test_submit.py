"""What a submit answers: once, again, and where it cannot be served."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from mismo.analysis.v1 import job_pb2, job_service_pb2, stage_pb2, system_service_pb2
from mismo_grpc.orchestration import job_end
from mismo_grpc.results.work_files import Needed
from mismo_grpc.storage.run_files import RunFiles
from tests.service.conftest import Server, StartServer
from tests.support.calls import (
    CANCELLED,
    FLAC,
    HIGH,
    LOW,
    NORMAL,
    PATIENCE,
    PCM_S24LE,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    new_id,
    options,
    refused,
    until,
)
from tests.support.http import receiver
from tests.support.tracks import write_track


async def test_the_same_content_is_not_separated_twice(server: Server, music: Path) -> None:
    client = server.client
    first = await client.submit(write_track(music / "a.wav", 2.0))
    assert not first.cache_hit
    await client.succeeded(first.job.job_id)
    passed = server.device.passed

    again = await client.submit(write_track(music / "other-name.wav", 2.0), job_id="again", labels={"a": "b"})
    assert again.cache_hit
    assert again.job.state == SUCCEEDED
    assert again.job.labels == {"a": "b"}
    assert (await client.events("again"))[-1].terminal.job.state == SUCCEEDED
    assert (await client.play("again")).stems == (await client.play(first.job.job_id)).stems
    assert await client.artifact("again", "stems.zip") == await client.artifact(first.job.job_id, "stems.zip")
    document = json.loads(await client.artifact("again", "stems.json"))
    assert document["job_id"] == "again"

    await client.delete(first.job.job_id)
    assert len(await client.read_stem("again", "bass")) == 2 * 44_100 * 4
    other = await client.submit(music / "a.wav", wanted=options(encoding=PCM_S24LE))
    assert not other.cache_hit
    await client.succeeded(other.job.job_id)
    assert server.device.passed == 2 * passed


async def test_a_track_that_changes_before_it_is_read_is_never_taken_for_what_it_was(
    server: Server, music: Path
) -> None:
    client = server.client
    server.hold_decoders()
    track = write_track(music / "a.wav", 1.0, seed=1)
    await client.submit(track, job_id="job")
    write_track(track, 2.0, seed=2)
    server.release_decoders()
    job = await client.succeeded("job")
    assert job.stem_set.total_frames == 2 * 44_100
    again = await client.submit(write_track(music / "b.wav", 2.0, seed=2))
    assert again.cache_hit
    old = await client.submit(write_track(music / "c.wav", 1.0, seed=1))
    assert not old.cache_hit
    assert (await client.succeeded(old.job.job_id)).stem_set.total_frames == 44_100


async def test_a_repeated_request_gets_the_earlier_answer(server: Server, music: Path) -> None:
    client, request_id = server.client, new_id()
    track = write_track(music / "a.wav", 1.0)
    first = await client.submit(track, request_id=request_id)
    again = await client.submit(track, request_id=request_id.upper())
    assert (first.deduplicated, again.deduplicated) == (False, True)
    assert again.job.job_id == first.job.job_id
    await client.succeeded(first.job.job_id)
    late = await client.submit(track, request_id=request_id)
    assert late.deduplicated
    assert (late.job.job_id, late.job.state) == (first.job.job_id, SUCCEEDED)

    refusal = await refused(client.submit(track, request_id=request_id, priority=HIGH))
    assert (refusal.code, refusal.reason, refusal.field) == (
        "INVALID_ARGUMENT",
        "REQUEST_ID_REUSED",
        "request_id",
    )


async def test_concurrent_submits_of_one_request_make_one_job(server: Server, music: Path) -> None:
    client, request_id = server.client, new_id()
    track = write_track(music / "a.wav", 1.0)
    answers = await asyncio.gather(*(client.submit(track, request_id=request_id) for _ in range(20)))
    assert len({answer.job.job_id for answer in answers}) == 1
    assert sorted(answer.deduplicated for answer in answers) == [False] + [True] * 19
    assert len((await client.list()).jobs) == 1


async def test_a_client_that_leaves_while_its_job_is_stored_leaves_a_job_that_is_done(
    server: Server, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storing, go_on = threading.Event(), threading.Event()
    accept = server.app.store.accept

    def slowly(*arguments: Any) -> None:
        storing.set()
        assert go_on.wait(PATIENCE)
        accept(*arguments)

    monkeypatch.setattr(server.app.store, "accept", slowly)
    source = job_pb2.Source(path=str(write_track(music / "a.wav", 0.5)))
    call = server.client.jobs.SubmitJob(job_service_pb2.SubmitJobRequest(job_id="job", source=source))
    call.add_done_callback(lambda _: None)
    await server.client.info()
    assert await asyncio.to_thread(storing.wait, PATIENCE)
    call.cancel()
    await server.heard(server.client)
    go_on.set()
    await until(lambda: "job" in server.app.repository.active or server.folder("job").exists())
    await server.client.succeeded("job")
    assert await server.client.read_stem("job", "bass")


async def test_a_client_that_leaves_in_the_middle_of_a_submit_leaves_a_whole_job_or_none(
    server: Server, music: Path
) -> None:
    """Cancelled at every stage of a submit; what was stored is worked on, what was not leaves nothing."""
    track = write_track(music / "a.wav", 1.0)
    calls = []
    for index in range(40):
        request = job_service_pb2.SubmitJobRequest(
            job_id=f"job-{index}", source=job_pb2.Source(path=str(track)), labels={"n": str(index)}
        )
        calls.append(server.client.jobs.SubmitJob(request))
        for _ in range(index % 8):
            await asyncio.sleep(0)
    for index, call in enumerate(calls):
        for _ in range(index % 5):
            await asyncio.sleep(0)
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    # What is still under way on the server ends before this does, as accepting takes turns.
    await server.client.submit(track, job_id="last")
    for job in (await server.client.list()).jobs:
        assert (await server.client.ended(job.job_id)).state == SUCCEEDED
    await server.idle()
    folders = {path.name for path in server.jobs_dir.iterdir()} - {".mismo"}
    assert folders == {job.job_id for job in (await server.client.list()).jobs}


async def test_a_job_id_is_one_job_while_it_is_active_and_a_new_run_after(
    server: Server, music: Path
) -> None:
    client, track = server.client, write_track(music / "a.wav", 1.0)
    server.device.close()
    first = await client.submit(track, job_id="deck-a")
    twin = await client.submit(track, job_id="deck-a", request_id=new_id())
    assert twin.deduplicated
    assert twin.job.job_id == "deck-a"
    server.device.open()
    ended = await client.succeeded("deck-a")

    other = await client.submit(write_track(music / "b.wav", 1.5, seed=2), job_id="deck-a")
    assert not other.deduplicated
    assert other.job.revision > ended.revision > first.job.revision
    again = await client.succeeded("deck-a")
    assert again.stem_set.total_frames == 1.5 * 44_100
    assert len((await client.list()).jobs) == 1


async def test_a_job_id_that_is_used_over_and_over_never_loses_its_files(server: Server, music: Path) -> None:
    """The next run begins while the last one tidies up."""
    client = server.client
    for seed in range(12):
        length = 0.3 + seed / 10
        track = write_track(music / f"{seed}.wav", length, seed=seed)
        submitted = await client.submit(track, job_id="deck-a")
        assert not submitted.deduplicated
        if seed % 3 == 1:
            await client.cancel("deck-a")
            submitted = await client.submit(track, job_id="deck-a")
        job = await client.succeeded("deck-a")
        assert job.stem_set.total_frames == round(length * 44_100)
        assert len(await client.read_stem("deck-a", "vocals")) == round(length * 44_100) * 4


async def test_the_next_run_of_a_job_id_waits_until_the_last_has_tidied_up(
    server: Server, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tidying, go_on = threading.Event(), threading.Event()
    remove_needless = job_end.remove_needless

    def slowly(files: RunFiles, needed: Needed) -> None:
        if needed == Needed():
            tidying.set()
            assert go_on.wait(PATIENCE)
        remove_needless(files, needed)

    monkeypatch.setattr(job_end, "remove_needless", slowly)
    await server.client.submit(write_track(music / "a.wav", 0.5), job_id="job")
    await server.client.succeeded("job")
    assert await asyncio.to_thread(tidying.wait, PATIENCE)
    server.device.close()
    again = asyncio.create_task(server.client.submit(write_track(music / "b.wav", 1.0, seed=2), job_id="job"))
    await server.heard(server.client)
    go_on.set()
    await again
    server.device.open()
    job = await server.client.succeeded("job")
    assert job.stem_set.total_frames == 44_100
    assert len(await server.client.read_stem("job", "bass")) == 44_100 * 4


async def test_validate_only_checks_everything_and_starts_nothing(server: Server, music: Path) -> None:
    client, track = server.client, write_track(music / "a.wav", 1.0)
    tried = await client.submit(track, validate_only=True, request_id=new_id())
    assert tried.job.model == "tiny"
    assert not (await client.list()).jobs
    assert {path.name for path in server.jobs_dir.iterdir()} == {".mismo"}
    refusal = await refused(client.submit(music / "none.wav", validate_only=True))
    assert refusal.code == "NOT_FOUND"


async def test_lists_are_paged_and_filtered(server: Server, music: Path) -> None:
    client = server.client
    server.device.close()
    for index in range(7):
        track = write_track(music / f"{index}.wav", 0.5, seed=index)
        labels = {"deck": "AB"[index % 2], "set": "late"}
        await client.submit(track, job_id=f"job-{index}", labels=labels)
    await client.cancel("job-3")

    seen: list[str] = []
    token = ""
    while True:
        page = await client.list(page_size=3, page_token=token)
        seen += [job.job_id for job in page.jobs]
        token = page.next_page_token
        if not token:
            break
        assert len(page.jobs) == 3
    assert seen == [f"job-{index}" for index in reversed(range(7))]

    cancelled = await client.list(states=[CANCELLED])
    assert [job.job_id for job in cancelled.jobs] == ["job-3"]
    both = await client.list(states=[QUEUED, RUNNING], labels={"deck": "B", "set": "late"})
    assert [job.job_id for job in both.jobs] == ["job-5", "job-1"]
    assert not (await client.list(labels={"deck": "C"})).jobs
    for wrong in ({"page_token": "nonsense"}, {"page_size": -1}, {"page_size": 1001}, {"states": [99]}):
        refusal = await refused(client.list(**wrong))
        assert refusal.code == "INVALID_ARGUMENT"
        assert refusal.field == next(iter(wrong))
    server.device.open()


async def test_a_stage_that_needs_a_container_is_refused_by_name(server: Server, music: Path) -> None:
    wanted = job_pb2.JobOptions(stages=["STAGE_STEMS", "STAGE_BLOB_UPLOAD"])
    refusal = await refused(server.client.submit(write_track(music / "a.wav"), wanted=wanted))
    assert (refusal.code, refusal.reason, refusal.field) == (
        "UNIMPLEMENTED",
        "NOT_SUPPORTED_YET",
        "options.stages",
    )
    assert "BLOB_CONTAINER_NAME" in refusal.message


async def test_generation_options_need_their_stage(server: Server, music: Path) -> None:
    wanted = job_pb2.JobOptions(generation=stage_pb2.GenerationOptions(target_stems=["bass"]))
    refusal = await refused(server.client.submit(write_track(music / "a.wav"), wanted=wanted))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", "options.generation")


async def test_a_blob_of_no_container_is_refused(server: Server) -> None:
    blob = job_pb2.Source(blob_uri="s3://bucket/a.wav")
    refusal = await refused(server.client.submit(blob))
    assert (refusal.code, refusal.field) == ("PERMISSION_DENIED", "source.blob_uri")


async def test_a_callback_of_a_job_that_came_by_grpc(server: Server, music: Path) -> None:
    track = write_track(music / "a.wav")
    async with receiver() as app_server:
        callback = job_pb2.Callback(url=app_server.url)
        job = (await server.client.submit(track, callback=callback)).job
        (post,) = await app_server.received()
    assert (post.body["job_id"], post.body["status"]) == (job.job_id, "completed")
    assert post.body["data"]["stems"]["bass"] == f"/jobs/{job.job_id}/stems/bass.wav"


@pytest.mark.parametrize("url", ["", "ftp://host/", "http://169.254.169.254/", "http://[fe80::1]/"])
async def test_callbacks_that_go_nowhere(server: Server, music: Path, url: str) -> None:
    call = server.client.submit(write_track(music / "a.wav"), callback=job_pb2.Callback(url=url))
    refusal = await refused(call)
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", "callback.url")


@pytest.mark.parametrize(
    ("wanted", "field", "code"),
    [
        ({"model": "kazoo"}, "options.stems.model", "FAILED_PRECONDITION"),
        ({"model": "htdemucs_ft"}, "options.stems.model", "FAILED_PRECONDITION"),
        ({"model": "../tiny"}, "options.stems.model", "FAILED_PRECONDITION"),
        ({"stem_names": ["kazoo"]}, "options.stems.stem_names", "INVALID_ARGUMENT"),
        ({"stem_names": ["bass", "bass"]}, "options.stems.stem_names", "INVALID_ARGUMENT"),
        ({"two_stems": "kazoo"}, "options.stems.two_stems", "INVALID_ARGUMENT"),
        ({"two_stems": "bass", "stem_names": ["bass"]}, "options.stems.two_stems", "INVALID_ARGUMENT"),
        ({"encoding": 99}, "options.stems.output.encoding", "INVALID_ARGUMENT"),
        ({"encoding": FLAC}, "options.stems.output.encoding", "INVALID_ARGUMENT"),
        ({"sample_rate": -1}, "options.stems.output.sample_rate", "INVALID_ARGUMENT"),
        ({"sample_rate": 7}, "options.stems.output.sample_rate", "INVALID_ARGUMENT"),
        ({"playhead": -1.0}, "options.stems.playhead", "INVALID_ARGUMENT"),
        ({"playhead": 2.0}, "options.stems.playhead", "INVALID_ARGUMENT"),
        ({"playhead": 1e9}, "options.stems.playhead", "INVALID_ARGUMENT"),
        ({"shifts": -1}, "options.stems.shifts", "INVALID_ARGUMENT"),
        ({"shifts": 21}, "options.stems.shifts", "INVALID_ARGUMENT"),
        ({"overlap": 1.0}, "options.stems.overlap", "INVALID_ARGUMENT"),
        ({"overlap": -0.1}, "options.stems.overlap", "INVALID_ARGUMENT"),
        ({"overlap": float("nan")}, "options.stems.overlap", "INVALID_ARGUMENT"),
    ],
)
async def test_a_wrong_option_is_refused_by_name(
    server: Server, music: Path, wanted: dict[str, object], field: str, code: str
) -> None:
    refusal = await refused(server.client.submit(write_track(music / "a.wav", 1.0), wanted=options(**wanted)))
    assert (refusal.code, refusal.field) == (code, field)
    assert not (await server.client.list()).jobs


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"request_id": "not a uuid"}, "request_id"),
        ({"job_id": "../escape"}, "job_id"),
        ({"job_id": ".."}, "job_id"),
        ({"job_id": ".mismo"}, "job_id"),
        ({"job_id": "x" * 129}, "job_id"),
        ({"priority": 9}, "priority"),
        ({"labels": {"": "x"}}, "labels"),
        ({"labels": {"x": "y" * 257}}, "labels"),
        ({"result_ttl": {"seconds": -1}}, "result_ttl"),
    ],
)
async def test_a_wrong_field_is_refused_by_name(
    server: Server, music: Path, fields: dict[str, Any], field: str
) -> None:
    refusal = await refused(server.client.submit(write_track(music / "a.wav", 1.0), **fields))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", field)
    assert not (await server.client.list()).jobs


async def test_a_full_queue_asks_to_come_back(start: StartServer, music: Path) -> None:
    server = await start(queue_capacity=2)
    client, track = server.client, write_track(music / "a.wav", 0.5)
    server.device.close()
    await client.submit(track, job_id="one")
    await client.submit(track, job_id="two")
    refusal = await refused(client.submit(track, job_id="three"))
    assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
    assert refusal.retry_seconds is not None
    assert refusal.retry_seconds > 0
    assert not server.folder("three").exists()
    assert (await client.submit(track, job_id="two")).deduplicated
    info = await client.info()
    assert (info.queue_depth, info.queue_capacity) == (2, 2)
    server.device.open()
    await client.succeeded("one")
    await client.submit(track, job_id="three")
    await client.succeeded("three")


async def test_a_model_that_is_not_there_is_replaced_and_everyone_is_told(
    start: StartServer, music: Path
) -> None:
    server = await start(model="htdemucs_6s")
    client = server.client
    submitted = await client.submit(write_track(music / "a.wav", 1.0))
    job = await client.succeeded(submitted.job.job_id)
    assert (job.model, job.fallback_from) == ("mismo_lite", "htdemucs_6s")
    assert any("htdemucs_6s" in warning for warning in job.warnings)
    document = json.loads(await client.artifact(job.job_id, "stems.json"))
    assert (document["model"], document["fallback_from"]) == ("mismo_lite", "htdemucs_6s")
    assert (await client.info()).default_model == "mismo_lite"
    models = await client.system.ListModels(system_service_pb2.ListModelsRequest())
    by_name = {model.name: model for model in models.models}
    assert by_name["htdemucs_6s"].state == system_service_pb2.MODEL_STATE_UNAVAILABLE
    assert "MISMO_MODEL_DIRS" in by_name["htdemucs_6s"].reason
    assert by_name["mismo_lite"].state == system_service_pb2.MODEL_STATE_WARM
    assert by_name["mismo_lite"].is_default
    # Asked for by name it is an error that says how to get it.
    refusal = await refused(client.submit(music / "a.wav", wanted=options(model="htdemucs_6s")))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "MODEL_UNAVAILABLE")
    assert "MISMO_MODEL_DIRS" in refusal.message


async def test_a_broken_model_breaks_nothing_else(
    start: StartServer, models: Path, tmp_path: Path, music: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "half.yaml").write_text("models: [abc")
    (broken / "empty.yaml").write_text("")
    (broken / "bare.yaml").write_text("models: [nowhere]\n")
    (broken / "cut.yaml").write_text("models: [cut]\n")
    (broken / "cut.safetensors").write_bytes(b"\x10")
    (broken / "liar.yaml").write_text("models: [abc]\n")
    (broken / "abc.th").write_bytes(b"no weights")
    server = await start(model_dirs=[broken, models])
    client, track = server.client, write_track(music / "a.wav", 0.5)
    listed = await client.system.ListModels(system_service_pb2.ListModelsRequest())
    states = {model.name: model.state for model in listed.models}
    for name in ("half", "empty", "bare", "cut"):
        assert states[name] == system_service_pb2.MODEL_STATE_UNAVAILABLE
        refusal = await refused(client.submit(track, wanted=options(model=name)))
        assert (refusal.code, refusal.field) == ("FAILED_PRECONDITION", "options.stems.model")
        assert str(broken) not in refusal.message
    submitted = await client.submit(track, wanted=options(model="liar"))
    job = await client.ended(submitted.job.job_id)
    assert (job.state, job.error.reason) == (job_pb2.JOB_STATE_FAILED, "MODEL_LOAD_FAILED")
    await client.succeeded((await client.submit(track)).job.job_id)


async def test_priorities_are_what_was_asked(server: Server, music: Path) -> None:
    track = write_track(music / "a.wav", 0.5)
    server.device.close()
    for name, priority, expected in (("d", 0, NORMAL), ("l", LOW, LOW), ("h", HIGH, HIGH)):
        job = (await server.client.submit(track, job_id=name, priority=priority)).job
        assert job.priority == expected
    assert (await server.client.update("l", priority=HIGH)).priority == HIGH
    server.device.open()


async def test_more_segments_than_a_job_may_have_are_refused_at_submit(server: Server, music: Path) -> None:
    track = write_track(music / "long.wav", 60.0)
    refusal = await refused(server.client.submit(track, wanted=options(overlap=0.95, shifts=20)))
    assert (refusal.code, refusal.reason, refusal.field) == (
        "INVALID_ARGUMENT",
        "INVALID_FIELD",
        "options.stems.overlap",
    )
    assert int(refusal.metadata["segments"]) > int(refusal.metadata["max_segments"])
    assert "shifts" in refusal.message
    assert not (await server.client.list()).jobs
    await server.nothing_is_held()

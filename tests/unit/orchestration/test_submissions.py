"""A submit becomes one job, whole, or none: repeated, at once with another, and while the world changes under it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from mismo_grpc.errors import (
    InvalidFieldError,
    JobIdActiveError,
    QueueFullError,
    RequestIdReusedError,
    ServerDrainingError,
    SourceNotFoundError,
    UploadNotFoundError,
)
from mismo_grpc.jobs.events import EventKind
from mismo_grpc.jobs.job import (
    Delivery,
    JobOptions,
    JobState,
    Source,
    SourceKind,
    Stage,
    StageState,
    StemOptions,
)
from mismo_grpc.jobs.repository import ActiveJob
from mismo_grpc.orchestration.submissions import Submissions, same_options
from mismo_grpc.results.run_recovery import Recovered, recover_runs
from tests.unit.orchestration.desk import PATIENCE, SubmitDesk
from tests.unit.orchestration.place import NOW

TIME_TO_OVERTAKE = 0.2

# Deduplication


async def test_a_submit_is_stored_before_it_is_answered(desk: SubmitDesk) -> None:
    submitted = await desk.submissions.submit(desk.request(desk.track(), job_id="a"))
    assert not submitted.deduplicated
    assert desk.store.get("a") == submitted.job
    assert (submitted.job.state, submitted.job.revision) == (JobState.QUEUED, 1)
    assert submitted.job.source_sha256


async def test_a_request_id_is_one_job(desk: SubmitDesk) -> None:
    request = desk.request(desk.track(), request_id=str(uuid.uuid4()))
    first = await desk.submissions.submit(request)
    again = await desk.submissions.submit(request)
    assert (again.job, again.deduplicated) == (first.job, True)
    with pytest.raises(RequestIdReusedError) as caught:
        await desk.submissions.submit(replace(request, fingerprint="another"))
    assert caught.value.field == "request_id"


async def test_an_active_job_id_is_its_job_from_any_place_that_holds_the_same_content(
    desk: SubmitDesk,
) -> None:
    track = desk.track()
    first = await desk.submissions.submit(desk.request(track, job_id="a"))
    copy = desk.request(desk.track("copy.wav"), job_id="a")
    upload = replace(await desk.upload(track), job_id="a")
    moved = replace(copy, options=JobOptions(stems=StemOptions(playhead=0.25)))
    for request in (copy, upload, moved, replace(copy, validate_only=True)):
        again = await desk.submissions.submit(request)
        assert (again.job, again.deduplicated) == (first.job, True)
    assert desk.run_folders() == set()


async def test_an_active_job_id_takes_no_other_content(desk: SubmitDesk) -> None:
    track, other = desk.track(), desk.track("b.wav", seed=2)
    first = await desk.submissions.submit(desk.request(track, job_id="a"))
    wanted = desk.request(track, job_id="a", options=JobOptions(stems=StemOptions(shifts=1)))
    upload = replace(await desk.upload(other), job_id="a")
    # A new mtime, and another content behind the same path.
    desk.track(seed=3)
    for request in (desk.request(other, job_id="a"), upload, wanted, desk.request(track, job_id="a")):
        with pytest.raises(JobIdActiveError, match="wait for it, cancel it, or choose another") as caught:
            await desk.submissions.submit(request)
        assert caught.value.metadata["run_id"] == first.job.run_id
    assert desk.store.list() == [first.job]


async def test_a_request_that_met_an_active_job_is_remembered(desk: SubmitDesk) -> None:
    first = await desk.submissions.submit(desk.request(desk.track(), job_id="a"))
    twin = desk.request(desk.track(), job_id="a", request_id=str(uuid.uuid4()))
    await desk.submissions.submit(twin)
    await desk.held.end("a")
    again = await desk.submissions.submit(twin)
    assert (again.job.run_id, again.job.state) == (first.job.run_id, JobState.FAILED)


async def test_a_request_that_was_refused_is_not_remembered(desk: SubmitDesk) -> None:
    await desk.submissions.submit(desk.request(desk.track(), job_id="a"))
    other = desk.request(desk.track("b.wav", seed=2), job_id="a", request_id=str(uuid.uuid4()))
    with pytest.raises(JobIdActiveError):
        await desk.submissions.submit(other)
    await desk.held.end("a")
    assert not (await desk.submissions.submit(other)).deduplicated


async def test_an_active_job_whose_file_is_gone_is_still_that_job(desk: SubmitDesk) -> None:
    track = desk.track()
    first = await desk.submissions.submit(desk.request(track, job_id="a"))
    track.unlink()
    assert (await desk.submissions.submit(desk.request(track, job_id="a"))).job == first.job
    with pytest.raises(SourceNotFoundError):
        await desk.submissions.submit(desk.request(track.with_name("never.wav"), job_id="a"))
    never = replace(desk.request(track, job_id="a"), source=Source(SourceKind.UPLOAD, "never"))
    with pytest.raises(UploadNotFoundError):
        await desk.submissions.submit(never)


async def test_an_ended_job_id_gets_a_new_run_with_a_higher_revision(desk: SubmitDesk) -> None:
    first = await desk.submissions.submit(desk.request(desk.track(), job_id="a"))
    await desk.held.end("a")
    other = await desk.submissions.submit(desk.request(desk.track("b.wav", seed=2), job_id="a"))
    assert not other.deduplicated
    assert other.job.run_id != first.job.run_id
    assert other.job.revision > first.job.revision


async def test_a_deleted_job_answers_its_request_id(desk: SubmitDesk) -> None:
    request = desk.request(desk.track(), job_id="a", request_id=str(uuid.uuid4()))
    await desk.submissions.submit(request)
    await desk.held.end("a")
    ended = desk.store.get("a")
    assert ended is not None
    desk.store.delete("a", 2_000.0)
    again = await desk.submissions.submit(request)
    assert again.deduplicated
    assert again.job == replace(ended, deleted_at=2_000.0)
    desk.store.forget_requests(NOW + 1)
    assert not (await desk.submissions.submit(request)).deduplicated


@pytest.mark.parametrize(
    ("asked", "same"),
    [
        (StemOptions(playhead=3.0), True),
        (StemOptions(model="mismo_lite"), True),
        (StemOptions(model="htdemucs"), False),
        (StemOptions(stem_names=("bass", "drums")), False),
        (StemOptions(shifts=1), False),
        (StemOptions(overlap=0.5), False),
        (StemOptions(sample_rate=22_050), False),
    ],
)
async def test_options_are_the_same_whatever_the_playhead_and_whoever_named_the_model(
    desk: SubmitDesk, asked: StemOptions, same: bool
) -> None:
    job = (await desk.submissions.submit(desk.request(desk.track()))).job
    assert same_options(job, JobOptions(stems=asked)) is same
    pair = replace(job, options=JobOptions(stems=StemOptions(stem_names=("drums", "bass"))))
    assert same_options(pair, JobOptions(stems=asked)) is (asked.stem_names == ("bass", "drums"))


# Races


async def test_two_submits_of_one_job_id_at_once_are_one_job(desk: SubmitDesk) -> None:
    desk.checksum.closed_for = {"_sha256"}
    track, copy = desk.track(), desk.track("copy.wav")
    requests = [desk.request(path, job_id="a") for path in (track, copy)]
    submits = [asyncio.create_task(desk.submissions.submit(request)) for request in requests]
    await desk.checksum.waiting(2)
    await desk.checksum.open()
    first, second = await asyncio.wait_for(asyncio.gather(*submits), PATIENCE)
    assert first.job == second.job
    assert sorted((first.deduplicated, second.deduplicated)) == [False, True]
    await desk.runs.removed()


async def test_of_two_submits_of_one_job_id_with_other_content_at_once_one_is_refused(
    desk: SubmitDesk,
) -> None:
    desk.checksum.closed_for = {"_sha256"}
    requests = [
        replace(await desk.upload(desk.track()), job_id="a"),
        desk.request(desk.track("b.wav", seed=2), job_id="a"),
    ]
    second = asyncio.create_task(desk.submissions.submit(requests[1]))
    await desk.checksum.waiting(1)
    first = await desk.submissions.submit(requests[0])
    await desk.checksum.open()
    with pytest.raises(JobIdActiveError):
        await asyncio.wait_for(second, PATIENCE)
    await desk.runs.removed()
    assert desk.run_folders() == {first.job.run_id}
    assert desk.runs.files(first.job.run_id).source.exists()


async def test_a_request_id_that_comes_twice_at_once_makes_one_job(desk: SubmitDesk) -> None:
    desk.checksum.closed_for = {"_sha256"}
    request = desk.request(desk.track(), request_id=str(uuid.uuid4()))
    submits = [asyncio.create_task(desk.submissions.submit(request)) for _ in range(2)]
    await desk.checksum.waiting(2)
    await desk.checksum.open()
    first, second = await asyncio.wait_for(asyncio.gather(*submits), PATIENCE)
    assert first.job == second.job
    assert len(desk.store.list()) == 1


async def test_a_job_id_that_is_free_again_while_its_content_is_compared_gets_a_new_run(
    desk: SubmitDesk,
) -> None:
    first = await desk.submissions.submit(desk.request(desk.track(), job_id="a"))
    desk.checksum.closed_for = {"_sha256"}
    other = desk.request(desk.track("b.wav", seed=2), job_id="a")
    submit = asyncio.create_task(desk.submissions.submit(other))
    await desk.checksum.waiting(1)
    await desk.held.end("a")
    await desk.checksum.open()
    submitted = await asyncio.wait_for(submit, PATIENCE)
    assert not submitted.deduplicated
    assert submitted.job.run_id != first.job.run_id


async def test_a_request_that_joins_a_job_just_as_that_is_deleted_is_remembered(
    desk: SubmitDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await desk.submissions.submit(desk.request(desk.track(), job_id="a"))
    twin = desk.request(desk.track("copy.wav"), job_id="a", request_id=str(uuid.uuid4()))
    write, deletes = desk.repository.write, list[asyncio.Task[None]]()

    async def write_slowly(function: Callable[..., Any], *arguments: Any) -> Any:
        """A request_id is stored late enough for a delete to overtake it."""
        if function == desk.store.put_request:
            deletes.append(asyncio.create_task(desk.changes().delete("a")))
            await asyncio.wait(deletes, timeout=TIME_TO_OVERTAKE)
        return await write(function, *arguments)

    monkeypatch.setattr(desk.repository, "write", write_slowly)
    joined = await asyncio.wait_for(desk.submissions.submit(twin), PATIENCE)
    await asyncio.wait_for(deletes[0], PATIENCE)
    assert desk.store.get("a") is None
    again = await desk.submissions.submit(twin)
    assert (joined.job.run_id, again.job.run_id) == (first.job.run_id, first.job.run_id)
    assert again.job.deleted_at == NOW


# Earlier results


async def test_an_earlier_result_is_used_again(desk: SubmitDesk) -> None:
    await desk.submissions.submit(desk.request(desk.track(), job_id="a"))
    earlier = await desk.succeed("a")
    again = await desk.submissions.submit(desk.request(desk.track("copy.wav"), job_id="b"))
    assert again.cache_hit
    assert again.job.state is JobState.SUCCEEDED
    assert again.job.stem_sha256 == earlier.stem_sha256
    assert [artifact.name for artifact in again.job.artifacts] == ["stems.json", "stems.zip"]
    assert desk.runs.linked("b") == again.job.run_id
    assert "b" not in desk.repository.active
    other = desk.request(desk.track(), job_id="c", options=JobOptions(stems=StemOptions(shifts=1)))
    assert not (await desk.submissions.submit(other)).cache_hit


async def test_callbacks_of_an_earlier_result_that_is_copied_again_are_sent_at_once(desk: SubmitDesk) -> None:
    await desk.submissions.submit(desk.request(desk.track(), job_id="a"))
    earlier = await desk.succeed("a")
    desk.submissions = Submissions(
        desk.repository, desk.queue, desk.place.admission(has_container=True), desk.runs, desk.uploads, 3
    )
    linked: list[str | None] = []
    # As the outbox does, which sends what it finds then; a client may read the path in it at once.
    desk.repository.on_callbacks.append(lambda: linked.append(desk.runs.linked("b")))
    request = desk.request(desk.track(), job_id="b", delivery=Delivery("http://127.0.0.1:1/callback"))
    again = (await desk.submissions.submit(request)).job
    assert again.state is JobState.QUEUED
    assert again.stem_sha256 == earlier.stem_sha256
    assert [row.stage for row in desk.store.callbacks_of("b")] == ["stems"]
    assert linked == [again.run_id]
    assert "b" in desk.repository.active


async def ended_without_files(desk: SubmitDesk, job_id: str) -> ActiveJob:
    """Ends a job as one that only analysed its track."""
    active = desk.repository.active[job_id]
    stages = tuple(replace(status, state=StageState.SUCCEEDED) for status in active.job.stages)
    ended = replace(active.job, state=JobState.SUCCEEDED, ended_at=NOW, expires_at=NOW + 3600, stages=stages)
    await desk.repository.record(active, lambda _: ended, EventKind.TERMINAL)
    if active.task is not None:
        active.task.cancel()
    return active


async def test_the_folder_of_a_run_without_files_goes_with_the_next_run(desk: SubmitDesk) -> None:
    """It has no link that the next run could replace."""
    loudness = JobOptions(stages=(Stage.LOUDNESS,))
    await desk.submissions.submit(desk.request(desk.track(), job_id="a", options=loudness))
    first = (await ended_without_files(desk, "a")).job
    desk.runs.files(first.run_id).folder.mkdir(parents=True)
    again = await desk.submissions.submit(desk.request(desk.track(), job_id="a", options=loudness))
    assert again.cache_hit
    await desk.runs.removed()
    assert desk.run_folders() == {again.job.run_id}


async def test_an_earlier_result_without_files_leaves_the_stems_of_an_earlier_run(desk: SubmitDesk) -> None:
    await desk.submissions.submit(desk.request(desk.track(), job_id="a"))
    stems = await desk.succeed("a")
    await desk.runs.publish("a", stems.run_id)
    loudness = JobOptions(stages=(Stage.LOUDNESS,))
    await desk.submissions.submit(desk.request(desk.track(), job_id="b", options=loudness))
    active = await ended_without_files(desk, "b")
    again = await desk.submissions.submit(desk.request(desk.track(), job_id="a", options=loudness))
    assert again.cache_hit
    await desk.runs.removed()
    assert desk.runs.linked("a") == stems.run_id
    assert desk.runs.files(stems.run_id).stems_json.exists()
    desk.runs.files(active.job.run_id).folder.mkdir()
    with capture_logs() as logs:
        assert recover_runs(desk.runs, desk.store.standing_runs()) == Recovered()
    assert logs == []


@pytest.mark.parametrize("change", ["deleted", "replaced"])
async def test_an_earlier_result_that_goes_while_it_is_taken_over_is_made_anew(
    desk: SubmitDesk, change: str
) -> None:
    await desk.submissions.submit(desk.request(desk.track(), job_id="a"))
    await desk.succeed("a")
    desk.checksum.closed_for = {"take_over_result"}
    submit = asyncio.create_task(desk.submissions.submit(desk.request(desk.track("copy.wav"), job_id="b")))
    await desk.checksum.waiting(1)
    if change == "deleted":
        desk.store.delete("a", 2_000.0)
    else:
        await desk.submissions.submit(desk.request(desk.track("other.wav", seed=2), job_id="a"))
    await desk.checksum.open()
    submitted = await asyncio.wait_for(submit, PATIENCE)
    assert not submitted.cache_hit
    assert submitted.job.state is JobState.QUEUED
    assert "b" in desk.repository.active
    await desk.runs.removed()
    assert submitted.job.run_id not in desk.run_folders(), "a path source has no files before it is decoded"


async def test_a_damaged_result_is_made_anew(desk: SubmitDesk) -> None:
    await desk.submissions.submit(desk.request(desk.track(), job_id="a"))
    earlier = await desk.succeed("a")
    desk.runs.files(earlier.run_id).stem("bass").write_bytes(b"")
    again = await desk.submissions.submit(desk.request(desk.track(), job_id="b"))
    assert not again.cache_hit


# What is refused


async def test_a_full_queue_refuses_new_jobs_until_one_has_ended(desk: SubmitDesk) -> None:
    for job_id in "abc":
        await desk.submissions.submit(desk.request(desk.track(), job_id=job_id))
    more = desk.request(desk.track(), job_id="d")
    with pytest.raises(QueueFullError, match="3 jobs") as caught:
        await desk.submissions.submit(more)
    assert caught.value.retry_after
    assert (await desk.submissions.submit(desk.request(desk.track(), job_id="a"))).deduplicated
    tried = await desk.submissions.submit(replace(more, validate_only=True))
    assert tried.job.job_id == "d"
    await desk.held.end("a")
    assert not (await desk.submissions.submit(more)).deduplicated


async def test_the_last_place_in_the_queue_goes_to_one_of_two(desk: SubmitDesk) -> None:
    for job_id in "ab":
        await desk.submissions.submit(desk.request(desk.track(), job_id=job_id))
    desk.checksum.closed_for = {"_sha256"}
    submits = [
        asyncio.create_task(desk.submissions.submit(desk.request(desk.track(), job_id=job_id)))
        for job_id in "cd"
    ]
    await desk.checksum.waiting(2)
    await desk.checksum.open()
    async with asyncio.timeout(PATIENCE):
        outcomes = await asyncio.gather(*submits, return_exceptions=True)
    assert sum(isinstance(outcome, QueueFullError) for outcome in outcomes) == 1
    assert len(desk.repository.active) == 3


async def test_a_server_that_stops_takes_no_jobs_not_even_those_it_has_begun_to_check(
    desk: SubmitDesk,
) -> None:
    desk.checksum.closed_for = {"_sha256"}
    submit = asyncio.create_task(desk.submissions.submit(desk.request(desk.track(), job_id="a")))
    await desk.checksum.waiting(1)
    desk.submissions.closed = True
    await desk.checksum.open()
    with pytest.raises(ServerDrainingError):
        await asyncio.wait_for(submit, PATIENCE)
    with pytest.raises(ServerDrainingError):
        await desk.submissions.submit(desk.request(desk.track(), job_id="b"))
    assert desk.store.list() == []


async def test_what_is_only_tried_leaves_nothing(desk: SubmitDesk) -> None:
    request = desk.request(desk.track(), job_id="a", request_id=str(uuid.uuid4()), validate_only=True)
    tried = await desk.submissions.submit(request)
    assert tried.job.job_id == "a"
    assert desk.store.list() == []
    assert desk.store.find_request(request.request_id) is None
    late = replace(request, options=JobOptions(stems=StemOptions(playhead=0.6)))
    with pytest.raises(InvalidFieldError) as caught:
        await desk.submissions.submit(late)
    assert caught.value.field == "options.stems.playhead"


async def test_an_upload_is_in_the_runs_folder_when_its_job_is_accepted(desk: SubmitDesk) -> None:
    track = desk.track()
    request = await desk.upload(track)
    job = (await desk.submissions.submit(request)).job
    await desk.uploads.discard(request.source.location)
    assert desk.runs.files(job.run_id).source.read_bytes() == track.read_bytes()

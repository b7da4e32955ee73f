"""Replays of failed jobs: what the new run keeps, what it does again, and what cannot be replayed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from mismo_grpc.analysis.loudness import LoudnessResult
from mismo_grpc.audio.encode import Encoding
from mismo_grpc.errors import (
    DiskFullError,
    JobNotFoundError,
    JobNotReplayableError,
    QueueFullError,
    RunReplacedError,
    ServerDrainingError,
)
from mismo_grpc.jobs.callbacks import CallbackState
from mismo_grpc.jobs.events import EventKind
from mismo_grpc.jobs.job import (
    Delivery,
    Job,
    JobFailure,
    JobOptions,
    JobState,
    Source,
    SourceKind,
    Stage,
    StageState,
    StageStatus,
    StoredBlob,
)
from mismo_grpc.orchestration.replay import Replays
from mismo_grpc.results.artifacts import artifacts_of, digest_stem, stems_document, write_stems_json
from mismo_grpc.results.documents import document_artifact
from mismo_grpc.results.run_recovery import recover_runs
from mismo_grpc.separation.stems import StemLayout
from tests.unit.orchestration.desk import HEADER_BYTES, STEM_BYTES, SubmitDesk
from tests.unit.orchestration.place import NOW

DECODE, STEMS, WAVEFORMS, LOUDNESS = Stage.DECODE, Stage.STEMS, Stage.WAVEFORMS, Stage.LOUDNESS
SUCCEEDED, FAILED, PENDING = StageState.SUCCEEDED, StageState.FAILED, StageState.PENDING
AWAY = JobFailure("UNAVAILABLE", "BLOB_STORE_UNAVAILABLE", "the container is away", retryable=True)
SPOILT = JobFailure("INVALID_ARGUMENT", "CORRUPT_AUDIO", "noise")
NAMES = ("drums", "bass")
RESULT = LoudnessResult(-9.0, 4.0, -8.0, -8.5, -1.5, -1.0)


class Office:
    """The desk, with what replays the jobs that failed there."""

    def __init__(self, desk: SubmitDesk) -> None:
        self.desk = desk
        self.runs, self.repository, self.store = desk.runs, desk.repository, desk.store
        self.replays = Replays(
            desk.repository,
            desk.queue,
            desk.runs,
            check_room=desk.submissions.check_room,
            resolve=desk.place.sources().resolve,
            in_thread=asyncio.to_thread,
        )

    async def submitted(self, *asked: Stage, upload: bool = False, **fields: Any) -> Job:
        track = self.desk.track()
        request = await self.desk.upload(track) if upload else self.desk.request(track)
        options = JobOptions(asked)
        fields.setdefault("job_id", "job")
        return (await self.desk.submissions.submit(replace(request, options=options, **fields))).job

    async def failed(
        self, job: Job, done: Sequence[Stage] = (), failure: JobFailure = AWAY, **changes: Any
    ) -> Job:
        """The job as it failed after these stages had succeeded, with their files if it is a dead letter."""
        active = self.repository.active[job.job_id]
        stages = tuple(
            StageStatus(s.stage, SUCCEEDED, 1.0, 2.0, attempts=2)
            if s.stage in done
            else StageStatus(s.stage, FAILED, 1.0, 2.0, error=failure, attempts=3)
            for s in job.stages
        )
        job = replace(job, stages=stages)
        if LOUDNESS in done:
            job = job.with_stage(replace(job.stage(LOUDNESS), result=RESULT, version="1"))
            job = replace(job, artifacts=(document_artifact(job, "loudness.json"),))
        if STEMS in done:
            job = self._with_stems(job, with_waveforms=WAVEFORMS in done)
        dead = failure.retryable
        ended = replace(
            job,
            state=JobState.FAILED,
            ended_at=NOW,
            expires_at=NOW + 3600,
            error=failure,
            dead_letter=dead,
            result_bytes=1000 if dead else 0,
            **changes,
        )
        await self.repository.record(active, lambda _: ended, EventKind.TERMINAL)
        if active.task is not None:
            active.task.cancel()
            await asyncio.wait([active.task])
        if not dead:
            self.runs.discard(job.run_id)
            await self.runs.removed()
        return active.job

    def _with_stems(self, job: Job, *, with_waveforms: bool) -> Job:
        layout = StemLayout(NAMES, 44_100, 2, STEM_BYTES // 4, Encoding.PCM_S16LE)
        job, files = replace(job, layout=layout), self.runs.files(job.run_id)
        files.stems.mkdir(parents=True, exist_ok=True)
        for index, name in enumerate(NAMES):
            files.stem(name).write_bytes(bytes([index]) * (HEADER_BYTES + STEM_BYTES))
        stems = [digest_stem(name, files.stem(name), HEADER_BYTES, STEM_BYTES) for name in NAMES]
        write_stems_json(files, stems_document(job, stems, {}))
        waveforms: dict[str, str] = {}
        if with_waveforms:
            for name in NAMES:
                for suffix in ("dat", "json"):
                    path = files.artifact(f"waveform-{name}.{suffix}")
                    path.write_bytes(name.encode())
                    waveforms[path.name] = digest_stem(name, path, 0, 0).sha256
        return replace(
            job,
            artifacts=(*artifacts_of(files, stems, waveforms), *job.artifacts),
            stem_sha256=tuple(stem.pcm_sha256 for stem in stems),
            segments_done=3,
            segments_total=3,
            time_to_first_audio=1.0,
        )

    async def dead_letter(self, **fields: Any) -> Job:
        """A job whose stems and waveforms are finished, and whose loudness was not measured."""
        return await self.failed(
            await self.submitted(STEMS, LOUDNESS, **fields), done=(DECODE, STEMS, WAVEFORMS)
        )


@pytest.fixture
def office(desk: SubmitDesk) -> Office:
    return Office(desk)


def states(job: Job) -> dict[str, str]:
    return {status.stage.name: status.state.name for status in job.stages}


async def test_a_replay_is_a_new_run_that_keeps_what_had_succeeded(office: Office) -> None:
    options = {"upload": True, "labels": {"deck": "a"}, "result_ttl": 50.0}
    old = await office.dead_letter(**options)
    before = office.runs.files(old.run_id).stem("bass").stat().st_ino
    new = await office.replays.replay("job")
    assert new.run_id != old.run_id
    assert (new.job_id, new.revision, new.state) == ("job", old.revision + 1, JobState.QUEUED)
    assert (new.options, new.labels, new.source, new.priority, new.result_ttl, new.delivery) == (
        old.options,
        old.labels,
        old.source,
        old.priority,
        old.result_ttl,
        old.delivery,
    )
    assert states(new) == {
        "DECODE": "SUCCEEDED",
        "STEMS": "SUCCEEDED",
        "WAVEFORMS": "SUCCEEDED",
        "LOUDNESS": "PENDING",
    }
    assert new.stage(STEMS) == old.stage(STEMS)
    assert new.stage(LOUDNESS) == StageStatus(LOUDNESS)
    assert (new.error, new.dead_letter, new.ended_at, new.expires_at) == (None, False, None, None)
    assert (new.layout, new.stem_sha256, new.segments_done) == (old.layout, old.stem_sha256, 3)
    assert new.artifacts == old.artifacts
    files = office.runs.files(new.run_id)
    assert files.stem("bass").stat().st_ino == before, "a link, not a copy"
    assert files.source.exists(), "the loudness needs the track"
    kept = [files.stems_json, *files.stems.iterdir(), *files.folder.glob("waveform-*")]
    assert new.result_bytes == sum(path.stat().st_size for path in kept)
    assert office.store.get("job") == new
    assert office.repository.active["job"].job == new
    assert office.repository.active["job"].task is not None
    await office.runs.removed()
    assert office.desk.run_folders() == {new.run_id}
    assert office.store.list(dead_letters=True) == []


async def test_what_an_earlier_run_copied_is_not_a_result_of_the_new_run(office: Office) -> None:
    copied = StoredBlob("analysis/annotation.jams", "s3://b/job/a", "https://b/job/a", 4, "5" * 64)
    job = await office.submitted(STEMS, LOUDNESS)
    await office.failed(job, done=(DECODE, STEMS, WAVEFORMS), blobs=(copied,))
    assert (await office.replays.replay("job")).blobs == ()


async def test_documents_of_analyses_are_kept(office: Office) -> None:
    job = await office.failed(await office.submitted(STEMS, LOUDNESS), done=(DECODE, LOUDNESS))
    new = await office.replays.replay("job")
    assert new.stage(LOUDNESS) == job.stage(LOUDNESS)
    assert [artifact.name for artifact in new.artifacts] == ["loudness.json"]
    assert states(new)["STEMS"] == "PENDING"
    assert (new.layout, new.segments_total, new.result_bytes) == (None, 0, 0)


async def test_what_was_made_of_a_stage_that_runs_again_is_made_again(office: Office) -> None:
    """annotation.jams is built of what the analyses found when it is read."""
    asked = (Stage.BASIC_FEATURES, Stage.CHORDS)
    job = await office.submitted(*asked)
    await office.failed(job, done=(DECODE, Stage.BASIC_FEATURES, Stage.ANNOTATION))
    assert states(await office.replays.replay("job")) == {
        "DECODE": "SUCCEEDED",
        "BASIC_FEATURES": "SUCCEEDED",
        "CHORDS": "PENDING",
        "ANNOTATION": "PENDING",
    }


@pytest.mark.parametrize("damage", ["gone", "changed"])
async def test_stems_that_are_gone_or_damaged_are_made_again(office: Office, damage: str) -> None:
    old = await office.dead_letter()
    stem = office.runs.files(old.run_id).stem("bass")
    if damage == "gone":
        stem.unlink()
    else:
        stem.write_bytes(b"x" * stem.stat().st_size)
    new = await office.replays.replay("job")
    assert states(new) == {
        "DECODE": "SUCCEEDED",
        **dict.fromkeys(("STEMS", "WAVEFORMS", "LOUDNESS"), "PENDING"),
    }
    assert (new.artifacts, new.layout, new.stem_sha256, new.result_bytes) == ((), None, (), 0)
    assert not list(office.runs.files(new.run_id).stems.iterdir())


async def test_a_damaged_waveform_costs_the_waveforms_only(office: Office) -> None:
    old = await office.dead_letter()
    office.runs.files(old.run_id).artifact("waveform-bass.dat").write_bytes(b"other")
    new = await office.replays.replay("job")
    assert (states(new)["STEMS"], states(new)["WAVEFORMS"]) == ("SUCCEEDED", "PENDING")
    assert [artifact.name for artifact in new.artifacts] == ["stems.json", "stems.zip"]
    assert not list(office.runs.files(new.run_id).folder.glob("waveform-*"))


async def test_a_job_that_failed_for_good_starts_over_if_its_path_is_still_there(office: Office) -> None:
    await office.failed(await office.submitted(STEMS, LOUDNESS), done=(DECODE, LOUDNESS), failure=SPOILT)
    new = await office.replays.replay("job")
    assert set(states(new).values()) == {"PENDING"}
    assert new.artifacts == ()


async def test_an_upload_that_is_gone_cannot_be_replayed(office: Office) -> None:
    old = await office.failed(await office.submitted(LOUDNESS, upload=True), failure=SPOILT)
    with pytest.raises(JobNotReplayableError, match="upload the track again"):
        await office.replays.replay("job")
    await office.runs.removed()
    assert office.desk.run_folders() == set()
    assert office.store.get("job") == old


async def test_a_path_that_is_gone_cannot_be_replayed_until_it_is_back(office: Office) -> None:
    await office.dead_letter()
    track = office.desk.place.music / "a.wav"
    content = track.read_bytes()
    track.unlink()
    with pytest.raises(JobNotReplayableError, match=r"no such file.*put the file back"):
        await office.replays.replay("job")
    track.write_bytes(content)
    assert (await office.replays.replay("job")).state is JobState.QUEUED


async def test_a_source_that_no_missing_stage_needs_may_be_gone(office: Office) -> None:
    job = await office.submitted(STEMS)
    await office.failed(job, done=(DECODE, STEMS))
    (office.desk.place.music / "a.wav").unlink()
    assert states(await office.replays.replay("job"))["WAVEFORMS"] == "PENDING"


@pytest.mark.parametrize("kind", [SourceKind.BLOB, SourceKind.NONE])
async def test_a_blob_and_no_source_need_no_file(office: Office, kind: SourceKind) -> None:
    job = await office.submitted(LOUDNESS)
    await office.failed(replace(job, source=Source(kind, "")), failure=SPOILT)
    assert (await office.replays.replay("job")).source.kind is kind


async def test_only_a_failed_job_is_replayed(office: Office) -> None:
    with pytest.raises(JobNotFoundError):
        await office.replays.replay("job")
    job = await office.submitted(STEMS)
    with pytest.raises(JobNotReplayableError, match="has not ended"):
        await office.replays.replay("job")
    await office.desk.changes().cancel("job")
    with pytest.raises(JobNotReplayableError, match="was cancelled"):
        await office.replays.replay("job")
    job = await office.submitted(STEMS)
    await office.desk.succeed("job")
    with pytest.raises(JobNotReplayableError, match="has succeeded"):
        await office.replays.replay("job")
    with pytest.raises(RunReplacedError):
        await office.replays.replay("job", "5" * 32)
    assert office.desk.run_folders() == {job.run_id}


async def test_the_capacity_of_the_queue_and_a_drain_hold_for_replays(office: Office) -> None:
    await office.dead_letter()
    for number in range(3):
        await office.desk.submissions.submit(
            office.desk.request(office.desk.track(f"{number}.wav", seed=number + 2))
        )
    with pytest.raises(QueueFullError):
        await office.replays.replay("job")
    office.desk.submissions.closed = True
    with pytest.raises(ServerDrainingError):
        await office.replays.replay("job")
    assert office.store.list(dead_letters=True)


async def test_of_two_replays_at_once_one_wins(office: Office) -> None:
    old = await office.dead_letter()
    answers = await asyncio.gather(
        office.replays.replay("job"), office.replays.replay("job"), return_exceptions=True
    )
    won = [answer for answer in answers if isinstance(answer, Job)]
    lost = [answer for answer in answers if not isinstance(answer, Job)]
    assert (len(won), [type(error) for error in lost]) == (1, [RunReplacedError])
    assert office.store.get("job") == won[0]
    await office.runs.removed()
    assert office.desk.run_folders() == {won[0].run_id} != {old.run_id}


async def test_a_job_that_is_deleted_meanwhile_stays_deleted(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.dead_letter()
    prepare = office.replays._prepare
    prepared, go_on = asyncio.Event(), asyncio.Event()

    async def held(function: Any, *arguments: Any) -> Any:
        result = await asyncio.to_thread(function, *arguments)
        prepared.set()
        await go_on.wait()
        return result

    assert prepare is not None
    monkeypatch.setattr(office.replays, "_in_thread", held)
    replaying = asyncio.create_task(office.replays.replay("job"))
    await asyncio.wait_for(prepared.wait(), 20)
    await office.desk.changes().delete("job")
    go_on.set()
    with pytest.raises(JobNotFoundError):
        await replaying
    await office.runs.removed()
    assert office.desk.run_folders() == set()


@pytest.mark.parametrize("at", ["before the new run is stored", "after it"])
async def test_a_crash_leaves_the_dead_letter_or_the_new_run(
    office: Office, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """The files as a killed process leaves them, and the next start on them."""
    old = await office.dead_letter(upload=True)
    accept, crashed = office.repository.accept, asyncio.Event()

    async def crash(*arguments: Any) -> None:
        if at == "after it":
            await accept(*arguments)
        crashed.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(office.repository, "accept", crash)
    replaying = asyncio.create_task(office.replays.replay("job"))
    await asyncio.wait_for(crashed.wait(), 20)
    assert len(office.desk.run_folders()) == 2
    recover_runs(office.runs, office.store.standing_runs())
    stored = office.store.get("job")
    assert stored is not None
    assert office.desk.run_folders() == {stored.run_id}
    assert (stored.run_id == old.run_id) == (at == "before the new run is stored")
    files = office.runs.files(stored.run_id)
    assert files.stem("bass").exists()
    assert files.source.exists()
    assert stored.dead_letter == (at == "before the new run is stored")
    # A task that nothing wakes any more.
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task() and "_replay" in repr(task.get_coro()):
            task.cancel()
    await asyncio.gather(replaying, return_exceptions=True)


async def test_a_replay_that_cannot_be_stored_changes_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await office.dead_letter()

    def full(*arguments: Any) -> None:
        raise DiskFullError("full")

    monkeypatch.setattr(office.store, "accept", full)
    with pytest.raises(DiskFullError):
        await office.replays.replay("job")
    await office.runs.removed()
    assert office.desk.run_folders() == {old.run_id}
    assert office.store.get("job") == old


@pytest.mark.parametrize("state", CallbackState)
async def test_a_callback_of_a_kept_stage_comes_again_only_if_it_was_not_delivered(
    office: Office, state: CallbackState
) -> None:
    await office.dead_letter(delivery=Delivery("http://app/"))
    rows = {row.stage: row for row in office.store.callbacks_of("job")}
    assert set(rows) == {"stems", "loudness"}
    office.store.save_callback(replace(rows["stems"], state=state))
    told: list[bool] = []
    office.repository.on_callbacks.append(lambda: told.append(True))
    new = await office.replays.replay("job")
    again = office.store.callbacks_of("job")
    assert [row.stage for row in again] == ([] if state is CallbackState.DELIVERED else ["stems"])
    assert {row.run_id for row in again} <= {new.run_id}
    assert told


async def test_watchers_of_all_jobs_see_the_new_run(office: Office) -> None:
    old = await office.dead_letter()
    head = await asyncio.to_thread(office.store.change_head)
    new = await office.replays.replay("job")
    page = office.store.changes(head.last_change)
    assert [change.subject for change in page.changes] == [new]
    assert "job" not in office.repository.ended_logs
    assert old.job_id == new.job_id

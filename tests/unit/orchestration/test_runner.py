"""The walk over the stages of a job: a real store and repository, and small stages that do as they are told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from mismo_grpc.errors import CorruptAudioError, DiskFullError, MismoError, QueueFullError, StoreError
from mismo_grpc.jobs.callbacks import CallbackRow
from mismo_grpc.jobs.event_log import JobEventLog
from mismo_grpc.jobs.job import (
    Artifact,
    Delivery,
    Job,
    JobOptions,
    JobState,
    Priority,
    Source,
    SourceKind,
    Stage,
    StageState,
    StageStatus,
)
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.jobs.store.sqlite_store import SqliteJobStore
from mismo_grpc.orchestration.runner import JobRunner
from mismo_grpc.results.runs import Runs
from mismo_grpc.stages.context import StageContext
from mismo_grpc.stages.stage import Retry, StageResult
from mismo_grpc.stages.table import with_needs

DECODE, STEMS, WAVEFORMS, LOUDNESS = Stage.DECODE, Stage.STEMS, Stage.WAVEFORMS, Stage.LOUDNESS
SUCCEEDED, FAILED, SKIPPED = StageState.SUCCEEDED, StageState.FAILED, StageState.SKIPPED
RUN_ID = "5" * 32
BOTH = (STEMS, LOUDNESS)


@dataclass
class ToldStage:
    """Does as it is told: fails with `errors` one after the other, then waits for `gate`, then succeeds."""

    stage: Stage
    errors: list[Exception] = field(default_factory=list[Exception])
    gate: asyncio.Event | None = None
    artifacts: tuple[Artifact, ...] = ()
    retries: Sequence[Retry] = (Retry((QueueFullError,), times=2, first_delay=1.0),)
    runs: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: bool = False

    def time_limit(self, audio_seconds: float) -> float | None:
        return None

    async def run(self, context: StageContext) -> StageResult:
        await context.needs()
        self.runs += 1
        await context.begin()
        self.begun.set()
        if self.errors:
            raise self.errors.pop(0)
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.stopped = True
            raise
        context.files.folder.mkdir(parents=True, exist_ok=True)
        return StageResult(artifacts=self.artifacts, bytes=len(self.artifacts))


class FailingStore(SqliteJobStore):
    """The real store; `fail` raises before a save, for as long as it likes."""

    saves = 0

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.fail: Callable[[int], MismoError | None] = lambda _: None

    def save(self, job: Job, callbacks: Sequence[CallbackRow] = (), silent: bool = False) -> bool:
        self.saves += 1
        error = self.fail(self.saves)
        if error is not None:
            raise error
        return super().save(job, callbacks, silent)


class House:
    """One server's parts around the runner; another one on the same folder is the server after a restart."""

    def __init__(self, folder: Path, *, asked: tuple[Stage, ...] = BOTH) -> None:
        self.runs = Runs(folder)
        self.store = FailingStore(folder / ".mismo" / "jobs.sqlite3")
        self.repository = JobRepository(self.store, lambda: 1000.0)
        self.stages = {stage: ToldStage(stage) for stage in (DECODE, STEMS, WAVEFORMS, LOUDNESS)}
        self.stages[STEMS].artifacts = (Artifact("stems.json", 10, "5"),)
        self.slept: list[float] = []
        self.asked = asked

    async def take_up(self) -> ActiveJob:
        """The stored job; it is accepted the first time."""
        jobs = self.store.active()
        if not jobs:
            await self.repository.accept(a_job(self.asked), "", "")
            jobs = self.store.active()
        active = ActiveJob(jobs[0], JobEventLog(jobs[0].revision))
        self.repository.active[active.job.job_id] = active
        return active

    async def run(self, active: ActiveJob | None = None) -> Job:
        """The job as it ends."""
        active = active or await self.take_up()
        await asyncio.wait_for(self.runner().run(active), 20)
        return active.job

    def runner(self) -> JobRunner:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        return JobRunner(
            self.repository,
            self.runs,
            self.stages.values(),
            default_ttl=60.0,
            bulk=asyncio.to_thread,
            sleep=sleep,
        )

    async def close(self) -> None:
        await self.runs.removed()
        self.repository.close()


def a_job(asked: tuple[Stage, ...]) -> Job:
    return Job(
        job_id="job",
        run_id=RUN_ID,
        revision=1,
        state=JobState.QUEUED,
        priority=Priority.NORMAL,
        source=Source(SourceKind.PATH, "/music/a.wav"),
        options=JobOptions(asked),
        labels={},
        model="m",
        created_at=999.0,
        stages=tuple(StageStatus(stage) for stage in with_needs(asked)),
        delivery=Delivery("http://app/callback"),
    )


def states(job: Job) -> dict[str, str]:
    return {status.stage.name: status.state.name for status in job.stages}


@pytest.fixture
async def build(tmp_path: Path) -> AsyncIterator[Callable[..., House]]:
    built: list[House] = []

    def build(**more: tuple[Stage, ...]) -> House:
        built.append(House(tmp_path, **more))
        return built[-1]

    yield build
    for house in built:
        await house.close()


Build = Callable[..., House]


async def test_every_stage_runs_once_and_the_job_succeeds(build: Build) -> None:
    house = build()
    job = await house.run()
    assert job.state is JobState.SUCCEEDED
    assert set(states(job).values()) == {"SUCCEEDED"}
    assert [stage.runs for stage in house.stages.values()] == [1, 1, 1, 1]
    assert [status.attempts for status in job.stages] == [1, 1, 1, 1]
    assert (job.started_at, job.ended_at, job.expires_at) == (1000.0, 1000.0, 1060.0)
    assert job.result_bytes == 1
    assert house.store.get("job") == job
    assert house.runs.linked("job") == RUN_ID
    assert [row.stage for row in house.store.callbacks_of("job")] == ["loudness", "stems"]


async def test_only_what_is_asked_and_needed_runs(build: Build) -> None:
    house = build(asked=(LOUDNESS,))
    job = await house.run()
    assert states(job) == {"DECODE": "SUCCEEDED", "LOUDNESS": "SUCCEEDED"}
    assert house.stages[STEMS].runs == 0
    assert house.runs.linked("job") is None


@pytest.mark.parametrize("error", [CorruptAudioError("no"), OSError(28, "full"), RuntimeError("a bug")])
async def test_a_stage_that_fails_leaves_the_others_their_results(build: Build, error: Exception) -> None:
    house = build()
    house.stages[LOUDNESS].errors = [error]
    job = await house.run()
    assert (job.state, job.error) == (JobState.SUCCEEDED, None)
    assert states(job) == {**dict.fromkeys(states(job), "SUCCEEDED"), "LOUDNESS": "FAILED"}
    failure = job.stage(LOUDNESS).error
    assert failure is not None
    reasons = {"CorruptAudioError": "CORRUPT_AUDIO", "OSError": "DISK_FULL", "RuntimeError": "INTERNAL"}
    assert failure.reason == reasons[type(error).__name__]


async def test_what_needs_a_failed_stage_is_skipped_with_its_error(build: Build) -> None:
    house = build()
    house.stages[STEMS].errors = [CorruptAudioError("no stems")]
    job = await house.run()
    assert job.state is JobState.SUCCEEDED
    assert [job.stage(s).state for s in (STEMS, WAVEFORMS, LOUDNESS)] == [FAILED, SKIPPED, SUCCEEDED]
    assert job.stage(WAVEFORMS).error == job.stage(STEMS).error
    assert house.stages[WAVEFORMS].runs == 0


async def test_stems_that_failed_half_way_do_not_stay_with_the_result_of_another_stage(build: Build) -> None:
    house = build()
    house.stages[STEMS].errors = [CorruptAudioError("no stems")]
    files = house.runs.files(RUN_ID)
    files.stems.mkdir(parents=True)
    files.stem("bass").write_bytes(b"half")
    job = await house.run()
    assert (job.state, job.artifacts) == (JobState.SUCCEEDED, ())
    assert files.folder.exists()
    assert not files.stems.exists()


async def test_a_job_without_a_result_fails_with_the_first_asked_stage_s_error(build: Build) -> None:
    house = build(asked=(LOUDNESS, STEMS))
    house.stages[STEMS].errors = [QueueFullError("x") for _ in range(3)]
    house.stages[LOUDNESS].errors = [CorruptAudioError("no loudness")]
    job = await house.run()
    assert (job.state, job.error) == (JobState.FAILED, job.stage(LOUDNESS).error)
    assert job.artifacts == ()


async def test_a_track_that_cannot_be_decoded_skips_the_rest(build: Build) -> None:
    house = build()
    house.stages[DECODE].errors = [CorruptAudioError("no audio")]
    job = await house.run()
    assert states(job) == {
        "DECODE": "FAILED",
        "STEMS": "SKIPPED",
        "WAVEFORMS": "SKIPPED",
        "LOUDNESS": "SKIPPED",
    }
    assert job.error is not None
    assert job.error.reason == "CORRUPT_AUDIO"
    await house.runs.removed()
    assert not house.runs.files(RUN_ID).folder.exists()


async def test_errors_of_the_policy_are_tried_again_later_and_later(build: Build) -> None:
    house = build()
    house.stages[LOUDNESS].errors = [QueueFullError("wait"), QueueFullError("wait")]
    job = await house.run()
    assert (job.stage(LOUDNESS).state, job.stage(LOUDNESS).attempts) == (SUCCEEDED, 3)
    assert house.slept == [1.0, 2.0]


async def test_a_policy_ends(build: Build) -> None:
    house = build()
    house.stages[LOUDNESS].errors = [QueueFullError("wait") for _ in range(5)]
    job = await house.run()
    assert (job.stage(LOUDNESS).state, job.stage(LOUDNESS).attempts) == (FAILED, 3)


async def test_decoding_is_stopped_once_nobody_needs_it(build: Build) -> None:
    house = build(asked=(STEMS,))
    house.stages[DECODE].gate = asyncio.Event()

    class Unprepared(ToldStage):
        async def run(self, context: StageContext) -> StageResult:
            await house.stages[DECODE].begun.wait()
            raise CorruptAudioError("there is no such model")

    house.stages[STEMS] = Unprepared(STEMS)
    job = await house.run()
    assert house.stages[DECODE].stopped
    assert states(job) == {"DECODE": "CANCELLED", "STEMS": "FAILED", "WAVEFORMS": "SKIPPED"}
    assert job.error == job.stage(STEMS).error


@pytest.mark.parametrize("at", [DECODE, STEMS, WAVEFORMS, LOUDNESS])
async def test_a_cancelled_job_stops_all_that_runs_and_leaves_nothing(build: Build, at: Stage) -> None:
    house = build()
    house.stages[at].gate = asyncio.Event()
    active = await house.take_up()
    runner = house.runner()
    task = asyncio.create_task(runner.run(active))
    await house.stages[at].begun.wait()
    task.cancel()
    await asyncio.wait([task])
    assert house.stages[at].stopped
    assert not active.job.state.ended
    await runner.end(active, JobState.CANCELLED, StageState.CANCELLED, None)
    assert active.job.state is JobState.CANCELLED
    assert active.job.stage(at).state is StageState.CANCELLED
    assert (active.job.artifacts, active.job.error) == ((), None)
    assert house.runs.linked("job") is None
    await house.runs.removed()
    assert not house.runs.files(RUN_ID).folder.exists()


@pytest.mark.parametrize("at", [DECODE, STEMS, WAVEFORMS, LOUDNESS])
async def test_a_restart_runs_what_is_missing_and_nothing_twice(build: Build, at: Stage) -> None:
    """The process ends while one stage runs and all that can have ended without it has."""
    first = build()
    first.stages[at].gate = asyncio.Event()
    active = await first.take_up()
    others = [s for s in (STEMS, WAVEFORMS, LOUDNESS) if at not in with_needs([s]) and s is not at]
    if at is STEMS:
        others = [LOUDNESS]
    task = asyncio.create_task(first.runner().run(active))
    await first.stages[at].begun.wait()
    await active.stems_changed.wait(lambda: all(active.job.has_result_of(s) for s in others), 20)
    task.cancel()
    await asyncio.wait([task])
    before = active.job
    await first.close()
    second = build()
    job = await second.run()
    assert job.state is JobState.SUCCEEDED
    assert set(states(job).values()) == {"SUCCEEDED"}
    assert [status.attempts for status in job.stages] == [1, 1, 1, 1]
    for stage in (STEMS, WAVEFORMS, LOUDNESS):
        assert second.stages[stage].runs == (not before.has_result_of(stage))
    needs_decoding = not (before.has_result_of(STEMS) and before.has_result_of(LOUDNESS))
    assert second.stages[DECODE].runs == needs_decoding
    assert len(second.store.callbacks_of("job")) == 2


async def test_a_cancel_during_the_repair_of_a_link_leaves_none(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = build()
    active = await house.take_up()
    stems = replace(active.job.stage(STEMS), state=SUCCEEDED)
    active.job = replace(
        active.job.with_stage(stems), artifacts=(Artifact("stems.json", 10, "5"),), result_bytes=10
    )
    link, linking, go_on = house.runs.link, threading.Event(), threading.Event()

    def held(job_id: str, run_id: str) -> str | None:
        linking.set()
        assert go_on.wait(20)
        return link(job_id, run_id)

    monkeypatch.setattr(house.runs, "link", held)
    runner = house.runner()
    task = asyncio.create_task(runner.run(active))
    assert await asyncio.to_thread(linking.wait, 20)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=0.05)
    assert not done, "it ended while its thread still made the link"
    go_on.set()
    await asyncio.wait([task])
    await runner.end(active, JobState.CANCELLED, StageState.CANCELLED, None)
    assert house.runs.linked("job") is None


async def test_a_job_whose_stages_have_all_ended_only_ends(build: Build) -> None:
    first = build()
    active = await first.take_up()
    stages = tuple(replace(status, state=SUCCEEDED) for status in active.job.stages)
    first.store.save(replace(active.job, state=JobState.RUNNING, stages=stages, revision=2))
    await first.close()
    second = build()
    job = await second.run()
    assert job.state is JobState.SUCCEEDED
    assert sum(stage.runs for stage in second.stages.values()) == 0


@pytest.mark.parametrize("stems", [StageState.PENDING, StageState.RUNNING, StageState.SUCCEEDED])
async def test_a_job_that_an_earlier_version_began_gets_all_its_results(
    build: Build, stems: StageState
) -> None:
    """That version had no stage for waveforms, and stored what files there are only with the end of the job."""
    first = build(asked=(STEMS,))
    job = (await first.take_up()).job
    stages = (StageStatus(DECODE, SUCCEEDED, 1.0, 2.0), StageStatus(STEMS, stems))
    first.store.save(replace(job, state=JobState.RUNNING, stages=stages, revision=2))
    await first.close()
    second = build()
    job = await second.run()
    assert job.state is JobState.SUCCEEDED
    assert states(job) == dict.fromkeys(("DECODE", "STEMS", "WAVEFORMS"), "SUCCEEDED")
    assert [artifact.name for artifact in job.artifacts] == ["stems.json"]
    assert (second.stages[STEMS].runs, second.stages[WAVEFORMS].runs) == (1, 1)
    assert second.runs.linked("job") == RUN_ID
    assert second.store.get("job") == job


@pytest.mark.parametrize("error", [DiskFullError("full"), StoreError("broken")])
@pytest.mark.parametrize("at", range(1, 11))
async def test_a_record_that_fails_once_ends_the_job_as_stored(
    build: Build, at: int, error: MismoError
) -> None:
    """Wherever it strikes, the job ends, and what its record says is what it has."""
    house = build()
    house.store.fail = lambda count: error if count == at else None
    job = await house.run()
    assert job.state.ended
    assert house.store.get("job") == job
    assert all(status.state.ended for status in job.stages)
    if job.state is JobState.SUCCEEDED:
        assert job.has_result_of(STEMS) or job.has_result_of(LOUDNESS)
    else:
        assert job.error is not None
    assert (house.runs.linked("job") == RUN_ID) == bool(job.artifacts)


async def test_the_end_is_stored_once_the_store_works_again(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mismo_grpc.orchestration.job_end.STORE_RETRY_SECONDS", 0.0)
    house = build()
    house.store.fail = lambda count: StoreError("broken") if 3 < count < 12 else None
    job = await house.run()
    assert job.state.ended
    assert house.store.get("job") == job


async def test_a_cancel_that_cannot_be_stored_keeps_what_succeeded(build: Build) -> None:
    """The job runs on, and the stems are not made again."""
    house = build()
    house.stages[WAVEFORMS].gate = gate = asyncio.Event()
    active = await house.take_up()
    files, runner = house.runs.files(RUN_ID), house.runner()
    files.stems.mkdir(parents=True)
    files.stem("bass").write_bytes(b"x")
    task = asyncio.create_task(runner.run(active))
    await active.stems_changed.wait(lambda: active.job.has_result_of(STEMS), 20)
    await house.stages[WAVEFORMS].begun.wait()
    task.cancel()
    await asyncio.wait([task])
    house.store.fail = lambda _: DiskFullError("full")
    with pytest.raises(DiskFullError):
        await runner.end(active, JobState.CANCELLED, StageState.CANCELLED, None)
    house.store.fail = lambda _: None
    gate.set()
    job = await house.run(active)
    assert job.state is JobState.SUCCEEDED
    assert house.stages[STEMS].runs == 1
    assert files.stem("bass").exists()


async def test_work_files_go_when_no_stage_needs_them(build: Build) -> None:
    house = build()
    house.stages[LOUDNESS].gate = gate = asyncio.Event()
    active = await house.take_up()
    files = house.runs.files(RUN_ID)
    files.pieces.mkdir(parents=True)
    for path in (files.source, files.mix, files.mix_record, files.journal, files.peaks):
        path.write_bytes(b"x")
    running = asyncio.create_task(house.run(active))
    await active.stems_changed.wait(lambda: active.job.has_result_of(WAVEFORMS), 20)
    async with asyncio.timeout(20):
        while files.peaks.exists():  # noqa: ASYNC110 no event tells
            await asyncio.sleep(0.002)
    assert not files.journal.exists()
    assert not files.pieces.exists()
    assert files.source.exists()
    assert files.mix.exists()
    gate.set()
    await running
    assert not files.work.exists()
    assert not files.source.exists()

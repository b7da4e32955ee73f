"""Stages that wait for another attempt, and what becomes of a job whose attempts are used up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from mismo_grpc.errors import (
    BlobAccessDeniedError,
    BlobError,
    BlobStoreUnavailableError,
    CorruptAudioError,
    DiskFullError,
    MismoError,
    StoreError,
)
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
from mismo_grpc.orchestration.job_changes import JobChanges
from mismo_grpc.orchestration.queue import JobQueue
from mismo_grpc.orchestration.runner import JobRunner
from mismo_grpc.results.runs import Runs
from mismo_grpc.separation.scheduler import Scheduler
from mismo_grpc.stages.context import StageContext
from mismo_grpc.stages.retries import StageRetries
from mismo_grpc.stages.stage import Retry, StageResult
from mismo_grpc.stages.table import with_needs

DECODE, STEMS, WAVEFORMS, LOUDNESS = Stage.DECODE, Stage.STEMS, Stage.WAVEFORMS, Stage.LOUDNESS
UPLOAD = Stage.BLOB_UPLOAD
PENDING, SUCCEEDED, FAILED = StageState.PENDING, StageState.SUCCEEDED, StageState.FAILED
RUN_ID = "5" * 32
PATIENCE = 20.0


@dataclass
class Obedient:
    """Fails with `errors`, one after the other, then waits for `gate`, then succeeds."""

    stage: Stage
    errors: list[Exception] = field(default_factory=list[Exception])
    gate: asyncio.Event | None = None
    retries: Sequence[Retry] = ()
    runs: int = 0
    fails_before_it_begins: bool = False
    content: bytes = b""

    def time_limit(self, audio_seconds: float) -> float | None:
        return None

    async def run(self, context: StageContext) -> StageResult:
        await context.needs()
        self.runs += 1
        if self.errors and self.fails_before_it_begins:
            raise self.errors.pop(0)
        await context.begin()
        if self.errors:
            raise self.errors.pop(0)
        if self.gate is not None:
            await self.gate.wait()
        if not self.content:
            return StageResult()
        files = context.files
        files.stems.mkdir(parents=True, exist_ok=True)
        files.stem("bass").write_bytes(self.content)
        return StageResult(artifacts=(Artifact("stems.json", 1, "5"),), bytes=len(self.content))


class House:
    """The parts of one server that run jobs, with a clock of the test's own; another on the folder is a restart."""

    def __init__(self, folder: Path, *, most: int = 12, now: float = 1000.0) -> None:
        self.now = now
        self.runs = Runs(folder)
        self.store = SqliteJobStore(folder / ".mismo" / "jobs.sqlite3")
        self.repository = JobRepository(self.store, lambda: self.now)
        self.stages = {stage: Obedient(stage) for stage in (DECODE, STEMS, WAVEFORMS, LOUDNESS, UPLOAD)}
        self.stages[STEMS].content = b"stem"
        self.timers: list[Callable[[], None]] = []
        self.slept: list[float] = []
        self.sleeps = asyncio.Event()
        self.asleep = asyncio.Event()
        self.runner = JobRunner(
            self.repository,
            self.runs,
            self.stages.values(),
            default_ttl=60.0,
            bulk=asyncio.to_thread,
            stage_retries=StageRetries(most),
            sleep=self._sleep,
        )
        self.queue = JobQueue(self.repository, self.runner.run, 1, self._call_later)
        self.changes = JobChanges(
            self.repository, self.runner, self.queue, self.runs, Scheduler(lambda: self.now)
        )

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0.0:
            self.slept.append(seconds)
            self.asleep.set()
            await self.sleeps.wait()
        else:
            # As asyncio.sleep does: other tasks run meanwhile.
            await asyncio.sleep(0)

    def _call_later(self, seconds: float, function: Callable[[], None]) -> asyncio.TimerHandle:
        self.timers.append(function)
        return asyncio.get_running_loop().call_later(3600.0, function)

    async def submit(self, *asked: Stage, job_id: str = "job", run_id: str = RUN_ID) -> ActiveJob:
        job = Job(
            job_id=job_id,
            run_id=run_id,
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
        await self.repository.accept(job, "", "")
        return self.take_up(job)

    def take_up(self, job: Job) -> ActiveJob:
        active = self.repository.active[job.job_id] = ActiveJob(job, JobEventLog(job.revision))
        self.queue.fill()
        return active

    async def rests(self, active: ActiveJob) -> Job:
        """The job once it waits for another attempt without a task."""
        await self._until(active, lambda: active.task is None)
        return active.job

    async def ended(self, active: ActiveJob) -> Job:
        """The job as it ends, over all its attempts."""
        while not active.job.state.ended:
            await self._until(active, lambda: active.task is None or active.job.state.ended)
            if not active.job.state.ended:
                self.now = min(s.next_attempt_at for s in active.job.stages if s.next_attempt_at is not None)
                self.timers[-1]()
        if active.task is not None:
            await asyncio.wait_for(asyncio.wait([active.task]), PATIENCE)
        await self.runs.removed()
        return active.job

    async def _until(self, active: ActiveJob, condition: Callable[[], bool]) -> None:
        assert await active.event_log.changed.wait(condition, PATIENCE)

    def callbacks(self) -> list[CallbackRow]:
        return self.store.callbacks_of("job")

    async def close(self) -> None:
        self.queue.stopped = True
        tasks = [active.task for active in self.repository.active.values() if active.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.runs.removed()
        self.repository.close()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    yield house
    await house.close()


def away(count: int) -> list[Exception]:
    return [BlobStoreUnavailableError("the container is away") for _ in range(count)]


async def test_a_stage_that_waits_says_why_and_until_when_and_frees_the_slot(house: House) -> None:
    house.stages[DECODE].errors = away(1)
    active = await house.submit(LOUDNESS)
    job = await house.rests(active)
    status = job.stage(DECODE)
    assert (status.state, status.attempts, status.next_attempt_at) == (PENDING, 1, 1002.0)
    assert status.error is not None
    assert (status.error.reason, status.error.message) == ("BLOB_STORE_UNAVAILABLE", "the container is away")
    assert (job.state, job.error) == (JobState.RUNNING, None)
    assert house.store.get("job") == job
    published = [event.body for event in active.event_log.after(1)]
    assert status in published
    assert house.callbacks() == []
    other = await house.submit(LOUDNESS, job_id="other", run_id="6" * 32)
    assert (await house.ended(other)).state is JobState.SUCCEEDED
    assert active.task is None


async def test_a_stage_that_works_in_the_end_shows_nothing_of_its_failures(house: House) -> None:
    house.stages[DECODE].errors = away(3)
    job = await house.ended(await house.submit(LOUDNESS))
    status = job.stage(DECODE)
    assert (status.state, status.attempts, status.error, status.next_attempt_at) == (SUCCEEDED, 4, None, None)
    assert (job.state, job.dead_letter) == (JobState.SUCCEEDED, False)
    assert house.now == 1000.0 + 2 + 4 + 8
    assert [row.stage for row in house.callbacks()] == ["loudness"]


async def test_while_another_stage_runs_the_job_keeps_its_slot_and_the_attempt_comes_in_time(
    house: House,
) -> None:
    gate = house.stages[STEMS].gate = asyncio.Event()
    house.stages[LOUDNESS].errors = away(1)
    active = await house.submit(STEMS, LOUDNESS)
    await asyncio.wait_for(house.asleep.wait(), PATIENCE)
    assert active.task is not None
    assert not active.task.done()
    house.sleeps.set()
    assert await active.event_log.changed.wait(lambda: active.job.has_result_of(LOUDNESS), PATIENCE)
    assert not active.job.has_result_of(STEMS)
    gate.set()
    assert (await house.ended(active)).state is JobState.SUCCEEDED
    assert house.slept == [2.0]


async def test_once_the_other_stages_have_ended_a_waiting_stage_frees_the_slot(house: House) -> None:
    gate = house.stages[STEMS].gate = asyncio.Event()
    house.stages[LOUDNESS].errors = away(1)
    active = await house.submit(STEMS, LOUDNESS)
    await asyncio.wait_for(house.asleep.wait(), PATIENCE)
    gate.set()
    job = await house.rests(active)
    assert job.has_result_of(WAVEFORMS)
    assert not job.state.ended
    assert (await house.ended(active)).state is JobState.SUCCEEDED
    assert (house.stages[STEMS].runs, house.stages[LOUDNESS].runs) == (1, 2)


async def test_results_are_copied_before_the_slot_is_freed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that is stopped would be sent again from its start."""
    copied: list[Stage] = []
    copying, gate = asyncio.Event(), asyncio.Event()

    async def copy(context: StageContext) -> StageResult:
        async with aclosing(context.results()) as stages:
            async for stage in stages:
                copying.set()
                await gate.wait()
                copied.append(stage)
        return StageResult()

    monkeypatch.setattr(house.stages[UPLOAD], "run", copy)
    house.stages[LOUDNESS].errors = away(1)
    active = await house.submit(STEMS, LOUDNESS, UPLOAD)
    await asyncio.wait_for(asyncio.gather(house.asleep.wait(), copying.wait()), PATIENCE)
    assert await active.event_log.changed.wait(lambda: active.job.has_result_of(WAVEFORMS), PATIENCE)
    assert active.task is not None
    done, _ = await asyncio.wait([active.task], timeout=0.2)
    assert not done, "the slot was freed within the copy"
    gate.set()
    await house.rests(active)
    assert copied == [STEMS, WAVEFORMS]
    assert (await house.ended(active)).state is JobState.SUCCEEDED


async def test_after_a_restart_the_count_goes_on_and_the_wait_is_the_rest(tmp_path: Path) -> None:
    first = House(tmp_path, most=2)
    first.stages[DECODE].errors = away(1)
    await first.rests(await first.submit(LOUDNESS))
    await first.close()
    second = House(tmp_path, most=2, now=1001.5)
    second.stages[DECODE].errors = away(9)
    (job,) = second.store.active()
    active = second.take_up(job)
    assert active.task is None, "the delay is not over"
    assert second.queue.retrying_count == 1
    job = await second.ended(active)
    assert second.stages[DECODE].runs == 2, "three attempts in all"
    assert job.stage(DECODE).attempts == 3
    assert (job.state, job.dead_letter) == (JobState.FAILED, True)
    await second.close()


async def test_an_attempt_that_fails_before_its_work_begins_counts_over_a_restart(tmp_path: Path) -> None:
    for number in range(3):
        house = House(tmp_path, most=2, now=1000.0 + 100 * number)
        house.stages[DECODE].errors = away(1)
        house.stages[DECODE].fails_before_it_begins = True
        active = house.take_up(house.store.active()[0]) if number else await house.submit(LOUDNESS)
        if number < 2:
            assert (await house.rests(active)).stage(DECODE).attempts == number + 1
        else:
            assert (await house.ended(active)).state is JobState.FAILED
        await house.close()


async def test_used_up_retries_make_a_dead_letter_and_one_callback(house: House) -> None:
    house.stages[DECODE].errors = [BlobAccessDeniedError("expired") for _ in range(9)]
    files = house.runs.files(RUN_ID)
    files.work.mkdir(parents=True)
    files.source.write_bytes(b"track")
    active = await house.submit(LOUDNESS)
    job = await house.ended(active)
    assert house.stages[DECODE].runs == 5
    assert (job.state, job.dead_letter, job.result_bytes) == (JobState.FAILED, True, 5)
    assert job.error is not None
    assert job.error.reason == "BLOB_ACCESS_DENIED"
    assert job.expires_at == house.now + 60.0
    assert job.stage(DECODE).next_attempt_at is None
    assert [row.stage for row in house.callbacks()] == ["loudness"]
    assert files.source.read_bytes() == b"track"
    assert not files.work.exists()
    assert house.store.list(dead_letters=True) == [job]


@pytest.mark.parametrize("error", [CorruptAudioError("noise"), RuntimeError("a bug"), BlobError("odd")])
async def test_what_will_not_pass_is_tried_once_and_leaves_nothing(house: House, error: Exception) -> None:
    house.stages[DECODE].errors = [error, error]
    files = house.runs.files(RUN_ID)
    files.folder.mkdir(parents=True)
    files.source.write_bytes(b"track")
    job = await house.ended(await house.submit(LOUDNESS))
    assert (job.state, job.dead_letter, house.stages[DECODE].runs) == (JobState.FAILED, False, 1)
    assert not files.folder.exists()
    assert house.store.list(dead_letters=True) == []


async def test_a_failed_upload_fails_the_job_although_its_stems_succeeded(house: House) -> None:
    house.stages[UPLOAD].errors = [BlobAccessDeniedError("expired") for _ in range(9)]
    gate = house.stages[UPLOAD].gate = asyncio.Event()
    gate.set()
    job = await house.ended(await house.submit(STEMS, UPLOAD))
    assert (job.state, job.dead_letter) == (JobState.FAILED, True)
    assert job.error == job.stage(UPLOAD).error
    assert job.has_result_of(STEMS)
    assert house.runs.files(RUN_ID).stem("bass").read_bytes() == b"stem"
    assert job.result_bytes == 4
    assert house.runs.linked("job") is None, "readers are refused"
    assert house.stages[STEMS].runs == 1


async def test_another_failed_stage_does_not_fail_the_job(house: House) -> None:
    house.stages[LOUDNESS].errors = [BlobAccessDeniedError("expired") for _ in range(9)]
    job = await house.ended(await house.submit(STEMS, LOUDNESS, UPLOAD))
    assert (job.state, job.dead_letter, job.error) == (JobState.SUCCEEDED, False, None)
    assert job.stage(LOUDNESS).state is FAILED


async def test_an_upload_alone_is_no_result(house: House) -> None:
    house.stages[LOUDNESS].errors = [CorruptAudioError("x")]
    job = await house.ended(await house.submit(LOUDNESS, UPLOAD))
    assert (job.state, job.error) == (JobState.FAILED, job.stage(LOUDNESS).error)


async def test_stems_that_failed_half_way_are_removed_but_the_source_stays(house: House) -> None:
    house.stages[STEMS].errors = [BlobAccessDeniedError("x") for _ in range(9)]
    files = house.runs.files(RUN_ID)
    files.stems.mkdir(parents=True)
    files.stem("bass").write_bytes(b"half")
    files.source.write_bytes(b"track")
    job = await house.ended(await house.submit(STEMS))
    assert job.dead_letter
    assert not files.stems.exists()
    assert files.source.exists()


async def test_a_full_disk_makes_a_dead_letter_without_another_attempt(house: House) -> None:
    house.stages[DECODE].errors = [DiskFullError("full")]
    job = await house.ended(await house.submit(LOUDNESS))
    assert (job.dead_letter, house.stages[DECODE].runs) == (True, 1)
    assert not house.runs.files(RUN_ID).folder.exists(), "nothing is kept of a track that is elsewhere"


async def test_a_job_is_cancelled_while_it_waits(house: House) -> None:
    house.stages[DECODE].errors = away(1)
    active = await house.submit(LOUDNESS)
    await house.rests(active)
    job = await asyncio.wait_for(house.changes.cancel("job"), PATIENCE)
    assert (job.state, job.dead_letter, job.error) == (JobState.CANCELLED, False, None)
    status = job.stage(DECODE)
    assert (status.state, status.next_attempt_at, status.error) == (StageState.CANCELLED, None, None)
    house.now += 100.0
    house.timers[-1]()
    assert house.stages[DECODE].runs == 1


async def test_a_job_is_deleted_while_it_waits(house: House) -> None:
    house.stages[DECODE].errors = away(1)
    await house.rests(await house.submit(LOUDNESS))
    await asyncio.wait_for(house.changes.delete("job"), PATIENCE)
    assert house.store.get("job") is None
    assert house.repository.active == {}


async def test_a_retry_that_cannot_be_stored_fails_the_stage_with_its_own_error(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.stages[DECODE].errors = away(9)
    stored = house.store.save

    def save(job: Job, callbacks: Sequence[CallbackRow] = (), silent: bool = False) -> bool:
        if any(status.next_attempt_at is not None for status in job.stages):
            raise StoreError("broken")
        return stored(job, callbacks, silent)

    monkeypatch.setattr(house.store, "save", save)
    job = await house.ended(await house.submit(LOUDNESS))
    assert job.error is not None
    assert (job.error.reason, house.stages[DECODE].runs) == ("BLOB_STORE_UNAVAILABLE", 1)


@pytest.mark.parametrize("error", [DiskFullError("full"), StoreError("broken")])
async def test_a_dead_letter_whose_end_is_stored_late_keeps_what_it_keeps(
    house: House, monkeypatch: pytest.MonkeyPatch, error: MismoError
) -> None:
    house.stages[UPLOAD].errors = [BlobAccessDeniedError("expired") for _ in range(9)]
    stored, failures = house.store.save, [error, error]

    def save(job: Job, callbacks: Sequence[CallbackRow] = (), silent: bool = False) -> bool:
        if job.state.ended and failures:
            raise failures.pop()
        return stored(job, callbacks, silent)

    monkeypatch.setattr(house.store, "save", save)
    monkeypatch.setattr("mismo_grpc.orchestration.job_end.STORE_RETRY_SECONDS", 0.0)
    job = await house.ended(await house.submit(STEMS, UPLOAD))
    assert failures == []
    assert job.dead_letter
    assert house.store.get("job") == replace(job)
    assert house.runs.files(RUN_ID).stem("bass").exists()

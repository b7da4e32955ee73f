"""The queue: who starts when, and who waits where."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from mismo_grpc.jobs.event_log import JobEventLog
from mismo_grpc.jobs.events import EventKind
from mismo_grpc.jobs.job import Job, JobOptions, JobState, Priority, Source, SourceKind, Stage
from mismo_grpc.jobs.repository import ActiveJob
from mismo_grpc.orchestration.queue import JobQueue
from tests.unit.orchestration.desk import SubmitDesk
from tests.unit.orchestration.place import NOW

LOW, NORMAL, HIGH = Priority.LOW, Priority.NORMAL, Priority.HIGH


def add(desk: SubmitDesk, job_id: str, priority: Priority = NORMAL, created_at: float = 1.0) -> ActiveJob:
    """An accepted job that waits."""
    job = Job(
        job_id,
        job_id.ljust(32, "0"),
        1,
        JobState.QUEUED,
        priority,
        Source(SourceKind.PATH, "/x.wav"),
        JobOptions(),
        {},
        "m",
        created_at,
    )
    desk.store.accept(job, "", "", 0.0)
    active = ActiveJob(job, JobEventLog(1))
    desk.repository.active[job_id] = active
    return active


def queue_of(desk: SubmitDesk, max_concurrent: int) -> JobQueue:
    return JobQueue(desk.repository, desk.held.run, max_concurrent)


async def test_jobs_start_first_come_first_served(desk: SubmitDesk) -> None:
    queue = queue_of(desk, 1)
    jobs = {
        job_id: add(desk, job_id, created_at=at) for at, job_id in enumerate(("first", "second", "third"))
    }
    queue.fill()
    assert [queue.position(jobs[job_id]) for job_id in ("first", "second", "third")] == [0, 1, 2]
    assert queue.waiting_count == 2
    await desk.held.end("first")
    assert jobs["second"].task is not None
    assert jobs["third"].task is None
    assert queue.position(jobs["third"]) == 1


async def test_the_most_urgent_waiting_job_is_next(desk: SubmitDesk) -> None:
    queue = queue_of(desk, 1)
    add(desk, "at work", HIGH)
    queue.fill()
    low, normal = add(desk, "low", LOW, 1.0), add(desk, "normal", NORMAL, 2.0)
    high = add(desk, "high", HIGH, 3.0)
    queue.fill()
    assert [queue.position(job) for job in (high, normal, low)] == [1, 2, 3]
    await desk.held.end("at work")
    assert [job.task is not None for job in (high, normal, low)] == [True, False, False]


async def test_an_urgent_job_waits_for_no_slot_of_a_less_urgent_one(desk: SubmitDesk) -> None:
    queue = queue_of(desk, 1)
    low = add(desk, "low", LOW)
    queue.fill()
    normal, high = add(desk, "normal", NORMAL), add(desk, "high", HIGH)
    queue.fill()
    assert all(job.task is not None for job in (low, high))
    assert normal.task is None, "the high one holds the only slot of its class and those below"
    await desk.held.end("high")
    assert normal.task is not None


@pytest.mark.parametrize("slots", [1, 2, 3])
async def test_so_many_jobs_of_one_class_run_at_once(desk: SubmitDesk, slots: int) -> None:
    queue = queue_of(desk, slots)
    jobs = [add(desk, f"job-{number}", created_at=number) for number in range(4)]
    queue.fill()
    assert [job.task is not None for job in jobs] == [number < slots for number in range(4)]


async def test_a_stopped_queue_starts_nothing(desk: SubmitDesk) -> None:
    queue = queue_of(desk, 1)
    first, second = add(desk, "first", created_at=1.0), add(desk, "second", created_at=2.0)
    queue.fill()
    queue.stopped = True
    await desk.held.end("first")
    assert first.job.state.ended
    assert second.task is None


async def test_a_job_that_is_being_cancelled_neither_starts_nor_holds_a_position(desk: SubmitDesk) -> None:
    queue = queue_of(desk, 1)
    leaving, next_ = add(desk, "leaving", created_at=1.0), add(desk, "next", created_at=2.0)
    leaving.cancelling = True
    queue.fill()
    assert leaving.task is None
    assert next_.task is not None
    assert queue.position(leaving) == 0


async def test_whoever_waits_is_told_when_the_queue_moves(desk: SubmitDesk) -> None:
    queue = queue_of(desk, 1)
    add(desk, "first", created_at=1.0)
    waiting = add(desk, "second", created_at=2.0)
    before = waiting.event_log.touches
    queue.fill()
    assert waiting.event_log.touches > before


@dataclass
class Bell:
    """Rings when it is told to; `seconds` is what it was set to, None while it is not set."""

    seconds: float | None = None
    _function: Callable[[], None] = field(default=lambda: None)

    def call_later(self, seconds: float, function: Callable[[], None]) -> Bell:
        self.seconds, self._function = seconds, function
        return self

    def cancel(self) -> None:
        self.seconds = None

    def ring(self) -> None:
        self.seconds = None
        self._function()


class Retried:
    """Works on jobs: each waits for another attempt until it is told to run on."""

    def __init__(self, desk: SubmitDesk) -> None:
        self.desk = desk
        self.now = NOW
        desk.repository.now = lambda: self.now
        self.bell = Bell()
        self.waits = 10.0
        self.runs: list[str] = []
        self.queue = JobQueue(desk.repository, self.run, 1, self.bell.call_later)

    async def run(self, active: ActiveJob) -> None:
        self.runs.append(active.job.job_id)
        if active.job.stage(Stage.DECODE).attempts:
            await self.desk.held.run(active)
            return
        until = self.now + self.waits
        status = replace(active.job.stage(Stage.DECODE), attempts=1, next_attempt_at=until)
        await self.desk.repository.record(active, lambda job: job.with_stage(status), EventKind.STAGE, status)

    async def waiting(self, *jobs: ActiveJob) -> None:
        """Until each has run once and waits without a task."""
        async with asyncio.timeout(20):
            for active in jobs:
                await active.event_log.changed.wait(
                    lambda a=active: a.task is None and a.job.stage(Stage.DECODE).attempts > 0, None
                )


@pytest.fixture
def retried(desk: SubmitDesk) -> Retried:
    return Retried(desk)


async def test_a_job_that_waits_for_another_attempt_holds_no_slot(desk: SubmitDesk, retried: Retried) -> None:
    first, second = add(desk, "first", created_at=1.0), add(desk, "second", created_at=2.0)
    second.job = second.job.with_stage(replace(second.job.stage(Stage.DECODE), attempts=1))
    queue = retried.queue
    queue.fill()
    assert (first.task is not None, second.task is not None) == (True, False)
    await retried.waiting(first)
    assert second.task is not None, "the slot is free"
    assert (queue.waiting_count, queue.retrying_count, queue.position(first)) == (0, 1, 0)
    assert retried.bell.seconds == 10.0


async def test_it_takes_a_slot_again_like_a_waiting_job_once_the_attempt_is_due(
    desk: SubmitDesk, retried: Retried
) -> None:
    job, low = add(desk, "job", NORMAL, 1.0), add(desk, "low", LOW, 2.0)
    low.job = low.job.with_stage(replace(low.job.stage(Stage.DECODE), attempts=1))
    retried.queue.fill()
    await retried.waiting(job)
    assert low.task is not None
    normal = add(desk, "normal", NORMAL, 3.0)
    normal.job = normal.job.with_stage(replace(normal.job.stage(Stage.DECODE), attempts=1))
    retried.queue.fill()
    retried.now += 10.0
    retried.bell.ring()
    assert job.task is None, "the only slot of its class is taken"
    assert retried.queue.position(job) == 1
    await desk.held.end("normal")
    assert job.task is not None
    assert retried.bell.seconds is None


async def test_jobs_whose_attempts_are_due_together_do_not_all_run_at_once(
    desk: SubmitDesk, retried: Retried
) -> None:
    jobs = [add(desk, f"job-{number:02}", created_at=number) for number in range(20)]
    retried.queue.fill()
    await retried.waiting(*jobs)
    assert retried.queue.retrying_count == 20
    retried.now += 10.0
    retried.bell.ring()
    assert [job.task is not None for job in jobs] == [True] + 19 * [False]
    assert [retried.queue.position(job) for job in jobs] == list(range(20))


async def test_a_timer_that_rings_early_is_set_again(desk: SubmitDesk, retried: Retried) -> None:
    job = add(desk, "job")
    retried.queue.fill()
    await retried.waiting(job)
    retried.now += 9.5
    retried.bell.ring()
    assert job.task is None
    assert retried.bell.seconds == 0.5


async def test_after_a_restart_a_job_waits_for_the_rest_of_its_delay(
    desk: SubmitDesk, retried: Retried
) -> None:
    job = add(desk, "job")
    status = replace(job.job.stage(Stage.DECODE), attempts=3, next_attempt_at=retried.now + 7.0)
    job.job = replace(job.job.with_stage(status), state=JobState.RUNNING)
    retried.queue.fill()
    assert (job.task, retried.bell.seconds) == (None, 7.0)


async def test_a_stopped_queue_starts_no_attempt(desk: SubmitDesk, retried: Retried) -> None:
    job = add(desk, "job")
    retried.queue.fill()
    await retried.waiting(job)
    retried.queue.stopped = True
    retried.now += 10.0
    retried.bell.ring()
    assert job.task is None


async def test_a_job_whose_task_breaks_is_not_run_again_and_again(desk: SubmitDesk) -> None:
    async def broken(active: ActiveJob) -> None:
        raise RuntimeError("a bug")

    queue = JobQueue(desk.repository, broken, 1)
    job = add(desk, "job")
    queue.fill()
    assert job.task is not None
    await asyncio.wait([job.task])
    queue.fill()
    assert job.task.done()

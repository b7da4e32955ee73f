"""The queue: who starts when, and who waits where."""

from __future__ import annotations

import pytest

from mismo_grpc.jobs.event_log import JobEventLog
from mismo_grpc.jobs.job import Job, JobOptions, JobState, Priority, Source, SourceKind
from mismo_grpc.jobs.repository import ActiveJob
from mismo_grpc.orchestration.queue import JobQueue
from tests.unit.orchestration.desk import SubmitDesk

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

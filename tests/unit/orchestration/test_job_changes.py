"""Changes of accepted jobs that clients ask for at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from mismo_grpc.errors import DiskFullError
from mismo_grpc.jobs.callbacks import CallbackRow
from mismo_grpc.jobs.job import Job, JobState
from mismo_grpc.orchestration.job_changes import JobChanges
from mismo_grpc.orchestration.runner import JobRunner
from mismo_grpc.separation.scheduler import Scheduler
from tests.unit.orchestration.desk import PATIENCE, SubmitDesk, ThreadGate


def changes_of(desk: SubmitDesk, bulk: ThreadGate) -> JobChanges:
    runner = JobRunner(desk.repository, desk.runs, [], default_ttl=60.0, bulk=bulk)
    return JobChanges(desk.repository, runner, desk.queue, desk.runs, Scheduler(time.monotonic))


@pytest.mark.parametrize("second", ["cancel", "delete"])
async def test_a_change_that_waited_for_a_failed_cancel_cancels_itself(
    desk: SubmitDesk, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    """Otherwise the job would run on, and after a delete it would not be stored any more."""
    await desk.submissions.submit(desk.request(desk.track(), job_id="a"))
    save, failures = desk.store.save, [DiskFullError("full"), DiskFullError("full")]

    def fails_twice(job: Job, callbacks: Sequence[CallbackRow] = (), silent: bool = False) -> bool:
        if failures:
            raise failures.pop()
        return save(job, callbacks, silent)

    monkeypatch.setattr(desk.store, "save", fails_twice)
    bulk = ThreadGate()
    bulk.closed_for = {"remove_results"}
    changes = changes_of(desk, bulk)
    first = asyncio.create_task(changes.cancel("a"))
    await bulk.waiting(1)
    later = asyncio.create_task(changes.cancel("a") if second == "cancel" else changes.delete("a"))
    done, _ = await asyncio.wait([later], timeout=0.05)
    assert not done
    await bulk.open()
    with pytest.raises(DiskFullError):
        await asyncio.wait_for(first, PATIENCE)
    await asyncio.wait_for(later, PATIENCE)
    assert desk.repository.active == {}
    stored = desk.store.get("a")
    assert (stored.state if stored else None) is (JobState.CANCELLED if second == "cancel" else None)


async def test_two_cancels_at_once_stop_the_job_once(
    desk: SubmitDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.submissions.submit(desk.request(desk.track(), job_id="a"))
    ends: list[str] = []
    end = JobRunner.end

    async def counted(runner: JobRunner, *arguments: Any) -> None:
        ends.append("a")
        await end(runner, *arguments)

    monkeypatch.setattr(JobRunner, "end", counted)
    changes = changes_of(desk, ThreadGate())
    jobs = await asyncio.gather(changes.cancel("a"), changes.cancel("a"))
    assert [job.state for job in jobs] == [JobState.CANCELLED] * 2
    assert ends == ["a"]

"""Changes of accepted jobs at the same time, with a real store that fails at times."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mismo_grpc.errors import StoreError
from mismo_grpc.jobs.job import JobState
from mismo_grpc.orchestration.runner import JobRunner
from tests.support.counted_broadcast import CountedBroadcast
from tests.unit.orchestration.desk import PATIENCE, SubmitDesk


@pytest.mark.parametrize("second", ["cancel", "delete"])
async def test_a_change_during_a_cancel_that_fails_leaves_no_job_that_still_runs(
    desk: SubmitDesk, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    await desk.submissions.submit(desk.request(desk.track(), job_id="a"))
    changed = desk.repository.active["a"].event_log.changed = CountedBroadcast()
    write, saving, may_fail = desk.repository.write, asyncio.Event(), asyncio.Event()
    refusals = 2
    """The first try to store the end, and the one after files were removed."""

    async def refuse(function: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal refusals
        if function == desk.store.save and refusals:
            saving.set()
            await may_fail.wait()
            refusals -= 1
            raise StoreError("the disk is broken")
        return await write(function, *arguments)

    monkeypatch.setattr(desk.repository, "write", refuse)
    changes = desk.changes()
    async with asyncio.timeout(PATIENCE):
        cancel = asyncio.create_task(changes.cancel("a"))
        await saving.wait()
        later = asyncio.create_task(changes.cancel("a") if second == "cancel" else changes.delete("a"))
        await changed.in_vain(1)
        may_fail.set()
        with pytest.raises(StoreError, match="broken"):
            await cancel
        await later
    stored = desk.store.get("a")
    assert (stored.state if stored else None) is (JobState.CANCELLED if second == "cancel" else None)
    assert "a" not in desk.repository.active


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
    changes = desk.changes()
    jobs = await asyncio.gather(changes.cancel("a"), changes.cancel("a"))
    assert [job.state for job in jobs] == [JobState.CANCELLED] * 2
    assert ends == ["a"]


async def test_a_cancel_that_fails_gives_the_slot_to_the_next_in_the_queue(
    desk: SubmitDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for job_id in ("a", "b"):
        await desk.submissions.submit(desk.request(desk.track(), job_id=job_id))
    write = desk.repository.write

    async def refuse(function: Callable[..., Any], *arguments: Any) -> Any:
        if function == desk.store.save:
            raise StoreError("the disk is broken")
        return await write(function, *arguments)

    with monkeypatch.context() as broken:
        broken.setattr(desk.repository, "write", refuse)
        with pytest.raises(StoreError):
            await asyncio.wait_for(desk.changes().cancel("a"), PATIENCE)
    assert [active.task is not None for active in desk.repository.active.values()] == [True, False]
    await desk.held.end("a")
    await desk.held.end("b")
    assert desk.repository.active == {}

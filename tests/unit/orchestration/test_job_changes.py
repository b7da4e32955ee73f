"""Changes of accepted jobs at the same time, with a real store that fails at times."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mismo_grpc.errors import StoreError
from tests.unit.orchestration.desk import PATIENCE, SubmitDesk


async def test_a_delete_during_a_cancel_that_fails_leaves_no_job_that_still_runs(
    desk: SubmitDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.submissions.submit(desk.request(desk.track(), job_id="a"))
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
        delete = asyncio.create_task(changes.delete("a"))
        # Enough turns of the event loop for the delete to wait for the cancel.
        for _ in range(20):
            await asyncio.sleep(0)
        may_fail.set()
        with pytest.raises(StoreError, match="broken"):
            await cancel
        await delete
    assert desk.store.get("a") is None
    assert "a" not in desk.repository.active


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

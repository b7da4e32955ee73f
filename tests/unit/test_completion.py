"""Waits that end at the right time, and tasks that end before anyone goes on."""

from __future__ import annotations

import asyncio

import pytest

from mismo_grpc.completion import end_task, happens


async def test_an_event_is_waited_for_only_so_long() -> None:
    event = asyncio.Event()
    assert not await happens(event, 0.01)
    asyncio.get_running_loop().call_soon(event.set)
    assert await happens(event, None)
    assert await happens(event, 0.0)


async def test_who_is_cancelled_while_waiting_for_an_event_is_cancelled() -> None:
    waiting = asyncio.ensure_future(happens(asyncio.Event(), 60.0))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_task_that_is_ended_has_cleaned_up_and_its_error_is_ignored() -> None:
    cleaned = False

    async def work() -> None:
        nonlocal cleaned
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned = True
            raise OSError("the disk is gone")

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    await end_task(task)
    assert cleaned
    assert task.done()

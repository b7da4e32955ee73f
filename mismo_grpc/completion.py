"""Waits for work and events: to the end even if the caller is cancelled, or for a limited time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


async def run_to_completion(work: Coroutine[Any, Any, T]) -> T:
    """Shields a coroutine and re-raises the caller's cancellation once the coroutine has finished."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()
    raise cancelled


async def wait_ended(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Waits until all tasks have ended, and discards their results and errors."""
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()


async def end_task(task: asyncio.Future[Any]) -> None:
    """Cancels a task that is no longer needed, waits until it has ended, and ignores its result."""
    task.cancel()
    await wait_ended([task])


async def happens(event: asyncio.Event, seconds: float | None) -> bool:
    """Waits until an event is set, at most `seconds` (None: no limit); returns whether it was set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True

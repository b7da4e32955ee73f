"""A semaphore that serves waiters of a higher priority first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def _no_priority() -> int:
    return 0


class Slots:
    """`free` slots; within a priority, waiters get them in the order in which they came. On one event loop only."""

    def __init__(self, free: int) -> None:
        self._free = free
        self._waiters: list[tuple[Callable[[], int], asyncio.Future[None]]] = []

    @property
    def locked(self) -> bool:
        """Whether a caller has to wait."""
        return self._free == 0

    async def acquire(self, priority: Callable[[], int] = _no_priority) -> None:
        """Waits for a slot; `priority` is called whenever one is free, as it may change while this waits.

        A slot that was granted to a waiter that is cancelled goes to the next one.
        """
        if self._free:
            self._free -= 1
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((priority, granted))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Gives a slot back."""
        self._waiters = [waiter for waiter in self._waiters if not waiter[1].done()]
        if not self._waiters:
            self._free += 1
            return
        # Of several with the highest priority, the first one.
        first = max(self._waiters, key=lambda waiter: waiter[0]())
        self._waiters.remove(first)
        first[1].set_result(None)

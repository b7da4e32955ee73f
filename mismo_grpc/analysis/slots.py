"""A semaphore that serves waiters of a higher priority first."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count


class Slots:
    """`free` slots; within a priority, waiters get them in the order in which they came. On one event loop only."""

    def __init__(self, free: int) -> None:
        self._free = free
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    @property
    def locked(self) -> bool:
        """Whether a caller has to wait."""
        return self._free == 0

    async def acquire(self, priority: int = 0) -> None:
        """Waits for a slot; a slot that was granted to a waiter that is cancelled goes to the next one."""
        if self._free:
            self._free -= 1
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (-priority, next(self._order), granted))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Gives a slot back."""
        while self._waiters:
            granted = heapq.heappop(self._waiters)[2]
            if not granted.done():
                granted.set_result(None)
                return
        self._free += 1

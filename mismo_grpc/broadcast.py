"""Wakes many waiters on the event loop with one notification."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

WAKE_AT_ONCE = 16
"""The most waiters woken in one turn of the event loop; the loop serves other callbacks before it wakes the next."""


class Broadcast:
    """Wakes any number of waiters, each of which waits for its own condition."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._due: deque[asyncio.Future[None]] = deque()

    def notify(self) -> None:
        """Makes every waiter check its condition again; call it on the event loop only."""
        waking = bool(self._due)
        self._due.extend(self._waiting)
        self._waiting.clear()
        if not waking:
            self._wake_some()

    def _wake_some(self) -> None:
        for _ in range(min(WAKE_AT_ONCE, len(self._due))):
            future = self._due.popleft()
            if not future.done():
                future.set_result(None)
        if self._due:
            asyncio.get_running_loop().call_soon(self._wake_some)

    async def wait(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        """Waits until `condition` is true, at most `timeout` seconds (None: no limit); returns whether it is.

        Returns at once if it is true already.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while not condition():
            future: asyncio.Future[None] = loop.create_future()
            self._waiting[future] = None
            try:
                async with asyncio.timeout_at(deadline):
                    await future
            except TimeoutError:
                return condition()
            finally:
                self._waiting.pop(future, None)
        return True

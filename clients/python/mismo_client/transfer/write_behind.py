"""Writes to disk while the next bytes arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self


class WriteBehind:
    """Runs pieces of blocking work in one thread, in order, one ahead of the caller.

    So memory holds two pieces at most. An error of a piece is raised by the next `put` or `drain`.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="write-behind")
        self._pending: asyncio.Future[None] | None = None

    async def put(self, work: Callable[[], None]) -> None:
        """Waits for the piece before, then starts this one."""
        await self.drain()
        self._pending = asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def drain(self) -> None:
        """Waits until everything is done."""
        if self._pending is not None:
            # Shielded: a cancelled wait must not lose sight of a write that goes on in the thread.
            await asyncio.shield(self._pending)
            self._pending = None

    async def aclose(self) -> None:
        """Waits for the piece under way, whatever comes of it; nothing can be put after."""
        pending, self._pending = self._pending, None
        self._thread.shutdown(wait=False)
        if pending is not None:
            await asyncio.wait([pending])
            pending.exception()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

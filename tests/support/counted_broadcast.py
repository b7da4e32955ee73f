"""A broadcast that lets a test wait until others wait for it."""

from __future__ import annotations

from collections.abc import Callable

from mismo_grpc.broadcast import Broadcast

PATIENCE = 60.0
"""Seconds after which a test gives up."""


class CountedBroadcast(Broadcast):
    """Counts the checks of conditions that were false, after which the caller waits."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self._looked = Broadcast()

    async def wait(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        def counted() -> bool:
            if condition():
                return True
            self.looks += 1
            self._looked.notify()
            return False

        return await super().wait(counted, timeout)

    async def in_vain(self, count: int) -> None:
        """Waits until `count` checks were false."""
        assert await self._looked.wait(lambda: self.looks >= count, PATIENCE)

"""A broadcast that tells a test when somebody waits."""

from __future__ import annotations

from collections.abc import Callable

from mismo_grpc.broadcast import Broadcast

PATIENCE = 60.0
"""Seconds after which a test gives up."""


class CountedBroadcast(Broadcast):
    """Counts how often somebody looked in vain, and waits."""

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
        """Until so many looked in vain."""
        assert await self._looked.wait(lambda: self.looks >= count, PATIENCE)

"""How many requests are received, and how many unary calls of each method are at work, at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from mismo_grpc.errors import CapacityError

MAX_REQUEST_BYTES = 256 << 10
"""Of one message; a submit with all the labels it may have takes less than 150 KB."""
RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class CallLimit:
    """Of one unary method: calls at work at once, and calls that wait for their turn."""

    at_work: int
    waiting: int


USUAL_LIMIT = CallLimit(at_work=64, waiting=448)


@dataclass(frozen=True)
class CallLimits:
    """What calls may cost; methods by their path, such as `/mismo.analysis.v1.JobService/ListJobs`."""

    unary: Mapping[str, CallLimit]
    """USUAL_LIMIT for a method that is not here."""
    request_bytes: Mapping[str, int]
    """Of one message; MAX_REQUEST_BYTES for a method that is not here."""
    receiving: int = 16
    """First messages that are received at once, of all methods: each may have 4 MiB before it is refused."""
    patience: float = 10.0
    """Seconds: for the first message to come, and for a turn."""


class Turns:
    """Lets some callers work at once; the others wait in their order. On the event loop only."""

    def __init__(self, at_once: int, patience: float) -> None:
        self._semaphore = asyncio.Semaphore(at_once)
        self._patience = patience

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """Held while the caller works; raises CapacityError after `patience` seconds of waiting."""
        try:
            async with asyncio.timeout(self._patience):
                await self._semaphore.acquire()
        except TimeoutError:
            raise CapacityError(
                f"the server had no time for this call within {self._patience:g} s; try again later",
                retry_after=RETRY_SECONDS,
            ) from None
        try:
            yield
        finally:
            self._semaphore.release()


class UnaryCalls:
    """The calls of one unary method."""

    def __init__(self, method: str, limit: CallLimit, patience: float) -> None:
        self._method = method
        self._most = limit.at_work + limit.waiting
        self._open = 0
        self.turns = Turns(limit.at_work, patience)

    @contextmanager
    def admitted(self) -> Generator[None]:
        """Held from before the request is received until the answer is sent; raises CapacityError."""
        if self._open >= self._most:
            raise CapacityError(
                f"{self._most} calls of {self._method} are open, more are not served; try again later",
                retry_after=RETRY_SECONDS,
            )
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

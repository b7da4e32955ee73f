"""Limits on the requests that are received at once, and on the unary calls of each method that run at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from mismo_grpc.errors import CapacityError

MAX_REQUEST_BYTES = 256 << 10
"""The most bytes of one request; a submit with the most labels takes less than 150 KB."""
RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class CallLimit:
    """Limits of one unary method: calls that run at once, and calls that wait for their turn."""

    at_work: int
    waiting: int


USUAL_LIMIT = CallLimit(at_work=64, waiting=448)


@dataclass(frozen=True)
class CallLimits:
    """The limits of all calls; keys are method paths such as `/mismo.analysis.v1.JobService/ListJobs`."""

    unary: Mapping[str, CallLimit]
    """Limits of unary methods; USUAL_LIMIT for any other method."""
    request_bytes: Mapping[str, int]
    """The most bytes of one request message; MAX_REQUEST_BYTES for any other method."""
    receiving: int = 16
    """First messages of calls that are received at once, of all methods: each can have 4 MiB before it is refused."""
    patience: float = 10.0
    """The longest wait in seconds for the first message, and for a turn."""


class Turns:
    """Lets `at_once` callers run; the others wait in order. On the event loop only."""

    def __init__(self, at_once: int, patience: float) -> None:
        self._semaphore = asyncio.Semaphore(at_once)
        self._patience = patience

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """Waits for a turn and keeps it during the block; raises CapacityError after `patience` seconds of waiting."""
        try:
            async with asyncio.timeout(self._patience):
                await self._semaphore.acquire()
        except TimeoutError:
            raise CapacityError(
                f"the server could not start this call within {self._patience:g} s; try again later",
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
        """Counts a call from before its request is received until its response is sent; raises CapacityError."""
        if self._open >= self._most:
            raise CapacityError(
                f"{self._most} calls of {self._method} are open, which is the limit; try again later",
                retry_after=RETRY_SECONDS,
            )
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

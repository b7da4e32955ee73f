"""When to try again, and how long to wait before: exponential, jittered, bounded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mismo_client.errors import ClientError, MismoRpcError, StreamCorruptError

REOPENED_REASONS = frozenset({"STREAM_IDLE"})
"""Why a server ends a stream whose consumer paused; it goes on when the consumer does."""
LONGEST_RETRY_INFO = 60.0
"""Seconds; a server that asks for more is not waited for any longer."""


@dataclass(frozen=True)
class RetryPolicy:
    """`attempts` in all, delays in seconds."""

    attempts: int = 6
    initial: float = 0.1
    factor: float = 2.0
    longest: float = 3.0

    def delay(self, failures: int, fraction: float) -> float:
        """Seconds to wait after that many failures (from 1); `fraction` (0 to 1) places the jitter.

        Half of it is fixed, so that a retry never comes at once; half is spread, so that many
        clients of a restarted server do not come together.
        """
        whole = min(self.initial * self.factor ** (failures - 1), self.longest)
        return whole * (0.5 + 0.5 * fraction)


@dataclass(frozen=True)
class Pace:
    """The effects of waiting, and who is told of it."""

    sleep: Callable[[float], Awaitable[None]]
    random: Callable[[], float]
    on_retry: Callable[[ClientError, float], None] | None = None


class Attempts:
    """Counts the failures of one call, or of one stream since it last brought something.

    A stream that never brought anything is given up as early as a plain call (`first`); one that
    did is worth the patience a restarting server needs (`then`).
    """

    def __init__(self, pace: Pace, first: RetryPolicy, then: RetryPolicy | None = None) -> None:
        self._pace = pace
        self._policy = first
        self._then = then
        self._failures = 0

    def connected(self) -> None:
        """The server answered: what follows is worth more patience."""
        if self._then is not None:
            self._policy, self._then = self._then, None

    def progressed(self) -> None:
        """Something new arrived whole: failures before it no longer count."""
        self._failures = 0
        self.connected()

    async def after(self, error: ClientError, *, stream: bool = False) -> None:
        """Waits until the next try is due; raises `error` where there shall be none."""
        self._failures += 1
        if self._failures >= self._policy.attempts or not _worth_it(error, stream=stream):
            raise error
        delay = self._policy.delay(self._failures, self._pace.random())
        if isinstance(error, MismoRpcError) and error.retry_delay is not None:
            delay = max(delay, min(error.retry_delay, LONGEST_RETRY_INFO))
        if self._pace.on_retry is not None:
            self._pace.on_retry(error, delay)
        await self._pace.sleep(delay)


def _worth_it(error: ClientError, *, stream: bool) -> bool:
    if isinstance(error, MismoRpcError):
        return error.worth_retrying or (stream and (error.broken_stream or error.reason in REOPENED_REASONS))
    return isinstance(error, StreamCorruptError)

"""How a client behaves; every effect that a test may want to hold is a field."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from mismo_client.channel import ChannelOptions
from mismo_client.errors import ClientError
from mismo_client.retry import Attempts, Pace, RetryPolicy


def new_request_id() -> str:
    """A fresh UUID."""
    return str(uuid.uuid4())


@dataclass(frozen=True)
class ClientOptions:
    """All settings of a client; times in seconds.

    `call_retry` is for calls and for streams that never brought anything, `stream_retry` for
    streams that break later: its default rides out a restart of the server. `on_retry` hears of
    every wait with the error and the seconds.
    """

    channel: ChannelOptions = field(default_factory=ChannelOptions)
    call_timeout: float = 30.0
    call_retry: RetryPolicy = field(default_factory=RetryPolicy)
    stream_retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(attempts=12))
    on_retry: Callable[[ClientError, float], None] | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    new_id: Callable[[], str] = new_request_id

    def _pace(self) -> Pace:
        return Pace(self.sleep, self.random, self.on_retry)

    def call_attempts(self) -> Attempts:
        """For one call."""
        return Attempts(self._pace(), self.call_retry)

    def stream_attempts(self) -> Attempts:
        """For one stream."""
        return Attempts(self._pace(), self.call_retry, self.stream_retry)

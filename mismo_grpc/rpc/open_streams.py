"""Admits streams up to a limit, and none while the server shuts down."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from mismo_grpc.errors import ServerDrainingError, TooManyStreamsError

STREAMS_RETRY_SECONDS = 2.0
DRAINING_RETRY_SECONDS = 5.0


class OpenStreams:
    """Admits streams up to a limit and can end them all; on the event loop only."""

    def __init__(self, max_streams: int) -> None:
        self._max_streams = max_streams
        self._scopes: set[asyncio.Timeout] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False
        self.ending = False
        """Set while the server shuts down; streams that are still open then end with their next message."""

    @property
    def count(self) -> int:
        """The number of open streams."""
        return len(self._scopes)

    def check_draining(self) -> None:
        """Raises ServerDrainingError once the server shuts down."""
        if self.draining:
            raise ServerDrainingError(
                "the server is shutting down; try again when it is back", retry_after=DRAINING_RETRY_SECONDS
            )

    @contextmanager
    def hold(self, scope: asyncio.Timeout) -> Generator[None]:
        """Counts a stream during the block; `end_all` ends it by its `scope`.

        Raises TooManyStreamsError or ServerDrainingError.
        """
        self.check_draining()
        if len(self._scopes) >= self._max_streams:
            raise TooManyStreamsError(
                f"{self._max_streams} streams are open, which is the limit; close some or try again later",
                retry_after=STREAMS_RETRY_SECONDS,
            )
        self._scopes.add(scope)
        self._idle.clear()
        try:
            yield
        finally:
            self._scopes.discard(scope)
            if not self._scopes:
                self._idle.set()

    async def wait_none(self) -> None:
        """Waits until no stream is open."""
        await self._idle.wait()

    async def end_all(self, patience: float) -> None:
        """Ends the streams that are still open after `patience` seconds; new ones are refused from now on."""
        self.draining = True
        try:
            async with asyncio.timeout(patience):
                await self.wait_none()
        except TimeoutError:
            self.ending = True
            now = asyncio.get_running_loop().time()
            for scope in self._scopes:
                if not scope.expired():
                    scope.reschedule(now)

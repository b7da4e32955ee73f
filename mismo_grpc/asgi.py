"""The server as an ASGI application: an external uvicorn serves HTTP, and the lifespan starts gRPC beside it.

Settings come from the environment alone.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any

# gRPC reads its log level when it is imported; at INFO it logs every client that disconnects.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import structlog
from fastapi import FastAPI

from mismo_grpc.app import App, build_app
from mismo_grpc.command import configure_logging, exit_at_last
from mismo_grpc.errors import MismoError
from mismo_grpc.gateway.api.live_progress import LiveProgress
from mismo_grpc.gateway.application import build_application
from mismo_grpc.separation.allocator import keep_freed_memory
from mismo_grpc.settings import Settings

log = structlog.get_logger(__name__)


def create_app() -> FastAPI:
    """Builds an application whose lifespan starts the server, and stops it within the grace time."""
    return build_application(lifespan=_lifespan)


@asynccontextmanager
async def _lifespan(application: FastAPI) -> AsyncGenerator[None]:
    from_environment: dict[str, Any] = {}
    settings = Settings(**from_environment)
    keep_freed_memory()
    configure_logging(settings.log_level)
    log.info("Starting Mismo Audio Analysis Server")
    try:
        server = await build_app(settings, serve_http=False)
        await server.start()
    except (MismoError, OSError) as error:
        log.critical("the server cannot start", reason=str(error))
        raise
    application.state.services = server.services
    stop = _Stop(server, application.state.live_progress)
    with stop.at_the_first_signal():
        watching = asyncio.create_task(_watch(server), name="watch for failure")
        try:
            yield
        finally:
            watching.cancel()
            await stop.done()


class _Stop:
    """Stops the server once: at the first signal or when uvicorn ends the lifespan, whichever comes first.

    The signal is needed because uvicorn ends the lifespan only after its last connection, which may be a long download.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, server: App, live: LiveProgress) -> None:
        self._server = server
        self._live = live
        self._loop = asyncio.get_running_loop()
        self._stopping: asyncio.Task[None] | None = None

    def begin(self) -> asyncio.Task[None]:
        """Starts stopping, unless it has started; on the event loop only."""
        if self._stopping is None:
            exit_at_last(self._server.settings.grace_seconds, 0)
            self._stopping = asyncio.create_task(self._stop(), name="stop")
        return self._stopping

    async def _stop(self) -> None:
        # uvicorn waits for the polls of its clients.
        await self._live.close()
        await self._server.stop()

    async def done(self) -> None:
        """Waits until everything is stopped and stored."""
        await asyncio.shield(self.begin())

    @contextmanager
    def at_the_first_signal(self) -> Generator[None]:
        """Calls uvicorn's own handler at each signal in the block, then starts stopping."""
        before = {number: signal.getsignal(number) for number in self.SIGNALS}

        def on_signal(number: int, frame: FrameType | None) -> None:
            handler = before[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self.begin)

        try:
            for number in self.SIGNALS:
                signal.signal(number, on_signal)
        except ValueError:
            # Python allows signal handlers in the main thread only; elsewhere uvicorn is stopped by other means.
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


async def _watch(server: App) -> None:
    """Ends uvicorn when the server has failed."""
    await server.failed.wait()
    signal.raise_signal(signal.SIGTERM)

"""uvicorn on the event loop that is already running, without its signal handlers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 20.0
"""A connection that has sent no whole request head by then is closed."""
KEEP_ALIVE_SECONDS = 15
BACKLOG = 256
MAX_CONNECTIONS = 1024
"""Open at once, idle ones included; a request past that is answered 503."""


class _Protocol(H11Protocol):
    """Closes connections whose first request head dribbles in, which uvicorn would wait for without end."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEADER_SECONDS, self._give_up, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_timer.cancel()
        super().connection_lost(exc)

    def _give_up(self, transport: asyncio.Transport) -> None:
        # uvicorn's annotation leaves out that there is none before the first request.
        if getattr(self, "cycle", None) is None:
            transport.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tells when it is over."""
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """The process has handlers of its own."""
        yield


class HttpServer:
    """Listens from `start` until `stop`, on the running loop."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listens; answers the port, which port 0 leaves to the system. Raises OSError if it is taken."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = await asyncio.to_thread(_listen, family, self._host, self._port)
        config = uvicorn.Config(
            self._app,
            http=_Protocol,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            limit_concurrency=MAX_CONNECTIONS,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve([listener]), name="http")
        listening = asyncio.ensure_future(self._server.listening.wait())
        await asyncio.wait([listening, self._serving], return_when=asyncio.FIRST_COMPLETED)
        if self._serving.done():
            listening.cancel()
            self._serving.result()
        return int(listener.getsockname()[1])

    async def stop(self, grace: float) -> None:
        """Takes no more requests; what is still being answered after `grace` seconds is cut."""
        if self._server is None or self._serving is None:
            return
        self._server.config.timeout_graceful_shutdown = max(1, round(grace))
        self._server.should_exit = True
        _, late = await asyncio.wait([self._serving], timeout=grace + 1)
        for task in late:
            task.cancel()
            await asyncio.wait([task])


def _listen(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4])
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener

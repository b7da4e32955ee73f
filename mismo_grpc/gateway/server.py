"""Runs uvicorn on the running event loop, without uvicorn's signal handlers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager
from operator import attrgetter
from typing import cast

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from mismo_grpc.gateway.api.live_progress import LiveProgress
from mismo_grpc.gateway.websocket.protocol import (
    FLUSH_SECONDS,
    MAX_MESSAGE_BYTES,
    PING_SECONDS,
    PONG_SECONDS,
    WebSocketProtocol,
)

HEADER_SECONDS = 20.0
"""A connection is closed if no complete request head arrives in this time."""
KEEP_ALIVE_SECONDS = 15
"""A connection is closed if no next request begins in this time after a response; HEADER_SECONDS then applies too."""
BACKLOG = 256
MAX_CONNECTIONS = 1024
"""The most open connections; over that a new one replaces the oldest idle one."""


class _Protocol(H11Protocol):
    """Closes connections that send their request head too slowly or read nothing; uvicorn would wait forever."""

    idle_since: float = 0.0
    """When the wait for a request head began, in seconds of the loop's clock."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.idle_since = self.loop.time()
        self._timer = self.loop.call_later(HEADER_SECONDS, self._check)
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self.idle_since = self.loop.time()
        self._timer.cancel()
        self._timer = self.loop.call_later(KEEP_ALIVE_SECONDS + HEADER_SECONDS, self._check)
        super().on_response_complete()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """The connection's other protocol has its own times."""
        self._timer.cancel()
        super().handle_websocket_upgrade(event)

    @property
    def idle(self) -> bool:
        """Whether no request is being served."""
        # uvicorn's annotation omits that there is no cycle before the first request.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete or self.transport.is_closing()

    def _check(self) -> None:
        if self.idle:
            self.transport.close()
            self._timer = self.loop.call_later(FLUSH_SECONDS, self.transport.abort)
        else:
            self._timer = self.loop.call_later(HEADER_SECONDS, self._check)

    def _make_room(self) -> None:
        others = [other for other in self.connections if isinstance(other, _Protocol) and other is not self]
        idle = [other for other in others if other.idle]
        oldest = min(idle, key=attrgetter("idle_since"), default=None)
        if oldest is not None:
            # Removed now, because `connection_lost` comes later and the next connection would choose it again.
            self.connections.discard(oldest)
            oldest.transport.abort()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Sets `listening` when uvicorn has started."""
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Installs no signal handlers: the process has its own."""
        yield


class HttpServer:
    """The HTTP server, from `start` until `stop`, on the running loop."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Starts listening; returns the port (the system chooses one for port 0). Raises OSError if it is in use."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = await asyncio.to_thread(_listen, family, self._host, self._port)
        config = uvicorn.Config(
            self._app,
            http=_Protocol,
            ws=WebSocketProtocol,
            ws_max_size=MAX_MESSAGE_BYTES,
            # Audio does not get smaller, and each compressor takes memory.
            ws_per_message_deflate=False,
            ws_ping_interval=PING_SECONDS,
            ws_ping_timeout=PONG_SECONDS,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
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
        """Accepts no more requests; ends those that are still being served after `grace` seconds."""
        if self._server is None or self._serving is None:
            return
        live: LiveProgress = self._app.state.live_progress
        await live.close()
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

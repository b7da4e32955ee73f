"""Uvicorn's WebSocket protocol with bounds: on what a client may send at once, and on how long it may read nothing."""

from __future__ import annotations

import asyncio

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

CALLS_PATH = "/ws/"
"""The paths of calls, which end by themselves when the server stops."""
MAX_MESSAGE_BYTES = 4 << 20
"""The most bytes of one message from a client; the limit of the gRPC server."""
PING_SECONDS = 30.0
"""Time between two pings of the server; a proxy that closes silent connections sees them too."""
PONG_SECONDS = 60.0
"""A connection is closed if the ping is not answered in this time; on a slow link much audio goes before it."""
FLUSH_SECONDS = 120.0
"""After this time the data that a closed connection's client has not read is dropped."""
MAX_UNREAD_MESSAGES = 1024
"""The most unread messages and fragments; reading pauses at the first one, but many tiny ones arrive together."""
MAX_UNSENT_BYTES = 8 << 20
"""A client that pings without reading is disconnected when so many bytes wait for it."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Closes connections that flood the server; at shutdown it lets calls end with their own error."""

    _abort_timer: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        super().connection_lost(exc)

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        if not self.disconnected:
            self._abort_timer = self.loop.call_later(FLUSH_SECONDS, self.transport.abort)

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        # Closing waits until the client has read everything.
        self.transport.abort()

    def shutdown(self) -> None:
        if self.handshake_complete and not self.close_sent and self.scope["path"].startswith(CALLS_PATH):
            return
        super().shutdown()

    async def send(self, message: ASGISendEvent) -> None:
        await self.writable.wait()
        if message["type"] == "websocket.send" and self.transport.is_closing():
            # The library would write on, and asyncio log a warning for each message, until it reports the loss.
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            # Otherwise uvicorn logs an error for each handshake that the application refuses.
            self.handshake_complete = True

    def send_receive_event_to_app(self) -> None:
        if self.queue.qsize() >= MAX_UNREAD_MESSAGES:
            self._refuse("too many messages at once")
        else:
            super().send_receive_event_to_app()

    def handle_cont(self, event: Frame) -> None:
        # Empty fragments count nothing towards the size of a message.
        if len(self.frames) >= MAX_UNREAD_MESSAGES:
            self._refuse("too many fragments")
        else:
            super().handle_cont(event)

    def handle_ping(self) -> None:
        if self.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self.transport.abort()
        else:
            super().handle_ping()

    def _refuse(self, why: str) -> None:
        self.frames = []
        if not self.close_sent:
            self.conn.fail(CloseCode.POLICY_VIOLATION, why)
            self.handle_parser_exception()

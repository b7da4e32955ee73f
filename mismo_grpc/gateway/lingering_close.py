"""Lingering close: delivers a response, such as an error, to a client that is still sending its request's body.

Closing a connection with unread bytes resets it, and the client would lose the response.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGERING_SECONDS = 2.0
LINGERING_BYTES = 64 << 20
"""The most bytes of the body that are read and dropped while the client notices the response."""


class LingeringClose:
    """Delays the end of a response while it reads and drops the rest of the request's body, within bounds."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        unread = True

        async def read() -> Message:
            nonlocal unread
            message = await receive()
            unread = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def send_then_drop_body(message: Message) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if not (last and unread):
                await send(message)
                return
            await send({**message, "more_body": True})
            dropped = 0
            try:
                async with asyncio.timeout(LINGERING_SECONDS):
                    while unread and dropped < LINGERING_BYTES:
                        dropped += len((await read()).get("body", b""))
            except TimeoutError:
                pass
            await send({"type": "http.response.body", "body": b""})

        await self._app(scope, read, send_then_drop_body)

"""An answer that comes before the request's body is read reaches a client that is still sending.

A connection that is closed with unread bytes in it is reset, and the client never sees why.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_SECONDS = 2.0
LINGER_BYTES = 64 << 20
"""Read and dropped at most while the client takes notice."""


class Lingering:
    """Holds the end of an answer back while what is left of the body is dropped, within bounds."""

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

        async def lingering(message: Message) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if not (last and unread):
                await send(message)
                return
            await send({**message, "more_body": True})
            dropped = 0
            try:
                async with asyncio.timeout(LINGER_SECONDS):
                    while unread and dropped < LINGER_BYTES:
                        dropped += len((await read()).get("body", b""))
            except TimeoutError:
                pass
            await send({"type": "http.response.body", "body": b""})

        await self._app(scope, read, lingering)

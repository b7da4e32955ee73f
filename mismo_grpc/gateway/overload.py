"""No more requests at once than there is room for; whoever watches the server is answered all the same."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from mismo_grpc.errors import CapacityError
from mismo_grpc.gateway.errors import error_response

MAX_REQUESTS = 512
"""In work at once: bodies that come in, downloads that go out."""
ALWAYS_ANSWERED = ("/health", "/ready", "/metrics")


class BoundedRequests:
    """Answers 503 to what comes past MAX_REQUESTS."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._in_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["path"] in ALWAYS_ANSWERED:
            await self._app(scope, receive, send)
            return
        if self._in_work >= MAX_REQUESTS:
            error = CapacityError("too many requests are in work; try again shortly", retry_after=1)
            await error_response(error)(scope, receive, send)
            return
        self._in_work += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_work -= 1

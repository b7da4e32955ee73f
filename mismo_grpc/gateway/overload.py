"""Limits the requests and WebSockets that are served at once; health, readiness and metrics are always served."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from mismo_grpc.errors import CapacityError
from mismo_grpc.gateway.errors import error_response

MAX_REQUESTS = 512
"""The most requests served at once, including uploads and downloads in progress."""
MAX_WEBSOCKETS = 512
"""The most open WebSockets; they have a limit of their own, because they stay open for hours."""
ALWAYS_ANSWERED = ("/health", "/ready", "/metrics")


class BoundedRequests:
    """Middleware that responds with 503 to requests over MAX_REQUESTS and to WebSockets over MAX_WEBSOCKETS."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._most = {"http": MAX_REQUESTS, "websocket": MAX_WEBSOCKETS}
        self._in_work = {"http": 0, "websocket": 0}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        kind = scope["type"]
        if kind not in self._most or scope["path"] in ALWAYS_ANSWERED:
            await self._app(scope, receive, send)
            return
        if self._in_work[kind] >= self._most[kind]:
            error = CapacityError("the server is serving too many requests; try again shortly", retry_after=1)
            await error_response(error)(scope, receive, send)
            return
        self._in_work[kind] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_work[kind] -= 1

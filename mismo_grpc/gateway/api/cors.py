"""Cross-origin responses for the web pages that may use this server.

Which pages may is decided in one place, `ServerNames`: requests of others never get here. So a request that gets here
with an Origin is allowed, and its response says so to the browser.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
EXPOSED = "ETag, Content-Range, Accept-Ranges, Content-Length, Content-Disposition, Repr-Digest, Retry-After, Location"
"""Headers that scripts of other origins may read besides the few that they always may."""
REMEMBERED_SECONDS = 600
_HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, \t-]{0,1000}")


class AllowedOrigins:
    """Middleware that answers preflights and adds CORS headers; put it behind `KnownHosts`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is not None and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _preflight(headers, origin)(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                mark(MutableHeaders(scope=message), origin)
            await send(message)

        await self._app(scope, receive, marked)


def mark(headers: MutableHeaders, origin: str | None) -> None:
    """Adds the headers of a response to a request with this Origin; None: it had none."""
    # A cache must not give the response for one origin to another.
    headers.add_vary_header("Origin")
    if origin is not None:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = EXPOSED


def _preflight(asked: Headers, origin: str) -> Response:
    response = Response(status_code=204)
    headers = response.headers
    headers["Access-Control-Allow-Origin"] = origin
    headers["Access-Control-Allow-Methods"] = METHODS
    wanted = asked.get("access-control-request-headers", "")
    if wanted and _HEADER_NAMES.fullmatch(wanted):
        headers["Access-Control-Allow-Headers"] = wanted
    if asked.get("access-control-request-private-network") == "true":
        # A page in the internet may then reach a server in the local network.
        headers["Access-Control-Allow-Private-Network"] = "true"
    headers["Access-Control-Max-Age"] = str(REMEMBERED_SECONDS)
    headers["Vary"] = (
        "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, "
        "Access-Control-Request-Private-Network"
    )
    return response

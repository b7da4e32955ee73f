"""Checks the host names in requests, so that foreign web pages cannot use the server.

The server requires no password, so a foreign page in the operator's browser must not reach it. Such a page has two
ways. It sends a cross-origin request: the browser then names the page's origin in `Origin`. Or the page's own host name
is changed to resolve to the server's address (DNS rebinding): the browser then takes the server for the page's own
origin, and `Host` has the page's host name.

An attacker needs a name in the public DNS for that. Addresses, localhost and names without a dot (of a container, of
a machine in the same network) are not in it, so they are allowed without being listed.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from mismo_grpc.delivery.guard import AllowedHosts
from mismo_grpc.errors import HostForbiddenError
from mismo_grpc.gateway.errors import error_response
from mismo_grpc.gateway.services import Services

SETTING = "MISMO_HTTP_ALLOWED_HOSTS"
SHOWN_CHARS = 100
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@/?#\s]+))(?::\d{1,5})?")


class ServerNames:
    """The server's names: the host it listens on, the machine's name, and those in `allowed`; `*` allows any."""

    def __init__(self, listens_on: str, allowed: Sequence[str]) -> None:
        machine = socket.gethostname().lower()
        # Machines in the same network find each other as NAME.local (multicast DNS).
        self._own = {listens_on.lower(), machine, f"{machine}.local"}
        self._any = "*" in allowed
        self._listed = AllowedHosts(allowed) if allowed and not self._any else None

    def check(self, headers: Headers) -> None:
        """Raises HostForbiddenError, which names the header. A request without `Host` passes: no browser sends one."""
        if self._any:
            return
        hosts = headers.getlist("host")
        for host in hosts:
            if not self._is_mine(host):
                raise HostForbiddenError(
                    f"Host: this server is not called {host[:SHOWN_CHARS]!r}; reach it as localhost, by its "
                    f"address or by a name without dots, or have the name added to {SETTING}",
                    field="Host",
                )
        for origin in headers.getlist("origin"):
            authority = origin.partition("://")[2]
            if authority.lower() not in (host.lower() for host in hosts) and not self._is_listed(authority):
                raise HostForbiddenError(
                    f"Origin: web pages of {origin[:SHOWN_CHARS]!r} may not use this server; have their host "
                    f"added to {SETTING}",
                    field="Origin",
                )

    def _is_mine(self, host: str) -> bool:
        name = _name(host)
        if not name:
            return False
        local = "." not in name or name.endswith(".localhost") or name in self._own
        return local or _is_address(name) or self._is_listed(host)

    def _is_listed(self, host: str) -> bool:
        name = _name(host)
        if not name or self._listed is None:
            return False
        return self._listed.covers(name, [ip_address(name)] if _is_address(name) else ())


class KnownHosts:
    """Middleware that rejects requests and WebSockets which fail `ServerNames.check`, on every route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._names: ServerNames | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] in ("http", "websocket"):
            if self._names is None:
                services: Services = scope["app"].state.services
                self._names = ServerNames(services.settings.host, services.settings.http_allowed_hosts)
            try:
                self._names.check(Headers(scope=scope))
            except HostForbiddenError as error:
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _name(authority: str) -> str:
    """Returns the host of `host[:port]`, in lower case and without the final dot; "" if it is malformed."""
    parts = _AUTHORITY.fullmatch(authority)
    return (parts[1] or parts[2]).lower().removesuffix(".") if parts else ""


def _is_address(name: str) -> bool:
    try:
        return bool(ip_address(name))
    except ValueError:
        return False

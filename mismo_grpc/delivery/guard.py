"""Checks where callbacks may go: the URL when it is submitted, and its host's addresses before every attempt.

The check is on the addresses that a host resolves to, not on how it is written. The connection goes to an address
that was checked here: resolving the name a second time could give another address (DNS rebinding).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

import httpx2

from mismo_grpc.delivery.addresses import Address, Network, refusal, unwrapped
from mismo_grpc.errors import InvalidFieldError

MAX_URL_CHARS = 2048
MAX_HOST_CHARS = 253
MAX_ADDRESSES = 16
"""The most addresses of one host that are tried."""

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?")
_DEFAULT_PORTS = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class ForbiddenAddressError(Exception):
    """A callback's host has a forbidden address; a retry does not help."""


@dataclass(frozen=True)
class Target:
    """A parsed URL; `host` is ASCII, `path` includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port as in a URL, also for log lines: without path and query."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


class AllowedHosts:
    """A list of host names, `*.domain` patterns and address ranges; an empty list allows every host."""

    def __init__(self, entries: Sequence[str] = ()) -> None:
        self._networks: list[Network] = []
        self._names: set[str] = set()
        self._domains: list[str] = []
        for entry in map(str.strip, entries):
            try:
                self._networks.append(ip_network(entry, strict=False))
            except ValueError:
                if entry.startswith("*."):
                    self._domains.append("." + _plain(entry[2:]))
                else:
                    self._names.add(_plain(entry))
        self.any = not entries

    def covers(self, host: str, addresses: Sequence[Address]) -> bool:
        """Whether the host's name is in the list, or every one of its addresses."""
        name = host.lower().rstrip(".")
        if self.any or name in self._names or any(name.endswith(domain) for domain in self._domains):
            return True
        return bool(addresses) and all(
            any(reached in network for network in self._networks)
            for address in addresses
            for reached in unwrapped(address)
        )

    def may_cover(self, host: str) -> bool:
        """Whether `covers` can be true for this host; needs no name look-up."""
        return bool(self._networks) or self.covers(host, ())


class UrlGuard:
    """Checks callback URLs: cheaply when they are submitted, thoroughly each time before they are called."""

    def __init__(self, resolve: Resolve, allowed_hosts: Sequence[str] = ()) -> None:
        self._resolve = resolve
        self._allowed = AllowedHosts(allowed_hosts)

    def check_callback_url(self, url: str, field: str = "callback_url") -> Target:
        """Parses and checks a URL without looking up its host; does not block. Raises InvalidFieldError."""
        target = parse_url(url, field)
        addresses = _numeric(target)
        try:
            self._check(target, addresses)
        except ForbiddenAddressError as error:
            raise InvalidFieldError(f"{field}: {error}", field=field) from error
        return target

    async def addresses(self, target: Target) -> list[str]:
        """Looks up the host and returns its checked addresses in the order to try them; the caller bounds the wait.

        Raises ForbiddenAddressError if any address is forbidden, OSError if the host has none.
        """
        found = [ip_address(text) for text in await self._resolve(target.host, target.port)]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "the host has no address")
        self._check(target, found)
        return [str(address) for address in found[:MAX_ADDRESSES]]

    def _check(self, target: Target, addresses: Sequence[Address]) -> None:
        for address in addresses:
            if kind := refusal(address):
                raise ForbiddenAddressError(
                    f"the host {target.host} is at {address}, which is {kind}: callbacks never go there; give the "
                    "URL of your own server"
                )
        covered = (
            self._allowed.covers(target.host, addresses)
            if addresses
            else self._allowed.may_cover(target.host)
        )
        if not covered:
            raise ForbiddenAddressError(
                f"the host {target.host} is not one that callbacks may go to; use an allowed one, or add it to "
                "MISMO_CALLBACK_ALLOWED_HOSTS on the server"
            )


def parse_url(url: str, field: str = "callback_url") -> Target:
    """Parses a callback URL; raises InvalidFieldError unless it is a plain http or https URL."""

    def wrong(fault: str) -> InvalidFieldError:
        return InvalidFieldError(f"{field}: {fault}", field=field)

    if len(url) > MAX_URL_CHARS:
        raise wrong(f"the URL has more than {MAX_URL_CHARS} characters; give a shorter one")
    if not url.isprintable() or any(char.isspace() or char == "\\" for char in url):
        raise wrong("the URL has spaces, backslashes or unprintable characters; encode them with %")
    try:
        parsed = httpx2.URL(url)
        host = parsed.raw_host.decode("ascii")
        port = parsed.port
        path = parsed.raw_path.decode("ascii")
    except (httpx2.InvalidURL, ValueError) as error:
        raise wrong("this is no URL; give one like http://app-server:3000/callback") from error
    if parsed.scheme not in _DEFAULT_PORTS or not host:
        raise wrong("the URL must begin with http:// or https:// and name a host")
    if parsed.userinfo:
        raise wrong("the URL must not hold a user or password; have the callbacks signed (CALLBACK_SECRET)")
    if len(host) > MAX_HOST_CHARS or not (_is_address(host) or _HOST.fullmatch(host)):
        raise wrong("the URL's host is no host name or address")
    if port is None:
        port = _DEFAULT_PORTS[parsed.scheme]
    if not 1 <= port <= 65535:
        raise wrong("the URL's port must be 1 to 65535")
    return Target(parsed.scheme, host, port, path)


def _is_address(host: str) -> bool:
    try:
        # An address with a zone (fe80::1%eth0) means something only on the machine that wrote it.
        return "%" not in host and bool(ip_address(host))
    except ValueError:
        return False


def _numeric(target: Target) -> list[Address]:
    """Returns the addresses of a numeric host, in any notation that the system accepts; none for a name."""
    try:
        # With this flag it asks no name server, so it does not block.
        found = socket.getaddrinfo(
            target.host, target.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except OSError:
        return []
    return [ip_address(entry[4][0]) for entry in found]


def _plain(name: str) -> str:
    """Normalises a name from the settings as hosts are normalised: ASCII, lower case, no final dot."""
    return httpx2.URL(f"http://{name}/").raw_host.decode("ascii").lower().rstrip(".")

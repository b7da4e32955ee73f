"""Checks whether the server can listen on an address, and words the error if it cannot."""

from __future__ import annotations

import socket


def check_address(host: str, port: int, option: str) -> None:
    """Raises an OSError with a readable message if the address cannot be listened on; blocks on name look-up."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        raise cannot_listen(host, port, error.strerror, option) from error


def cannot_listen(host: str, port: int, reason: str | None, option: str) -> OSError:
    """Builds the error for an address that is in use or belongs to another machine."""
    return OSError(
        f"cannot listen on {host}:{port} ({reason}); choose another {option} (0: a free one) or --host"
    )

"""Whether an address can be listened on, and the words for one that cannot."""

from __future__ import annotations

import socket


def check_address(host: str, port: int, option: str) -> None:
    """Raises OSError, in words for a person, if nothing can listen there; blocks on name look-up."""
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
    """The error of an address that is taken or not this machine's."""
    return OSError(
        f"cannot listen on {host}:{port} ({reason}); choose another {option} (0: a free one) or --host"
    )

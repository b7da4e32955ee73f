"""Looks up names in threads of their own, so that a name server that does not answer blocks nothing else."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence

LOOKUPS = 16
"""The most look-ups at once; further ones wait."""


def look_up(host: str, port: int) -> list[str]:
    """Returns the addresses of a host as text, in the order to try them; blocks. Raises socket.gaierror."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Resolver:
    """Looks up a host's addresses; `lookup` is the blocking call. For one event loop only.

    It uses daemon threads instead of a pool, because the process waits for a pool's threads when it ends.
    """

    def __init__(self, lookup: Callable[[str, int], Sequence[str]] = look_up) -> None:
        self._lookup = lookup
        self._turns = asyncio.Semaphore(LOOKUPS)

    async def __call__(self, host: str, port: int) -> list[str]:
        """Returns the addresses of a host; the caller bounds the wait. Raises OSError (socket.gaierror) for none."""
        loop = asyncio.get_running_loop()
        await self._turns.acquire()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def resolve(found: list[str] | None, error: Exception | None) -> None:
            self._turns.release()
            if answer.cancelled():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(found or [])

        def ask() -> None:
            found: list[str] | None = None
            error: Exception | None = None
            try:
                found = list(self._lookup(host, port))
            except OSError as trouble:
                error = trouble
            except Exception as trouble:
                # UnicodeError, for a name that cannot be encoded for DNS.
                error = socket.gaierror(socket.EAI_NONAME, str(trouble))
            try:
                loop.call_soon_threadsafe(resolve, found, error)
            except RuntimeError:
                # The event loop was closed meanwhile.
                return

        try:
            threading.Thread(target=ask, name=f"look up {host}", daemon=True).start()
        except RuntimeError as error:
            self._turns.release()
            raise OSError(f"no thread for a name look-up ({error})") from error
        return await answer

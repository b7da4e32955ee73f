"""Name look-ups that hold up nobody else: a name server that does not answer costs one thread until it gives up."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence

LOOKUPS = 16
"""Under way at once at most; further ones wait their turn."""


def look_up(host: str, port: int) -> list[str]:
    """The addresses of a host as text, in the order to try them; blocks. Raises socket.gaierror."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Resolver:
    """Asks the system for a host's addresses; `lookup` is the blocking question. One event loop only.

    The threads are daemons and not of a pool, which would be waited for when the server stops.
    """

    def __init__(self, lookup: Callable[[str, int], Sequence[str]] = look_up) -> None:
        self._lookup = lookup
        self._turns = asyncio.Semaphore(LOOKUPS)

    async def __call__(self, host: str, port: int) -> list[str]:
        """The addresses of a host; the caller bounds the wait. Raises OSError (socket.gaierror) if there are none."""
        loop = asyncio.get_running_loop()
        await self._turns.acquire()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def settle(found: list[str] | None, error: Exception | None) -> None:
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
                # UnicodeError, for a name that cannot be asked for.
                error = socket.gaierror(socket.EAI_NONAME, str(trouble))
            try:
                loop.call_soon_threadsafe(settle, found, error)
            except RuntimeError:
                # The server has stopped meanwhile.
                return

        try:
            threading.Thread(target=ask, name=f"look up {host}", daemon=True).start()
        except RuntimeError as error:
            self._turns.release()
            raise OSError(f"no thread for a name look-up ({error})") from error
        return await answer

"""Connections of callbacks: to an address that was checked, and listening while they send.

A body may be 160 MB. A receiver that refuses it (413, 401, ...) says so at once, and may then read no further or
close: whoever only sends would wait for the timeout, or lose the answer to the reset that follows.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, cast

import httpcore2

CONNECT_SECONDS = 5.0
"""For one address of several; the last one may take as long as the attempt."""
LINGER_SECONDS = 2.0
READ_BYTES = 1 << 16
_STATUS_AT = len(b"HTTP/1.1 ")


class PinnedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to the given addresses, whatever host is asked for; the first that answers is taken."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._network = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """See AsyncNetworkBackend; raises httpcore2.ConnectError or ConnectTimeout of the last address."""
        for address in self._addresses[:-1]:
            try:
                stream = await self._network.connect_tcp(address, port, CONNECT_SECONDS)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
            return ListeningStream(stream)
        return ListeningStream(await self._network.connect_tcp(self._addresses[-1], port, timeout))


class ListeningStream(httpcore2.AsyncNetworkStream):
    """Stops writing as soon as the other side has refused; what it said is read next."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner
        self._listening: asyncio.Task[bytes] | None = None
        self._heard = b""
        self._thanked = False
        """Whether the answer was a good one and came before all was written."""

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """See AsyncNetworkStream."""
        return ListeningStream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See AsyncNetworkStream; raises httpcore2.WriteError once there is an answer that makes it needless."""
        if not buffer:
            return
        writing = asyncio.ensure_future(self._inner.write(buffer, timeout))
        try:
            while not writing.done():
                self._hear()
                if self._refused:
                    raise httpcore2.WriteError("the answer came before the request was sent")
                if len(self._heard) > _STATUS_AT:
                    # It goes on reading, or says so: what else it says can wait.
                    self._thanked = True
                    await asyncio.wait((writing,))
                else:
                    self._listening = self._listening or asyncio.ensure_future(self._inner.read(READ_BYTES))
                    await asyncio.wait((writing, self._listening), return_when=asyncio.FIRST_COMPLETED)
            writing.result()
        finally:
            await _ended(writing)

    def _hear(self) -> None:
        """Puts aside what was said; an end or an error stays in the task, for `read`."""
        task = self._listening
        if (
            task is not None
            and task.done()
            and not task.cancelled()
            and task.exception() is None
            and task.result()
        ):
            self._heard += task.result()
            self._listening = None

    @property
    def _refused(self) -> bool:
        if self._listening is not None and self._listening.done():
            return True
        return self._heard[_STATUS_AT : _STATUS_AT + 1] in (b"3", b"4", b"5")

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """See AsyncNetworkStream."""
        if not self._heard and self._listening is None:
            return await self._inner.read(max_bytes, timeout)
        if not self._heard and self._listening is not None:
            done, _ = await asyncio.wait((self._listening,), timeout=timeout)
            if not done:
                raise httpcore2.ReadTimeout("no answer in time")
            heard = self._listening.result()
            if not heard:
                return b""
            self._heard, self._listening = heard, None
        heard, self._heard = self._heard[:max_bytes], self._heard[max_bytes:]
        return heard

    async def aclose(self) -> None:
        """See AsyncNetworkStream."""
        if self._listening is not None:
            await _ended(self._listening)
        if self._thanked:
            # Who answered before it had read all still does so; closing would cut off what is on its way.
            with suppress(TimeoutError, httpcore2.NetworkError):
                async with asyncio.timeout(LINGER_SECONDS):
                    while await self._inner.read(READ_BYTES):
                        pass
        await self._inner.aclose()

    def get_extra_info(self, info: str) -> Any:
        """See AsyncNetworkStream."""
        return self._inner.get_extra_info(info)


async def _ended(task: asyncio.Future[Any]) -> None:
    """Cancels a task and waits for its end; nobody asks for its result any more."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()

"""Connections for callbacks: they go to a checked address, and read the response while they still send the request.

A body may have 160 MB. A receiver that refuses it (413, 401, ...) responds at once, and may then stop reading or
close. A sender that does not read meanwhile would wait for its timeout, or lose the response to the connection reset.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, cast

import httpcore2

CONNECT_SECONDS = 5.0
"""Time to connect to one address while others remain; the last address may take the rest of the attempt."""
LINGERING_CLOSE_SECONDS = 2.0
READ_BYTES = 1 << 16
_STATUS_AT = len(b"HTTP/1.1 ")


class PinnedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to the given addresses in order, whatever host is requested; the first that accepts is used."""

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
    """Stops writing as soon as the receiver has refused the request; the next `read` returns its response."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner
        self._reading: asyncio.Task[bytes] | None = None
        self._received = b""
        self._answered_early = False
        """Whether a success response came before the request was fully written."""

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """See AsyncNetworkStream."""
        return ListeningStream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See AsyncNetworkStream; raises httpcore2.WriteError once a response has made the rest unnecessary."""
        if not buffer:
            return
        writing = asyncio.ensure_future(self._inner.write(buffer, timeout))
        try:
            while not writing.done():
                self._collect()
                if self._refused:
                    raise httpcore2.WriteError("the response came before the request was sent")
                if len(self._received) > _STATUS_AT:
                    # A success or interim response: the receiver goes on reading, so the rest is sent.
                    self._answered_early = True
                    await asyncio.wait((writing,))
                else:
                    self._reading = self._reading or asyncio.ensure_future(self._inner.read(READ_BYTES))
                    await asyncio.wait((writing, self._reading), return_when=asyncio.FIRST_COMPLETED)
            writing.result()
        finally:
            await _cancel_and_wait(writing)

    def _collect(self) -> None:
        """Stores the bytes that were read; an end of stream or an error stays in the task, for `read`."""
        task = self._reading
        if (
            task is not None
            and task.done()
            and not task.cancelled()
            and task.exception() is None
            and task.result()
        ):
            self._received += task.result()
            self._reading = None

    @property
    def _refused(self) -> bool:
        if self._reading is not None and self._reading.done():
            return True
        return self._received[_STATUS_AT : _STATUS_AT + 1] in (b"3", b"4", b"5")

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """See AsyncNetworkStream."""
        if not self._received and self._reading is None:
            return await self._inner.read(max_bytes, timeout)
        if not self._received and self._reading is not None:
            done, _ = await asyncio.wait((self._reading,), timeout=timeout)
            if not done:
                raise httpcore2.ReadTimeout("no answer in time")
            received = self._reading.result()
            if not received:
                return b""
            self._received, self._reading = received, None
        received, self._received = self._received[:max_bytes], self._received[max_bytes:]
        return received

    async def aclose(self) -> None:
        """See AsyncNetworkStream."""
        if self._reading is not None:
            await _cancel_and_wait(self._reading)
        if self._answered_early:
            # The receiver responded early and still reads; closing now would cut off data in transit.
            with suppress(TimeoutError, httpcore2.NetworkError):
                async with asyncio.timeout(LINGERING_CLOSE_SECONDS):
                    while await self._inner.read(READ_BYTES):
                        pass
        await self._inner.aclose()

    def get_extra_info(self, info: str) -> Any:
        """See AsyncNetworkStream."""
        return self._inner.get_extra_info(info)


async def _cancel_and_wait(task: asyncio.Future[Any]) -> None:
    """Cancels a task, waits for its end and discards its result."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()

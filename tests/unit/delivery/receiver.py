"""A real HTTP server of a few lines that callbacks are sent to, and that can misbehave in every way a receiver does."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

PATIENCE = 60.0
"""Longest wait for something that is sure to come, in seconds."""


@dataclass
class Visit:
    """One request as it came in."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    line: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytearray = field(default_factory=bytearray)
    received: int = 0
    digest: str = ""

    @property
    def length(self) -> int:
        return int(self.headers["content-length"])

    async def read_head(self) -> None:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
        self.line = head[0]
        pairs = [line.split(": ", 1) for line in head[1:] if line]
        self.headers = {name.lower(): value for name, value in pairs}
        assert len(self.headers) == len(pairs), "a header came twice"

    async def read_body(self, keep: bool = True, piece: int = 1 << 16) -> None:
        digest = hashlib.sha256()
        while self.received < self.length:
            block = await self.reader.read(min(piece, self.length - self.received))
            if not block:
                break
            self.received += len(block)
            digest.update(block)
            if keep:
                self.body += block
        self.digest = digest.hexdigest()

    async def answer(self, status: int, *headers: str, body: bytes = b"") -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
        self.writer.write("\r\n".join(lines).encode("ascii") + body)
        await self.writer.drain()

    async def gone(self) -> None:
        """Waits until the other side has hung up."""
        try:
            while await self.reader.read(1 << 16):
                pass
        except OSError:
            return


Behaviour = Callable[[Visit], Awaitable[None]]


class Receiver:
    """Serves on 127.0.0.1; the n-th request is met by the n-th behaviour, later ones by the last."""

    def __init__(self, *behaviours: Behaviour, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self._port = port
        self._behaviours = behaviours or (answering(200),)
        self._tls = tls
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self.visits: list[Visit] = []
        """Requests whose head was read."""
        self.open = 0
        self.most_open = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/callback"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        visit = Visit(reader, writer)
        try:
            await visit.read_head()
            self.visits.append(visit)
            behaviour = self._behaviours[min(len(self.visits), len(self._behaviours)) - 1]
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            await self._notify()
            try:
                await behaviour(visit)
            finally:
                self.open -= 1
                await self._notify()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until it holds; it is looked at when a request comes or ends."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(condition)

    async def visited(self, count: int) -> None:
        await self.until(lambda: len(self.visits) >= count)


def answering(status: int, *headers: str, body: bytes = b"", keep: bool = True) -> Behaviour:
    async def behave(visit: Visit) -> None:
        await visit.read_body(keep)
        await visit.answer(status, *headers, body=body)

    return behave


async def hanging(visit: Visit) -> None:
    """Reads the request and never answers."""
    await visit.read_body()
    await visit.gone()


async def deaf(visit: Visit) -> None:
    """Reads no further than the head."""
    await asyncio.Event().wait()


async def closing(visit: Visit) -> None:
    """Hangs up without an answer."""
    await visit.read_body()


async def resetting(visit: Visit) -> None:
    """Breaks the connection off in the middle."""
    connection: socket.socket = visit.writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    visit.writer.transport.abort()


async def refusing_unread(visit: Visit) -> None:
    """Refuses by the head alone, and leaves the connection as it is."""
    await visit.answer(413)
    await asyncio.Event().wait()


async def thanking_first(visit: Visit) -> None:
    """Answers at once, and reads the request afterwards."""
    await visit.answer(202)
    await visit.read_body()


async def slowly_reading(visit: Visit) -> None:
    while visit.received < visit.length:
        block = await visit.reader.read(2048)
        visit.received += len(block)
        visit.body += block
        for _ in range(3):
            await asyncio.sleep(0)
    await visit.answer(200)


async def talking_on_and_on(visit: Visit) -> None:
    """Answers well, with a body that has no end."""
    await visit.read_body()
    visit.writer.write(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        visit.writer.write(b"1000\r\n" + bytes(4096) + b"\r\n")
        await visit.writer.drain()

"""What speaks HTTP to the server, and what the server speaks HTTP to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.calls import PATIENCE


@dataclass
class Post:
    """A callback as it came."""

    headers: dict[str, str]
    body: Any


@dataclass
class Receiver:
    """The app server's side of callbacks; `answer` gives the status of the n-th one (from 0)."""

    url: str = ""
    posts: list[Post] = field(default_factory=list[Post])
    answer: Callable[[int], int] = lambda _: 200
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def received(self, count: int = 1) -> list[Post]:
        """Once so many came."""
        async with asyncio.timeout(PATIENCE):
            while len(self.posts) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.posts

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers["content-length"]))
        status = self.answer(len(self.posts))
        self.posts.append(Post(headers, json.loads(body)))
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        self._arrived.set()


@asynccontextmanager
async def receiver(port: int = 0) -> AsyncGenerator[Receiver]:
    """Listens for callbacks."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", port, limit=1 << 20)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/analysis/callback"
    try:
        yield receiver
    finally:
        server.close()
        await server.wait_closed()

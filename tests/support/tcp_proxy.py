"""A TCP proxy between a client and a real server that makes the network bad."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from mismo_grpc.completion import wait_ended

CHUNK_BYTES = 16 << 10


class TcpProxy:
    """Forwards connections to `port` of this machine; use it in `async with`.

    `delay`: seconds before each chunk of a response. `flowing`: while it is cleared, nothing is forwarded in either
    direction. `responses_left`: bytes of responses that still pass, then the connections are closed; None: no limit.
    `hold_response_at`, `hold_request_at`: once so many bytes have come, `flowing` is cleared and `held` set.
    `refusals`: connections that are closed at once, the next ones first. `received` is set by the first bytes of a
    request; `requested` and `passed` count the bytes of requests and responses.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.delay = 0.0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.responses_left: int | None = None
        self.hold_response_at: int | None = None
        self.hold_request_at: int | None = None
        self.held = asyncio.Event()
        self.refusals = 0
        self.received = asyncio.Event()
        self.requested = 0
        self._grew = asyncio.Event()
        self.passed = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> TcpProxy:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await wait_ended(list(self._tasks))

    async def cut(self) -> None:
        """Ends all connections at once."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await wait_ended(tasks)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    async def has_received(self, count: int) -> None:
        """Waits until the requests have had so many bytes."""
        while self.requested < count:
            self._grew.clear()
            await self._grew.wait()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusals:
            self.refusals -= 1
            writer.transport.abort()
            return
        writers = [writer]
        try:
            with suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
                writers.append(far_writer)
                ways = [
                    asyncio.create_task(self._requests(reader, far_writer)),
                    asyncio.create_task(self._responses(far_reader, writer)),
                ]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await wait_ended(ways)
        finally:
            for each in writers:
                each.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            self.requested += len(data)
            self.received.set()
            self._grew.set()
            if self.hold_request_at is not None and self.requested >= self.hold_request_at:
                self._hold()
            await self.flowing.wait()
            writer.write(data)
            await writer.drain()

    async def _responses(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            await self.flowing.wait()
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.responses_left is not None:
                data = data[: self.responses_left]
                self.responses_left -= len(data)
                if not data:
                    return
            self.passed += len(data)
            if self.hold_response_at is not None and self.passed >= self.hold_response_at:
                self._hold()
            writer.write(data)
            await writer.drain()

    def _hold(self) -> None:
        self.hold_request_at = self.hold_response_at = None
        self.flowing.clear()
        self.held.set()

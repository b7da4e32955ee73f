"""A client of calls over WebSockets that mends nothing: what it sends and reads is what the gateway promises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.calls import PATIENCE

M = TypeVar("M", bound=Message)

JOBS = "mismo.analysis.v1.JobService"
TRANSFER = "mismo.analysis.v1.TransferService"
SYSTEM = "mismo.analysis.v1.SystemService"


@dataclass(frozen=True)
class Failure:
    """How a call failed: the error of its text frame, and the code that the socket was closed with."""

    error: dict[str, Any]
    close_code: int


class Socket:
    """One call."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, message: Message) -> None:
        await self.connection.send(message.SerializeToString())

    async def half_close(self) -> None:
        """Says that no message follows."""
        await self.connection.send("")

    async def next(self, kind: type[M]) -> M:
        """The next response; fails if the call ends instead."""
        frame = await asyncio.wait_for(self.connection.recv(), PATIENCE)
        assert isinstance(frame, bytes), frame
        return kind.FromString(frame)

    async def next_of(self, kind: type[Any], field: str) -> Any:
        """The next response with one kind of message; others are passed over."""
        while True:
            message = await self.next(kind)
            if message.WhichOneof("message") == field:
                return getattr(message, field)

    async def rest(self, kind: type[M]) -> list[M]:
        """All responses until the call succeeds."""
        found: list[M] = []
        while True:
            try:
                found.append(await self.next(kind))
            except ConnectionClosed:
                assert self.connection.close_code == 1000
                return found

    async def failure(self) -> Failure:
        """How the call fails; responses before are passed over."""
        async with asyncio.timeout(PATIENCE):
            while not isinstance(frame := await self.connection.recv(), str):
                pass
            document = json.loads(frame)
            await self.connection.wait_closed()
        assert set(document) == {"error"}
        assert self.connection.close_code is not None
        return Failure(document["error"], self.connection.close_code)


def url_of(port: int, method: str) -> str:
    """Where a method is called, such as `mismo.analysis.v1.JobService/GetJob`."""
    return f"ws://127.0.0.1:{port}/ws/{method}"


@asynccontextmanager
async def calling(port: int, method: str, **given: Any) -> AsyncGenerator[Socket]:
    """Opens a call; `given` goes to websockets."""
    async with connect(
        url_of(port, method), max_size=8 << 20, compression=None, open_timeout=PATIENCE, **given
    ) as connection:
        yield Socket(connection)


async def called(port: int, method: str, request: Message, kind: type[M]) -> M:
    """Makes a unary call."""
    async with calling(port, method) as call:
        await call.send(request)
        [response] = await call.rest(kind)
        return response

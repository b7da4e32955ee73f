"""Server streams that are opened again when they break."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeVar

import grpc

from mismo_client.errors import MismoRpcError
from mismo_client.retry import Attempts

Request = TypeVar("Request")
Response = TypeVar("Response")

CLOSING_SECONDS = 1.0


async def reopened(
    open_call: Callable[[], grpc.aio.UnaryStreamCall[Request, Response]], attempts: Attempts
) -> AsyncGenerator[Response, None]:
    """The messages of one stream; a call that breaks is followed by another one.

    `open_call` asks for what the consumer does not have yet, and the consumer tells `attempts` of its
    progress. Ends when a call ends with OK; raises MismoRpcError when no further call is worth trying.
    """
    while True:
        call = open_call()
        try:
            async for message in call:
                attempts.connected()
                yield message
            return
        except grpc.aio.AioRpcError as error:
            broken = MismoRpcError.of(error)
        finally:
            call.cancel()
        await attempts.after(broken, stream=True)


async def end_well(
    call: grpc.aio.StreamStreamCall[Request, Response], responses: AsyncIterator[Response]
) -> None:
    """Closes our side of a call that said all it had to and waits, briefly, for the server to end it.

    Otherwise the server would have to take the end for a client that vanished.
    """
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
        async with asyncio.timeout(CLOSING_SECONDS):
            await call.done_writing()
            await anext(responses, None)

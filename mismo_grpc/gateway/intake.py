"""Request bodies as they come in: bounded in size and in time, never whole in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from fastapi import Request
from starlette.requests import ClientDisconnect

from mismo_grpc.errors import RequestError, StreamIdleError, UploadTooLargeError

IDLE_SECONDS = 20.0
"""A client that sends nothing for so long is gone, or wishes us ill."""
START_SECONDS = 30.0
SLOWEST_BYTES_PER_SECOND = 1024
"""After START_SECONDS a body must have come at this rate on average."""


async def body_chunks(request: Request, limit: int, *, field: str = "body") -> AsyncGenerator[bytes]:
    """The body in blocks, at most `limit` bytes of it.

    Raises UploadTooLargeError (before anything is read if the length is announced), StreamIdleError for a client
    that stalls or dribbles, RequestError for one that leaves.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(field, limit)
    clock = asyncio.get_running_loop().time
    began, received = clock(), 0
    chunks = request.stream()
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise StreamIdleError(
                f"{field}: nothing came for {IDLE_SECONDS:g} s; send the request again"
            ) from error
        except ClientDisconnect as error:
            # Nobody reads the answer.
            raise RequestError("the connection ended before the body was whole") from error
        if chunk is None:
            return
        received += len(chunk)
        if received > limit:
            raise _too_large(field, limit)
        if received < (clock() - began - START_SECONDS) * SLOWEST_BYTES_PER_SECOND:
            raise StreamIdleError(
                f"{field}: it comes at less than {SLOWEST_BYTES_PER_SECOND} bytes a second; send the request again"
            )
        if chunk:
            yield chunk


async def whole_body(request: Request, limit: int) -> bytes:
    """A small body; raises as `body_chunks`."""
    return b"".join([chunk async for chunk in body_chunks(request, limit)])


def _too_large(field: str, limit: int) -> UploadTooLargeError:
    """More than the limit came, or was announced."""
    return UploadTooLargeError(
        f"{field}: more than the {limit} bytes that are taken here; send less",
        field=field,
        metadata={"limit_bytes": str(limit)},
    )

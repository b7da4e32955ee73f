"""Reads request bodies in blocks, bounded in size and in time, so that none is whole in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from fastapi import Request
from starlette.requests import ClientDisconnect

from mismo_grpc.errors import RequestError, StreamIdleError, UploadTooLargeError

IDLE_SECONDS = 20.0
"""A client that sends nothing for this time is gone, or an attacker."""
START_SECONDS = 30.0
SLOWEST_BYTES_PER_SECOND = 1024
"""After START_SECONDS the average rate must not be below this."""


async def body_chunks(request: Request, limit: int, *, field: str = "body") -> AsyncGenerator[bytes]:
    """Yields the body in blocks, at most `limit` bytes.

    Raises UploadTooLargeError (before it reads anything if Content-Length is over the limit), StreamIdleError for a
    client that stalls or is too slow, RequestError for one that disconnects.
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
                f"{field}: no data was received for {IDLE_SECONDS:g} s; send the request again"
            ) from error
        except ClientDisconnect as error:
            # Only ends the handler; the client is gone and reads no response.
            raise RequestError("the connection ended before the body was complete") from error
        if chunk is None:
            return
        received += len(chunk)
        if received > limit:
            raise _too_large(field, limit)
        if received < (clock() - began - START_SECONDS) * SLOWEST_BYTES_PER_SECOND:
            raise StreamIdleError(
                f"{field}: received less than {SLOWEST_BYTES_PER_SECOND} bytes a second; send the request again"
            )
        if chunk:
            yield chunk


async def whole_body(request: Request, limit: int) -> bytes:
    """Reads a small body; raises as `body_chunks`."""
    return b"".join([chunk async for chunk in body_chunks(request, limit)])


def _too_large(field: str, limit: int) -> UploadTooLargeError:
    """Builds the error for a body over the limit, received or announced."""
    return UploadTooLargeError(
        f"{field}: more than the limit of {limit} bytes; send less",
        field=field,
        metadata={"limit_bytes": str(limit)},
    )

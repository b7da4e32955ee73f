"""Serves a job's files over HTTP, whole or as a range (RFC 9110, section 14); a file being sent is not removed."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from mismo_grpc.gateway.errors import error_body
from mismo_grpc.results.artifacts import ArtifactReader

BLOCK_BYTES = 256 << 10
STALLED_SECONDS = 120.0
"""A download ends if its client reads nothing for this time; the client can continue with a range."""
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


async def file_response(
    request: Request,
    opening: AbstractAsyncContextManager[ArtifactReader],
    *,
    filename: str,
    save_as: str = "",
) -> Response:
    """Builds the response with the file that `opening` gives, or with the range of it that the request names.

    A request for several ranges gets the whole file, as RFC 9110 allows. The ETag, for If-None-Match and If-Range,
    consists of the run id and the name. `save_as` is the name that browsers save the file under ("": `filename`); it
    may have any characters except control characters. Repr-Digest (RFC 9530) is the hash of the whole content, if it is
    known.
    Raises what opening raises.
    """
    stack = AsyncExitStack()
    reader = await stack.enter_async_context(opening)
    try:
        total, etag = reader.total_bytes, f"{reader.run_id}-{filename}"
        headers = {
            "Accept-Ranges": "bytes",
            "ETag": f'"{etag}"',
            "Content-Disposition": attachment(save_as or filename),
        }
        if reader.sha256:
            digest = base64.b64encode(bytes.fromhex(reader.sha256)).decode()
            headers["Repr-Digest"] = f"sha-256=:{digest}:"
        if etag_matches(request.headers.get("if-none-match", ""), etag):
            await stack.aclose()
            return Response(status_code=304, headers=headers)
        start, end, status = 0, total, 200
        wanted = _RANGE.fullmatch(request.headers.get("range", ""))
        if wanted and any(wanted.groups()) and request.headers.get("if-range", f'"{etag}"') == f'"{etag}"':
            start, end = _span(wanted[1], wanted[2], total)
            if start >= end:
                await stack.aclose()
                message = f"Range: the file has {total} bytes; request a range within them"
                body = error_body("RANGE_NOT_SATISFIABLE", message, field="Range")
                return JSONResponse(body, 416, {"Content-Range": f"bytes */{total}"})
            status = 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{total}"
        headers["Content-Length"] = str(end - start)
        if request.method == "HEAD":
            await stack.aclose()
            return Response(status_code=status, headers=headers, media_type=reader.content_type)
        return HeldResponse(stack, _blocks(reader, start, end), status, headers, reader.content_type)
    except BaseException:
        await stack.aclose()
        raise


class HeldResponse(StreamingResponse):
    """A streaming response that always closes its file, and ends if its client reads nothing for too long."""

    def __init__(
        self,
        stack: AsyncExitStack,
        blocks: AsyncGenerator[bytes],
        status: int,
        headers: dict[str, str],
        media_type: str,
    ) -> None:
        super().__init__(blocks, status, headers, media_type)
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def patient(message: Message) -> None:
            async with asyncio.timeout(STALLED_SECONDS):
                await send(message)

        async with self._stack:
            await super().__call__(scope, receive, patient)


def attachment(name: str) -> str:
    """Builds the Content-Disposition of a file that is saved under a name (RFC 6266).

    Clients that do not read `filename*` get the name in ASCII.
    """
    ascii_name = re.sub(r'[^ -~]|["\\\\%]', "_", name)
    if ascii_name == name:
        return f'attachment; filename="{name}"'
    return f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe='')}"


async def _blocks(reader: ArtifactReader, start: int, end: int) -> AsyncGenerator[bytes]:
    while start < end:
        block = await reader.read(start, min(BLOCK_BYTES, end - start))
        yield block
        start += len(block)


def _span(first: str, last: str, total: int) -> tuple[int, int]:
    """Returns [start, end) of a range; empty if the range has no byte of the file."""
    if not first:
        return max(0, total - int(last)), total
    end = total if not last else min(total, int(last) + 1)
    return int(first), end


def etag_matches(header: str, etag: str) -> bool:
    """Whether If-None-Match names the ETag, which is given without its quotes."""
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or f'"{etag}"' in tags

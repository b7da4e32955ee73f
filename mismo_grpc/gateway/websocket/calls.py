"""Serves the methods of the gRPC contract over WebSockets: one call a connection, its messages in binary frames.

The client sends protobuf messages of the method in binary frames, and an empty text frame when it has sent its last
one; methods that take one message need no such end. The server sends the responses in binary frames and closes
with 1000. A call that fails ends with one text frame, the JSON of errors.py with `grpc_code` and
`retry_after_seconds`, and with the close code 4000 + the number of the gRPC code. A client that closes the socket
cancels its call.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import cast

from fastapi import APIRouter, WebSocket
from fastapi.responses import JSONResponse
from starlette.websockets import WebSocketDisconnect

from mismo_grpc.completion import end_task
from mismo_grpc.errors import MismoError, RequestError
from mismo_grpc.gateway.errors import error_body
from mismo_grpc.gateway.services import Call, Services
from mismo_grpc.gateway.websocket.protocol import CALLS_PATH
from mismo_grpc.wire_forms import wire

END_SECONDS = 5.0
"""The longest wait for a slow client to take the end of its call."""
SHOWN_CHARS = 100
CLOSED_CODE = 1000
FAILED_CODE = 4000
GRPC_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""The names of the gRPC codes by number."""

router = APIRouter()


@router.websocket(f"{CALLS_PATH}{{service}}/{{method}}")
async def call(socket: WebSocket, service: str, method: str) -> None:
    """Serves one call; a path that is no method is refused with 404 before the upgrade."""
    services: Services = socket.app.state.services
    found = services.find_call(f"{service}/{method}")
    if found is None:
        name = f"{service}/{method}"[:SHOWN_CHARS]
        message = f"there is no method {name}; protos/mismo/analysis/v1 has all services and methods"
        await socket.send_denial_response(JSONResponse(error_body("NOT_FOUND", message), 404))
        return
    await socket.accept()
    await _CallSocket(socket, found).serve()


class _CallSocket:
    """The Channel of one call, and its end."""

    def __init__(self, socket: WebSocket, call: Call) -> None:
        self._socket = socket
        self._call = call
        # With one message waiting, nothing more is read: uvicorn then stops reading the connection.
        self._incoming: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._ended = False

    async def serve(self) -> None:
        """Serves the call until it ends or its client is gone."""
        serving = asyncio.ensure_future(self._call.serve(self))
        receiving = asyncio.ensure_future(self._receive())
        try:
            await asyncio.wait([serving, receiving], return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                if serving.cancelled():
                    return
                failure = serving.exception()
            else:
                failure = receiving.result()
                if failure is None:
                    return
            await end_task(serving)
            if failure is None or isinstance(failure, MismoError):
                await self._send_end(failure)
            else:
                raise failure
        finally:
            await end_task(serving)
            await end_task(receiving)

    async def read(self) -> bytes | None:
        """See Channel."""
        if self._ended:
            return None
        message = await self._incoming.get()
        self._ended = message is None
        return message

    async def write(self, message: bytes) -> None:
        """See Channel."""
        try:
            await self._socket.send_bytes(message)
        except (WebSocketDisconnect, RuntimeError) as error:
            # RuntimeError: uvicorn closes the connection just now.
            raise asyncio.CancelledError from error

    async def _receive(self) -> MismoError | None:
        """Takes the client's frames until it is gone; returns the error of a frame that is not allowed."""
        received = 0
        over = False
        while True:
            frame = await self._socket.receive()
            if frame["type"] == "websocket.disconnect":
                return None
            message: bytes | None = frame.get("bytes")
            if message is None and frame.get("text"):
                return RequestError(
                    "a text frame was received; send the messages of this method in binary frames, and an empty text "
                    "frame after the last one"
                )
            if over:
                return RequestError(
                    "a frame was received after the empty text frame, which ends the client's messages"
                )
            if message is None:
                over = True
            else:
                received += 1
                if received > 1 and not self._call.client_streams:
                    return RequestError("a second message was received; this method takes one message")
            await self._incoming.put(message)

    async def _send_end(self, failure: MismoError | None) -> None:
        with suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
            async with asyncio.timeout(END_SECONDS):
                if failure is None:
                    await self._socket.close(CLOSED_CODE)
                    return
                form = wire(failure)
                await self._socket.send_text(json.dumps(_error_document(failure)))
                await self._socket.close(FAILED_CODE + GRPC_CODES.index(form.grpc_code), form.reason)


def _error_document(failure: MismoError) -> dict[str, object]:
    form = wire(failure)
    body = error_body(
        form.reason, failure.message, field=failure.field, retryable=form.retryable, metadata=failure.metadata
    )
    error = cast("dict[str, object]", body["error"])
    error["grpc_code"] = form.grpc_code
    # Browsers show no header of a WebSocket to a page, so that Retry-After would be lost.
    error["retry_after_seconds"] = failure.retry_after
    return body

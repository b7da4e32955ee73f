"""The gRPC interceptor: converts errors to statuses, admits streams, limits calls, and closes every handler."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Never, TypeAlias, TypeVar, cast

import grpc
import structlog

from mismo_grpc.errors import MismoError, RequestError, StreamIdleError
from mismo_grpc.rpc.call_limits import MAX_REQUEST_BYTES, USUAL_LIMIT, CallLimits, Turns, UnaryCalls
from mismo_grpc.rpc.error_status import grpc_code, internal_error, rich_status, trailing_metadata
from mismo_grpc.rpc.open_streams import OpenStreams

Request = TypeVar("Request")
Response = TypeVar("Response")
# grpc's classes for handlers and contexts are generic in different ways in its sync and async stacks.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context = grpc.aio.ServicerContext[Any, Any]
Serve: TypeAlias = Callable[[Context], Awaitable[None]]

log: structlog.stdlib.BoundLogger = structlog.get_logger("mismo_grpc.rpc")


@dataclass(frozen=True)
class _Refused:
    """Takes the place of an invalid request message until the handler can report the error."""

    why: str


class Gate(grpc.aio.ServerInterceptor):
    """Wraps the methods of the services whose names start with `prefix`; health and reflection are not wrapped.

    A MismoError becomes its rich status, any other exception INTERNAL with an id that is also in the log. A call ends
    if its client does not read a waiting message for `idle_seconds`.
    """

    def __init__(
        self, streams: OpenStreams, limits: CallLimits, *, idle_seconds: float, prefix: str = "/mismo."
    ) -> None:
        self._streams = streams
        self._limits = limits
        self._idle_seconds = idle_seconds
        self._prefix = prefix
        self._receiving = Turns(limits.receiving, limits.patience)
        self._unary_calls: dict[str, UnaryCalls] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Called by grpc for every RPC."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(self._prefix):
            return handler
        serve = self.guarded(method, handler)

        async def handle(_: Any, context: Context) -> None:
            try:
                await serve(context)
            except Exception as error:
                await _abort(method, error, context)

        # Every method is served as stream-stream, and its requests are read here: for a unary request grpc would
        # wait forever, and read it into memory before the call can be refused.
        decode = self.decoder(method, handler)
        serve_all: Any = handle
        return grpc.stream_stream_rpc_method_handler(serve_all, decode, handler.response_serializer)

    def guarded(self, method: str, handler: Handler) -> Serve:
        """Returns the coroutine function that serves a call of `method` within the limits; it raises the call's error.

        It uses only `read`, `write` and `send_initial_metadata` of the context, so other transports can call it.
        """
        if not handler.response_streaming:
            return self._unary(method, cast("Any", handler.unary_unary))
        if not handler.request_streaming:
            return self._stream(cast("Any", handler.unary_stream), self._received)
        return self._stream(cast("Any", handler.stream_stream), _all_received)

    def decoder(self, method: str, handler: Handler) -> Callable[[bytes], Any]:
        """Returns the function that decodes a request for `guarded`; an invalid message is refused when it is read."""
        most = self._limits.request_bytes.get(method, MAX_REQUEST_BYTES)
        return _forgiving(handler.request_deserializer, most)

    def _unary(self, method: str, behaviour: Callable[[Any, Context], Awaitable[Any]]) -> Serve:
        calls = self._unary_calls.get(method)
        if calls is None:
            limit = self._limits.unary.get(method, USUAL_LIMIT)
            calls = self._unary_calls[method] = UnaryCalls(method, limit, self._limits.patience)

        async def serve(context: Context) -> None:
            with calls.admitted():
                request = await self._received(context)
                async with calls.turns.turn():
                    response = await behaviour(request, context)
                await self._answer(response, context)

        return serve

    async def _answer(self, response: Any, context: Context) -> None:
        try:
            async with asyncio.timeout(self._idle_seconds):
                await context.write(response)
        except TimeoutError as error:
            raise StreamIdleError(f"the response was not read for {self._idle_seconds:g} s") from error

    def _stream(
        self,
        behaviour: Callable[[Any, Context], AsyncGenerator[Any, None]],
        received: Callable[[Context], Awaitable[Any]],
    ) -> Serve:
        # A coroutine, though servicers are generators: when the client disconnects, grpc leaves a suspended generator
        # and its resources to the garbage collector.
        async def serve(context: Context) -> None:
            await self._send_all(behaviour, received, context)

        return serve

    async def _received(self, context: Context) -> Any:
        """Reads the single request of a call; raises RequestError, StreamIdleError, CapacityError."""
        patience = self._limits.patience
        async with self._receiving.turn():
            try:
                async with asyncio.timeout(patience):
                    request = await context.read()
            except TimeoutError as error:
                raise StreamIdleError(
                    f"no request was received for {patience:g} s; send it with the call"
                ) from error
        return _decoded(request)

    async def _send_all(
        self,
        behaviour: Callable[[Any, Context], AsyncGenerator[Any, None]],
        received: Callable[[Context], Awaitable[Any]],
        context: Context,
    ) -> None:
        loop = asyncio.get_running_loop()
        scope = asyncio.timeout(None)
        begun = writing = False
        try:
            async with scope:
                with self._streams.hold(scope):
                    incoming = await received(context)
                    async with aclosing(behaviour(incoming, context)) as responses:
                        async for response in responses:
                            if not begun:
                                begun = True
                                await _send_headers(context)
                            writing = True
                            scope.reschedule(loop.time() + self._idle_seconds)
                            await context.write(response)
                            scope.reschedule(loop.time() if self._streams.ending else None)
                            writing = False
        except TimeoutError as error:
            if not scope.expired():
                raise
            self._streams.check_draining()
            if not writing:
                raise
            raise StreamIdleError(
                f"the client read nothing for {self._idle_seconds:g} s; open the stream again where it stopped"
            ) from error


async def _send_headers(context: Context) -> None:
    """Sends the headers even if it is cancelled: grpc would send interrupted headers again with the status, fail, and
    leave the client without a response."""
    sending = asyncio.ensure_future(context.send_initial_metadata(()))
    try:
        await asyncio.shield(sending)
    except asyncio.CancelledError:
        await asyncio.wait([sending])
        raise


async def _abort(method: str, error: Exception, context: Context) -> Never:
    if isinstance(error, grpc.aio.InternalError):
        # The client is gone, and grpc will cancel the call; raised as it is, the error would be logged as a failure.
        raise asyncio.CancelledError from error
    if isinstance(error, grpc.aio.BaseError):
        raise error  # The call was aborted already.
    status = rich_status(reported(method, error))
    await context.abort(grpc_code(status), status.message, trailing_metadata(status))


def reported(method: str, error: Exception) -> MismoError:
    """Logs the error of a call and returns what the client gets: the error itself, or an id for an unexpected one."""
    if isinstance(error, MismoError):
        log.debug("rpc refused", method=method, reason=type(error).__name__, message=error.message)
        return error
    error_id = uuid.uuid4().hex
    log.error("rpc failed", method=method, error_id=error_id, exc_info=error)
    return internal_error(error_id)


def _forgiving(
    decode: Callable[[bytes], Request] | None, most: int
) -> Callable[[bytes], Request | bytes | _Refused]:
    """Decodes a request; returns _Refused if it is over `most` bytes or invalid, for which grpc would send UNKNOWN."""

    def attempt(data: bytes) -> Request | bytes | _Refused:
        if len(data) > most:
            return _Refused(f"the message has {len(data)} bytes; this method accepts at most {most} bytes")
        if decode is None:
            return data
        try:
            return decode(data)
        except Exception:
            return _Refused("the request is not a message of this method; check the client's stubs")

    return attempt


def _decoded(request: Any) -> Any:
    if isinstance(request, _Refused):
        raise RequestError(request.why)
    if request is grpc.aio.EOF:
        raise RequestError("the call ended without a request; send one message")
    return request


async def _all_received(context: Context) -> AsyncGenerator[Any, None]:
    return _decoded_from(context)


async def _decoded_from(context: Context) -> AsyncGenerator[Any, None]:
    while (request := await context.read()) is not grpc.aio.EOF:
        yield _decoded(request)

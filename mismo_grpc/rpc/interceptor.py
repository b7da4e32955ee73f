"""The one place where errors become statuses, streams are admitted, and a handler's end is made sure of."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Never, TypeAlias, TypeVar, cast

import grpc
import structlog

from mismo_grpc.errors import MismoError, RequestError, StreamIdleError
from mismo_grpc.rpc.open_streams import OpenStreams
from mismo_grpc.rpc.status import grpc_code, internal_error, rich_status, trailing_metadata

Request = TypeVar("Request")
Response = TypeVar("Response")
# grpc's own classes for handlers and contexts are generic in ways that differ between its two stacks.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context = grpc.aio.ServicerContext[Any, Any]

log: structlog.stdlib.BoundLogger = structlog.get_logger("mismo_grpc.rpc")


class _Undecodable:
    """Stands for a message that could not be parsed, until there is a place to say so."""


UNDECODABLE = _Undecodable()


class Gate(grpc.aio.ServerInterceptor):
    """Wraps the methods of the services whose names start with `prefix`; health and reflection pass.

    A MismoError becomes its rich status, any other exception INTERNAL with an id that the log has too.
    A stream whose client reads nothing for `idle_seconds` while a message waits is ended.
    """

    def __init__(self, streams: OpenStreams, *, idle_seconds: float, prefix: str = "/mismo.") -> None:
        self._streams = streams
        self._idle_seconds = idle_seconds
        self._prefix = prefix

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Called for every RPC."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(self._prefix):
            return handler
        decode = _forgiving(handler.request_deserializer)
        if not handler.response_streaming:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(method, cast("Any", handler.unary_unary)), decode, handler.response_serializer
            )
        if not handler.request_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, cast("Any", handler.unary_stream)), decode, handler.response_serializer
            )
        return grpc.stream_stream_rpc_method_handler(
            self._stream(method, cast("Any", handler.stream_stream)), decode, handler.response_serializer
        )

    def _unary(self, method: str, behaviour: Callable[[Any, Context], Awaitable[Any]]) -> Any:
        async def handle(request: Any, context: Context) -> Any:
            try:
                return await behaviour(_decoded(request), context)
            except Exception as error:
                await _abort(method, error, context)

        return handle

    def _stream(self, method: str, behaviour: Callable[[Any, Context], AsyncGenerator[Any, None]]) -> Any:
        # A coroutine, though servicers are generators: grpc leaves a generator that is suspended at a yield
        # to the garbage collector when the client goes, and what it holds with it.
        async def handle(request: Any, context: Context) -> None:
            try:
                await self._send_all(behaviour, request, context)
            except Exception as error:
                await _abort(method, error, context)

        return handle

    async def _send_all(
        self, behaviour: Callable[[Any, Context], AsyncGenerator[Any, None]], request: Any, context: Context
    ) -> None:
        loop = asyncio.get_running_loop()
        incoming = _all_decoded(request) if hasattr(request, "__aiter__") else _decoded(request)
        scope = asyncio.timeout(None)
        begun = writing = False
        try:
            async with scope:
                with self._streams.hold(scope):
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
                f"nothing was read for {self._idle_seconds:g} s; open the stream again where it stopped"
            ) from error


async def _send_headers(context: Context) -> None:
    """Sends them to the end, whoever cancels: grpc loses count of headers that were interrupted, sends them
    again with the status, fails, and leaves the client without an answer."""
    sending = asyncio.ensure_future(context.send_initial_metadata(()))
    try:
        await asyncio.shield(sending)
    except asyncio.CancelledError:
        await asyncio.wait([sending])
        raise


async def _abort(method: str, error: Exception, context: Context) -> Never:
    if isinstance(error, grpc.aio.BaseError):
        raise error  # The call is over: aborted already, or the client is gone.
    if isinstance(error, MismoError):
        log.debug("rpc refused", method=method, reason=type(error).__name__, message=error.message)
        known = error
    else:
        error_id = uuid.uuid4().hex
        log.error("rpc failed", method=method, error_id=error_id, exc_info=error)
        known = internal_error(error_id)
    status = rich_status(known)
    await context.abort(grpc_code(status), status.message, trailing_metadata(status))


def _forgiving(decode: Callable[[bytes], Request] | None) -> Callable[[bytes], Request | _Undecodable] | None:
    """Parses later what cannot be parsed now: inside grpc it would end the call as UNKNOWN."""
    if decode is None:
        return None

    def attempt(data: bytes) -> Request | _Undecodable:
        try:
            return decode(data)
        except Exception:
            return UNDECODABLE

    return attempt


def _decoded(request: Any) -> Any:
    if isinstance(request, _Undecodable):
        raise RequestError("the request is not a message of this method; check the client's stubs")
    return request


async def _all_decoded(requests: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    async for request in requests:
        yield _decoded(request)

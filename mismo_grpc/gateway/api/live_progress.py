"""Live progress over Socket.IO: the namespace /progress, by polling and by WebSocket.

A client emits `subscribe {job_id}` and gets `progress` events until the job has ended, and `error` events.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast
from urllib.parse import parse_qs

import engineio
import socketio
import structlog
from engineio.payload import Payload
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mismo_grpc.completion import end_task
from mismo_grpc.errors import CapacityError, InvalidFieldError, MismoError, RequestError, ServerDrainingError
from mismo_grpc.gateway.api.capabilities import NAMESPACE, SOCKET_IO_PATH
from mismo_grpc.gateway.api.incoming import (
    MAX_DROPPED_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_PACKETS,
    Rate,
    are_acceptable,
    is_acceptable,
)
from mismo_grpc.gateway.api.outgoing import EventPacket, OutgoingQueue
from mismo_grpc.gateway.api.watches import Watches, error_packet, failure_packet
from mismo_grpc.gateway.errors import error_response
from mismo_grpc.gateway.request_body import body_chunks
from mismo_grpc.gateway.services import Services
from mismo_grpc.jobs.job import check_job_id
from mismo_grpc.wire_forms import wire

log: structlog.stdlib.BoundLogger = structlog.get_logger("mismo_grpc.gateway")

MAX_CLIENTS = 256
PING_SECONDS = 20
"""A client is pinged this often, and must answer within the same time."""
IDLE_SECONDS = 300.0
"""A client that follows no job for this time is disconnected; browsers connect again by themselves."""
SWEEP_SECONDS = 5.0
POLLING_SHARE_SECONDS, WEBSOCKET_SHARE_SECONDS = 0.03, 0.005
"""By this time each client lengthens the interval between two events of its job. An event costs about 1.3 ms of CPU by
polling and 0.1 ms by WebSocket, so all of them together take at most 5 % of a core."""
LEAVING_SECONDS = 0.5
"""The time that a client has to read the last packets when the server disconnects it."""


class _Engine(engineio.AsyncServer):
    def create_queue(self, *_: object, **__: object) -> OutgoingQueue:
        """See engineio."""
        return OutgoingQueue()


class _Server(socketio.AsyncServer):
    def _engineio_server_class(self) -> type[_Engine]:
        return _Engine


class _Namespace(socketio.AsyncNamespace):
    """Hands the events of the namespace to `LiveProgress`, which checks them."""

    def __init__(self, live: LiveProgress) -> None:
        super().__init__(NAMESPACE)
        self._live = live

    async def trigger_event(self, event: object, *args: Any) -> object:
        """See socketio; the first argument is the id of the client in this namespace."""
        if event == "connect":
            return None
        client = self._live.client_of(args[0])
        if event == "disconnect":
            self._live.leave(client)
            return None
        return await self._live.on_event(client, event, args[1:])


class LiveProgress:
    """The Socket.IO server; it is an ASGI application. `services` are asked for once they are needed.

    Clients are named by their id in Engine.IO.
    """

    def __init__(self, services: Callable[[], Services]) -> None:
        # What hostile clients make the library log is not worth a line each.
        logger = logging.getLogger("mismo_grpc.socket_io")
        logger.setLevel(logging.CRITICAL + 1)
        # The library's annotation has the switch alone.
        quiet = cast("bool", logger)
        self._server = _Server(
            async_mode="asgi",
            namespaces=[NAMESPACE],
            # A client's next message is read once the one before has been dealt with.
            async_handlers=False,
            logger=quiet,
            engineio_logger=quiet,
            # KnownHosts and AllowedOrigins do this for all routes.
            cors_allowed_origins=[],
            cors_credentials=False,
            ping_interval=PING_SECONDS,
            ping_timeout=PING_SECONDS,
            max_http_buffer_size=MAX_MESSAGE_BYTES,
            http_compression=False,
        )
        # The library's own way to set it; it is the same for all its servers.
        Payload.max_decode_packets = MAX_PACKETS
        self._server.register_namespace(_Namespace(self))
        self._engine = cast("_Engine", self._server.eio)
        self._watches = Watches(lambda: services().jobs, self._send, self._share)
        self._rates: dict[str, Rate] = {}
        self._idle_since: dict[str, float] = {}
        self._sweeping: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def _sockets(self) -> dict[str, Any]:
        """The connections of Engine.IO by their client."""
        return cast("dict[str, Any]", self._engine.sockets)

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return sum(not socket.closed for socket in self._sockets.values())

    @property
    def watched_jobs(self) -> int:
        """How many jobs are watched for them."""
        return self._watches.count

    def client_of(self, sid: str) -> str:
        """The client with this id in the namespace."""
        return cast("str", self._server.manager.eio_sid_from_sid(sid, NAMESPACE))

    def leave(self, client: str) -> None:
        """Ends the subscriptions of a client."""
        self._watches.leave(client)

    async def on_event(self, client: str, event: object, data: tuple[Any, ...]) -> dict[str, object]:
        """Deals with an event of a client; the result is its acknowledgement."""
        job_id: str | None = None
        try:
            if event not in ("subscribe", "unsubscribe"):
                raise RequestError("there are the events subscribe and unsubscribe")
            job_id = _job_id(data)
            if event == "subscribe":
                await self._watches.subscribe(client, job_id)
            else:
                self._watches.unsubscribe(client, job_id)
        except MismoError as error:
            await self._send(client, error_packet(job_id, error))
            return {"error": {"code": wire(error).reason, "message": error.message}}
        except Exception as error:
            log.error("an event of Socket.IO failed", exc_info=error)
            await self._send(client, failure_packet(job_id))
            return {"error": {"code": "INTERNAL", "message": "the server failed"}}
        return {"job_id": job_id}

    async def close(self) -> None:
        """Disconnects all clients, which connect again to the next server; accepts none from now on."""
        if self._closed:
            return
        self._closed = True
        await self._watches.close()
        if self._sweeping is not None:
            await end_task(self._sweeping)
        leaving = [asyncio.create_task(self._disconnect(client)) for client in list(self._sockets)]
        if leaving:
            await asyncio.wait(leaving)
        await self._server.shutdown()

    async def _send(self, client: str, event: EventPacket) -> bool:
        if client not in self._sockets:
            return False
        await self._engine.send_packet(client, event)
        return True

    def _share(self, client: str) -> float:
        socket = self._sockets.get(client)
        return POLLING_SHARE_SECONDS if socket is None or not socket.upgraded else WEBSOCKET_SHARE_SECONDS

    async def _disconnect(self, client: str) -> None:
        """Disconnects a client in a way that makes it connect again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVING_SECONDS):
                await self._engine.disconnect(client)
        self._sockets.pop(client, None)

    async def _sweep(self) -> None:
        """Disconnects clients that follow nothing, or read nothing, while there are clients."""
        while self._sockets:
            await asyncio.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            for client, socket in list(self._sockets.items()):
                if socket.closed:
                    # A poll may still wait for what comes next.
                    socket.queue.put_nowait(None)
                    del self._sockets[client]
                    continue
                if self._watches.subscriptions(client):
                    self._idle_since.pop(client, None)
                idle = now - self._idle_since.setdefault(client, now)
                if socket.queue.overflowed or idle > IDLE_SECONDS:
                    await self._disconnect(client)
            for known in (self._idle_since, self._rates):
                for client in known.keys() - self._sockets.keys():
                    del known[client]

    # ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        query = parse_qs(scope["query_string"].decode(errors="replace"))
        client = query.get("sid", [""])[0]
        refusal = self._refusal(client)
        if refusal is not None:
            await error_response(refusal)(scope, receive, send)
            return
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.create_task(self._sweep(), name="sweep of Socket.IO")
        if scope["type"] == "websocket":
            await self._websocket(client, scope, receive, send)
        elif scope["method"] == "POST" and client in self._sockets:
            await self._post(client, scope, receive, send)
        else:
            await self._engine.handle_request(scope, receive, send)

    def _refusal(self, client: str) -> MismoError | None:
        if self._closed:
            return ServerDrainingError("the server is shutting down; try again shortly", retry_after=5)
        if not client and self.clients >= MAX_CLIENTS:
            return CapacityError("too many clients follow jobs; try again shortly", retry_after=5)
        return None

    async def _post(self, client: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        size = 0
        try:
            async for chunk in body_chunks(Request(scope, receive), MAX_DROPPED_BYTES):
                size += len(chunk)
                # The rest of one that is too long is read, so that the client reads the response.
                body = body + chunk if size <= MAX_MESSAGE_BYTES else b""
        except MismoError as error:
            await error_response(error)(scope, receive, send)
            return
        if size > MAX_MESSAGE_BYTES:
            await self._send(client, _too_long())
            await PlainTextResponse("ok")(scope, receive, send)
            return
        if not are_acceptable(body) or not self._rate(client).take(body.count(b"\x1e") + 1):
            await self._disconnect(client)
            error = RequestError("malformed packets of Engine.IO, or too many; connect again")
            await error_response(error)(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        headers.append((b"content-length", str(size).encode()))
        message = {"type": "http.request", "body": body, "more_body": False}

        async def whole() -> Message:
            return message

        await self._engine.handle_request({**scope, "headers": headers}, whole, send)

    async def _websocket(self, client: str, scope: Scope, receive: Receive, send: Send) -> None:
        def sender() -> str:
            return client or self._opened_by(scope)

        async def checked() -> Message:
            while True:
                message = await receive()
                if message["type"] != "websocket.receive":
                    return message
                text = message.get("text")
                if text is not None and len(text) > MAX_MESSAGE_BYTES:
                    await self._send(sender(), _too_long())
                elif text is not None and is_acceptable(text) and self._rate(sender()).take():
                    return message
                else:
                    return {"type": "websocket.disconnect", "code": 1002}

        try:
            await self._engine.handle_request(scope, checked, send)
        except Exception as error:
            # Such as a connection that is lost while it is being upgraded.
            log.debug("a WebSocket of Socket.IO ended", reason=repr(error))
            await self._disconnect(sender())

    def _opened_by(self, scope: Scope) -> str:
        """The client that a WebSocket without a session has opened."""
        environs = cast("dict[str, dict[str, Any]]", self._server.environ)
        return next((client for client, each in environs.items() if each["asgi.scope"] is scope), "")

    def _rate(self, client: str) -> Rate:
        return self._rates.setdefault(client, Rate())


class LiveProgressRoute:
    """Middleware that gives the requests of Socket.IO to `LiveProgress`."""

    def __init__(self, app: ASGIApp, live: LiveProgress) -> None:
        self._app = app
        self._live = live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        ours = scope["type"] in ("http", "websocket") and (scope["path"] + "/").startswith(
            f"{SOCKET_IO_PATH}/"
        )
        await (self._live if ours else self._app)(scope, receive, send)


def _job_id(data: tuple[Any, ...]) -> str:
    """The job that an event names; raises InvalidFieldError."""
    given = data[0] if data else None
    job_id = cast("dict[str, object]", given).get("job_id") if isinstance(given, dict) else None
    if not isinstance(job_id, str):
        raise InvalidFieldError(
            'job_id is missing: send an object such as {"job_id": "..."} with the event', field="job_id"
        )
    check_job_id(job_id)
    return job_id


def _too_long() -> EventPacket:
    error = InvalidFieldError(f"a message has at most {MAX_MESSAGE_BYTES} bytes; this one was dropped")
    return error_packet(None, error)

"""Calls of the gRPC methods over another transport that carries messages, such as a WebSocket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import grpc

from mismo_grpc.rpc.interceptor import Context, Gate, Handler, Serve, reported


class MessageChannel(Protocol):
    """The messages of one call. Both methods raise CancelledError once the client is gone."""

    async def read(self) -> bytes | None:
        """Waits for the next message of the client; None once the client has sent its last one."""
        ...

    async def write(self, message: bytes) -> None:
        """Sends a message; waits while the client reads too slowly."""
        ...


class MessageCall:
    """One method of the contract, served as the gRPC server serves it: the same code, the same limits."""

    def __init__(self, method: str, handler: Handler, gate: Gate) -> None:
        self._method = method
        self._serve: Serve = gate.guarded(method, handler)
        self._decode = gate.decoder(method, handler)
        self._encode = cast("Callable[[Any], bytes]", handler.response_serializer)
        self.client_streams = bool(handler.request_streaming)
        """Whether the client sends any number of messages; otherwise one."""

    async def serve(self, channel: MessageChannel) -> None:
        """Serves one call to its end; raises MismoError if it fails. Cancel it when the client is gone."""
        context = cast("Context", _Context(channel, self._decode, self._encode))
        try:
            await self._serve(context)
        except Exception as error:
            raise reported(self._method, error) from error


class MessageCalls:
    """All methods of the services that are added to it; pass it to the stubs' `add_..._to_server` as the server."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._calls: dict[str, MessageCall] = {}

    def find(self, method: str) -> MessageCall | None:
        """Returns the call of a method such as `mismo.analysis.v1.JobService/GetJob`; None if there is none."""
        return self._calls.get(method)

    def add_generic_rpc_handlers(self, _: object) -> None:
        """Called by the stubs; `add_registered_method_handlers` gets the same handlers with their names."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Called by the stubs with the methods of a service."""
        for name, handler in handlers.items():
            self._calls[f"{service}/{name}"] = MessageCall(f"/{service}/{name}", handler, self._gate)


class _Context:
    """The part of grpc's context that `Gate` uses."""

    def __init__(
        self, channel: MessageChannel, decode: Callable[[bytes], Any], encode: Callable[[Any], bytes]
    ) -> None:
        self._channel = channel
        self._decode = decode
        self._encode = encode

    async def read(self) -> Any:
        message = await self._channel.read()
        return grpc.aio.EOF if message is None else self._decode(message)

    async def write(self, response: Any) -> None:
        await self._channel.write(self._encode(response))

    async def send_initial_metadata(self, _: object) -> None:
        """The transport has accepted the call already."""

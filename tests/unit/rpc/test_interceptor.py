"""The gate in front of every method, on a real server with handlers made for the purpose."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from structlog.testing import capture_logs

from mismo_grpc.errors import InvalidFieldError, JobFailedError, MismoError
from mismo_grpc.rpc.call_limits import CallLimits
from mismo_grpc.rpc.interceptor import Gate
from mismo_grpc.rpc.open_streams import OpenStreams
from mismo_grpc.wire_forms import WIRE
from tests.unit.rpc.test_error_status import made
from tests.unit.rpc.wire import drained, refused

SERVICE = "mismo.test.Probe"
BIG = b"x" * (1 << 20)
NO_LIMITS = CallLimits(unary={}, request_bytes={})


class Probe:
    """A server with one method of each kind, whose behaviour a test gives."""

    def __init__(self, address: str, channel: grpc.aio.Channel, streams: OpenStreams, gate: Gate) -> None:
        self.address = address
        self.channel = channel
        self.streams = streams
        self.gate = gate

    def unary(self, request: bytes = b"") -> Awaitable[bytes]:
        return self.channel.unary_unary(f"/{SERVICE}/Unary")(request)

    def stream(self, request: bytes = b"") -> Any:
        return self.channel.unary_stream(f"/{SERVICE}/Stream")(request)

    def both(self) -> Any:
        return self.channel.stream_stream(f"/{SERVICE}/Both")()


@asynccontextmanager
async def probe(
    *,
    unary: Callable[[Any, Any], Awaitable[bytes]] | None = None,
    stream: Callable[[Any, Any], AsyncGenerator[bytes, None]] | None = None,
    both: Callable[[Any, Any], AsyncGenerator[bytes, None]] | None = None,
    decode: Callable[[bytes], Any] | None = None,
    max_streams: int = 10,
    idle_seconds: float = 30.0,
    limits: CallLimits = NO_LIMITS,
) -> AsyncGenerator[Probe]:
    streams = OpenStreams(max_streams)
    gate = Gate(streams, limits, idle_seconds=idle_seconds)
    server = grpc.aio.server(interceptors=[gate])
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    if unary is not None:
        handlers["Unary"] = grpc.unary_unary_rpc_method_handler(unary, decode)
    if stream is not None:
        handlers["Stream"] = grpc.unary_stream_rpc_method_handler(stream, decode)
    if both is not None:
        handlers["Both"] = grpc.stream_stream_rpc_method_handler(both, decode)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Probe(f"127.0.0.1:{port}", channel, streams, gate)
    finally:
        await server.stop(0)


async def test_every_error_reaches_unary_and_streaming_clients_whole() -> None:
    raised: list[MismoError] = []

    async def unary(request: bytes, context: Any) -> bytes:
        raise raised[-1]

    async def stream(request: bytes, context: Any) -> AsyncGenerator[bytes, None]:
        yield b"first"
        raise raised[-1]

    async def both(requests: Any, context: Any) -> AsyncGenerator[bytes, None]:
        async for request in requests:
            yield request
        raise raised[-1]

    async with probe(unary=unary, stream=stream, both=both) as server:
        for kind, form in WIRE.items():
            raised.append(made(kind))
            call = server.both()
            await call.write(b"echo")
            assert await call.read() == b"echo"
            await call.done_writing()
            for refusal in (
                await refused(server.unary()),
                await refused(drained(server.stream())),
                await refused(drained(call)),
            ):
                assert (refusal.code.name, refusal.reason) == (form.grpc_code, form.reason), kind
                assert refusal.message == raised[-1].message
                assert refusal.metadata == {"job_id": "x"}
                assert refusal.fields == (() if kind is JobFailedError else ("options.stems.model",))
        assert server.streams.count == 0


async def test_what_nobody_foresaw_is_internal_with_an_id_and_nothing_else() -> None:
    async def unary(request: bytes, context: Any) -> bytes:
        raise RuntimeError("/secret/path: the password is swordfish")

    async with probe(unary=unary) as server:
        with capture_logs() as logs:
            refusal = await refused(server.unary())
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in str(refusal)
    assert "swordfish" not in str(refusal)
    (entry,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert entry["error_id"] == refusal.metadata["error_id"]
    assert entry["error_id"] in refusal.message
    assert "swordfish" in str(entry["exc_info"])


async def test_a_message_that_cannot_be_parsed_is_the_clients_fault() -> None:
    async def unary(request: Any, context: Any) -> bytes:
        return b"fine"

    async def echo(requests: Any, context: Any) -> AsyncGenerator[bytes, None]:
        async for _ in requests:
            yield b"fine"

    async with probe(unary=unary, both=echo, decode=Duration.FromString) as server:
        assert await server.unary(Duration(seconds=1).SerializeToString()) == b"fine"
        refusal = await refused(server.unary(b"\xff\xff\xff"))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        call = server.both()
        await call.write(b"\xff\xff\xff")
        assert (await refused(drained(call))).reason == "INVALID_REQUEST"


async def test_a_client_that_cancels_ends_its_handler_wherever_it_is() -> None:
    ended: asyncio.Queue[str] = asyncio.Queue()
    waiting = asyncio.Event()

    async def stream(request: bytes, context: Any) -> AsyncGenerator[bytes, None]:
        try:
            yield b"first"
            if request == b"wait":
                waiting.set()
                await asyncio.Event().wait()
            while True:
                yield BIG
        except asyncio.CancelledError:
            await ended.put("cancelled while it waited")
            raise
        finally:
            await ended.put("let go")

    async with probe(stream=stream) as server:
        call = server.stream(b"wait")
        assert await call.read() == b"first"
        await waiting.wait()
        call.cancel()
        assert await ended.get() == "cancelled while it waited"
        assert await ended.get() == "let go"

        # A client that reads nothing: the handler stands in the middle of sending.
        call = server.stream()
        assert await call.read() == b"first"
        call.cancel()
        assert await ended.get() == "let go"
        await server.streams.wait_none()


async def test_a_client_that_leaves_while_a_message_goes_out_is_no_failure_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def stream(request: bytes, context: Any) -> AsyncGenerator[bytes, None]:
        yield b"first"
        while True:
            yield BIG

    async with probe(stream=stream) as server:
        for rounds in range(60):
            call = server.stream()
            assert await call.read() == b"first"
            # The client leaves at many moments of sending.
            for _ in range(rounds % 6):
                await asyncio.sleep(0)
            call.cancel()
        await server.streams.wait_none()
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    # grpc's poller of an earlier test may still report to the event loop of that test, which is closed.
    assert [warning for warning in warnings if "PollerCompletionQueue" not in warning] == []


async def test_streams_above_the_limit_are_refused_until_one_ends() -> None:
    async def stream(request: bytes, context: Any) -> AsyncGenerator[bytes, None]:
        yield b"first"
        await asyncio.Event().wait()

    async with probe(stream=stream, max_streams=2) as server:
        calls = [server.stream() for _ in range(2)]
        for call in calls:
            assert await call.read() == b"first"
        refusal = await refused(drained(server.stream()))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS")
        assert refusal.retry_seconds is not None
        for call in calls:
            call.cancel()
        await server.streams.wait_none()
        call = server.stream()
        assert await call.read() == b"first"


async def test_a_client_that_reads_nothing_is_let_go_of() -> None:
    begun = asyncio.Event()

    async def stream(request: bytes, context: Any) -> AsyncGenerator[bytes, None]:
        begun.set()
        while True:
            yield BIG

    async with probe(stream=stream, idle_seconds=0.2) as server:
        call = server.stream()
        await begun.wait()
        await server.streams.wait_none()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await drained(call)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_stream_that_ends_while_its_first_message_goes_out_still_gets_its_status() -> None:
    begun: asyncio.Queue[None] = asyncio.Queue()

    async def stream(request: bytes, context: Any) -> AsyncGenerator[bytes, None]:
        begun.put_nowait(None)
        yield b"first"
        await asyncio.Event().wait()

    async with probe(stream=stream) as server:
        for rounds in range(30):
            call = server.stream()
            await begun.get()
            # The headers and the first message are on their way, so far as the rounds of the loop go.
            for _ in range(rounds % 6):
                await asyncio.sleep(0)
            ending = asyncio.ensure_future(server.streams.end_all(0.0))
            refusal = await refused(drained(call))
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
            await ending
            server.streams.draining = server.streams.ending = False


async def test_a_server_that_drains_ends_open_streams_and_takes_no_new_ones() -> None:
    async def stream(request: bytes, context: Any) -> AsyncGenerator[bytes, None]:
        yield b"first"
        if request == b"short":
            return
        while True:
            yield b"more"
            await asyncio.sleep(0)

    async def unary(request: bytes, context: Any) -> bytes:
        raise InvalidFieldError("still answered")

    async with probe(stream=stream, unary=unary) as server:
        call = server.stream()
        assert await call.read() == b"first"
        ending = asyncio.ensure_future(server.streams.end_all(0.0))
        refusal = await refused(drained(call))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
        assert refusal.retry_seconds is not None
        await ending
        await server.streams.wait_none()
        assert (await refused(drained(server.stream()))).reason == "SERVER_DRAINING"
        assert (await refused(server.unary())).message == "still answered"

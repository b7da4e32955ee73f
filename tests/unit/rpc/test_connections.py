"""Connections that say nothing, half of something, or nothing more: real sockets against the real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import pytest

from mismo.analysis.v1 import system_service_pb2
from mismo.analysis.v1.system_service_pb2_grpc import SystemServiceStub
from mismo_grpc.rpc.connections import ConnectionTimes
from mismo_grpc.rpc.server import GrpcServer
from tests.unit.rpc.conftest import Served
from tests.unit.rpc.wire import drained, refusal_of

pytestmark = pytest.mark.service

PATIENCE_SECONDS = 30.0
"""Only a test that fails waits this long."""
NEVER = 3600.0

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
SETTINGS_ACK = bytes((0, 0, 0, 4, 1, 0, 0, 0, 0))
HALF_HEADERS = bytes((0, 4, 0, 1, 4, 0, 0, 0, 1)) + b"\x82" * 10
PING, PING_ACK = 6, bytes((0, 0, 8, 6, 1, 0, 0, 0, 0))


@asynccontextmanager
async def serving(served: Served, **times: float) -> AsyncGenerator[int]:
    """A second gRPC server over the same jobs, whose connections may last for `times`."""
    app = served.app
    server = GrpcServer(
        app.jobs,
        app.uploads,
        app.status,
        app.settings,
        on_bytes=lambda _way, _count: None,
        check_url=lambda url, field: None,
        times=ConnectionTimes(**{"handshake": NEVER, "idle": NEVER, "keepalive": NEVER, **times}),
    )
    port = await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


async def closed(port: int, said: bytes, *, answers_pings: bool = False) -> None:
    """Says this and nothing more; returns once the server has closed the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            writer.write(said)
            while True:
                head = await reader.readexactly(9)
                body = await reader.readexactly(int.from_bytes(head[:3]))
                if answers_pings and head[3] == PING and not head[4]:
                    writer.write(PING_ACK + body)
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


@pytest.mark.parametrize(
    "said",
    [b"", PREFACE[:10], PREFACE, PREFACE + SETTINGS[:5], PREFACE + SETTINGS],
    ids=["nothing", "half a preface", "preface", "half of the settings", "settings without acknowledgement"],
)
async def test_a_handshake_that_is_never_finished_ends(served: Served, said: bytes) -> None:
    async with serving(served, handshake=0.3) as port:
        await closed(port, said)


async def test_half_a_frame_is_no_answer_to_a_ping(served: Served) -> None:
    async with serving(served, keepalive=0.3, keepalive_timeout=0.3) as port:
        await closed(port, PREFACE + SETTINGS + SETTINGS_ACK + HALF_HEADERS)


async def test_a_connection_without_calls_ends_and_a_stream_without_messages_stays(served: Served) -> None:
    async with (
        serving(served, idle=0.5, keepalive=0.2, keepalive_timeout=NEVER) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        request = system_service_pb2.WatchResourcesRequest()
        request.interval.seconds = 60
        paused = SystemServiceStub(channel).WatchResources(request)
        await paused.read()
        for said in (b"", HALF_HEADERS):
            await closed(port, PREFACE + SETTINGS + SETTINGS_ACK + said, answers_pings=True)
        assert not paused.done()


async def test_each_of_thousands_of_refused_streams_gets_its_status(
    serve: Callable[..., Awaitable[Served]],
) -> None:
    served = await serve(max_streams=1)
    held = served.system.WatchResources(system_service_pb2.WatchResourcesRequest())
    await held.read()

    async def refusal_code() -> tuple[str, bool]:
        try:
            await drained(served.system.WatchResources(system_service_pb2.WatchResourcesRequest()))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                return refusal_of(error).reason, refusal_of(error).retry_seconds is not None
            return error.code().name, False
        return "OK", False

    assert set(await asyncio.gather(*(refusal_code() for _ in range(2500)))) == {("TOO_MANY_STREAMS", True)}
    held.cancel()

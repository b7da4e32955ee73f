"""What WebSockets may hold: foreign pages, floods, clients that read nothing, more sockets than there is room for."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from uvicorn.protocols.utils import ClientDisconnected
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mismo.analysis.v1 import job_pb2
from mismo.analysis.v1 import job_service_pb2 as jobs_pb2
from mismo.analysis.v1 import transfer_service_pb2 as transfer_pb2
from mismo_grpc.gateway import overload
from mismo_grpc.gateway.server import _Protocol
from mismo_grpc.gateway.websocket import calls, protocol
from mismo_grpc.gateway.websocket.protocol import MAX_MESSAGE_BYTES, MAX_UNREAD_MESSAGES, WebSocketProtocol
from tests.service.conftest import Server, StartServer
from tests.service.gateway.test_gateway import client_of, gone, narrow_socket
from tests.support.calls import PATIENCE, PCM_F32LE, until, upload_header
from tests.support.sockets import JOBS, TRANSFER, Socket, calling
from tests.support.tracks import write_track


def sockets_of(server: Server) -> list[WebSocketProtocol]:
    assert server.app.http._server is not None
    found = server.app.http._server.server_state.connections
    return [each for each in found if isinstance(each, WebSocketProtocol)]


async def watching(stack: AsyncExitStack, server: Server) -> Socket:
    """An open stream that has begun."""
    call = await stack.enter_async_context(calling(server.app.http_port, f"{JOBS}/WatchJobs"))
    await call.send(jobs_pb2.WatchJobsRequest())
    await call.next(jobs_pb2.WatchJobsResponse)
    return call


def frame(opcode: int, payload: bytes = b"") -> bytes:
    """One masked frame of a client; opcode 0x80 is the bit of the last fragment."""
    head = struct.pack("!B", opcode)
    size = len(payload)
    length = struct.pack("!B", 0x80 | size) if size < 126 else struct.pack("!BH", 0xFE, size)
    return head + length + bytes(4) + payload


async def upgraded(
    server: Server, method: str, sock: socket.socket | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A bare connection after its handshake."""
    where: dict[str, Any] = {"sock": sock} if sock else {"host": "127.0.0.1", "port": server.app.http_port}
    reader, writer = await asyncio.open_connection(**where)
    lines = (
        f"GET /ws/{method} HTTP/1.1",
        f"Host: 127.0.0.1:{server.app.http_port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    writer.write("\r\n".join((*lines, "", "")).encode())
    async with asyncio.timeout(PATIENCE):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return reader, writer


async def finished(start: StartServer, music: Path) -> job_pb2.Job:
    """A job of a server that has stopped; the next one has its results, and may have times too short for a job."""
    server = await start()
    job = (await server.client.submit(write_track(music / "long.wav", seconds=15.0))).job
    job = await server.client.succeeded(job.job_id)
    await server.app.stop()
    return job


@pytest.mark.parametrize("origin", ["http://attacker.example", "null"])
async def test_a_foreign_page_is_refused_before_the_upgrade(server: Server, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with calling(server.app.http_port, f"{JOBS}/WatchJobs", origin=origin):
            pass
    assert refused.value.response.status_code == 403
    assert b'"HOST_FORBIDDEN"' in (refused.value.response.body or b"")


async def test_a_page_of_this_server_and_a_listed_host_may_call(start: StartServer) -> None:
    server = await start(http_allowed_hosts=["app.example"])
    for origin in (f"http://127.0.0.1:{server.app.http_port}", "https://app.example"):
        async with calling(server.app.http_port, f"{JOBS}/WatchJobs", origin=origin) as call:
            await call.send(jobs_pb2.WatchJobsRequest())
            await call.next(jobs_pb2.WatchJobsResponse)


async def test_open_sockets_have_a_limit_and_take_no_room_of_requests(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert overload.MAX_WEBSOCKETS == overload.MAX_REQUESTS == 512
    limits = {"http": 1, "websocket": 2}
    monkeypatch.setattr(overload, "MAX_REQUESTS", limits["http"])
    monkeypatch.setattr(overload, "MAX_WEBSOCKETS", limits["websocket"])
    async with AsyncExitStack() as stack:
        for _ in range(limits["websocket"]):
            await watching(stack, server)
        with pytest.raises(InvalidStatus) as refused:
            await watching(stack, server)
        assert refused.value.response.status_code == 503
        assert b'"OVERLOADED"' in (refused.value.response.body or b"")
        async with client_of(server) as http:
            assert (await http.get("/jobs")).status_code == 200
    await until(lambda: not sockets_of(server))
    async with AsyncExitStack() as stack:
        await watching(stack, server)


async def test_an_upgraded_connection_outlives_the_times_of_http(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[object] = []
    monkeypatch.setattr("mismo_grpc.gateway.server.HEADER_SECONDS", 0.05)
    monkeypatch.setattr(_Protocol, "_check", lambda self: checked.append(self))
    async with AsyncExitStack() as stack:
        await watching(stack, server)
        # The timer of a connection without a request, which was made later, has fired.
        _, writer = await asyncio.open_connection("127.0.0.1", server.app.http_port)
        await until(lambda: bool(checked))
        assert len(checked) == 1
        await gone(writer)


async def test_a_message_over_the_limit_ends_the_call(server: Server) -> None:
    async with calling(server.app.http_port, f"{TRANSFER}/UploadAudio") as call:
        await call.send(upload_header(64 << 20))
        with suppress(ConnectionClosed):
            await call.connection.send(os.urandom(MAX_MESSAGE_BYTES + 1))
        await asyncio.wait_for(call.connection.wait_closed(), PATIENCE)
        assert call.connection.close_code == 1009
    await server.nothing_is_held()


@pytest.mark.parametrize("opcode", [0x82, 0x00], ids=["messages", "fragments"])
async def test_a_flood_of_tiny_frames_is_ended(server: Server, opcode: int) -> None:
    reader, writer = await upgraded(server, f"{TRANSFER}/UploadAudio")
    first = frame(0x02) if opcode == 0x00 else b""
    writer.write(first + frame(opcode) * (MAX_UNREAD_MESSAGES + 10))
    async with asyncio.timeout(PATIENCE):
        rest = await reader.read()
    assert struct.pack("!H", 1008) in rest
    await until(lambda: not sockets_of(server))
    await server.nothing_is_held()
    await gone(writer)


async def test_a_client_that_sends_faster_than_the_server_takes_is_held_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = asyncio.Event()

    async def slow_open(*_: object, **__: object) -> None:
        await taken.wait()
        raise AssertionError

    monkeypatch.setattr(server.app.uploads, "open", slow_open)
    _, writer = await upgraded(server, f"{TRANSFER}/UploadAudio")
    writer.write(frame(0x82, upload_header(1 << 30).SerializeToString()))
    [protocol_of] = sockets_of(server)
    # More than the buffers of both ends hold.
    writer.write(frame(0x82, bytes(60_000)) * 340)
    await until(lambda: protocol_of.read_paused)
    await server.heard(server.client)
    assert protocol_of.read_paused
    assert writer.transport.get_write_buffer_size() > 0
    assert protocol_of.queue.qsize() <= 8
    await gone(writer)
    taken.set()
    await until(lambda: not sockets_of(server))


async def test_a_client_that_reads_nothing_meets_the_idle_limit(start: StartServer, music: Path) -> None:
    job = await finished(start, music)
    server = await start(stream_idle_seconds=0.1)
    _, writer = await upgraded(server, f"{TRANSFER}/ReadStem", narrow_socket(server))
    assert isinstance(writer.transport, asyncio.ReadTransport)
    writer.transport.pause_reading()
    request = transfer_pb2.ReadStemRequest(
        job_id=job.job_id, stem_name=job.stem_set.stem_names[0], encoding=PCM_F32LE
    )
    with capture_logs() as logs:
        writer.write(frame(0x82, request.SerializeToString()))
        await until(lambda: any(line["event"] == "rpc refused" for line in logs))
    assert [line["reason"] for line in logs if line["event"] == "rpc refused"] == ["StreamIdleError"]
    await server.nothing_is_held()
    await gone(writer)
    await until(lambda: not sockets_of(server))


async def test_nothing_is_written_to_a_lost_connection(server: Server) -> None:
    """Each such message would be a warning in the log, and a client that leaves is sent hundreds of them."""
    async with AsyncExitStack() as stack:
        await watching(stack, server)
        (connection,) = sockets_of(server)
        connection.transport.abort()
        with pytest.raises(ClientDisconnected):
            await connection.send({"type": "websocket.send", "bytes": b"an event", "text": None})


async def test_unread_data_of_an_ended_call_is_dropped_after_a_while(
    start: StartServer, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(calls, "END_SECONDS", 0.05)
    job = await finished(start, music)
    server = await start(stream_idle_seconds=0.1)
    _, writer = await upgraded(server, f"{TRANSFER}/ReadStem", narrow_socket(server))
    assert isinstance(writer.transport, asyncio.ReadTransport)
    writer.transport.pause_reading()
    request = transfer_pb2.ReadStemRequest(
        job_id=job.job_id, stem_name=job.stem_set.stem_names[0], encoding=PCM_F32LE
    )
    writer.write(frame(0x82, request.SerializeToString()))
    await until(
        lambda: bool(sockets_of(server)) and sockets_of(server)[0].transport.get_write_buffer_size() > 0
    )
    await until(lambda: not sockets_of(server))
    await gone(writer)

"""What clients may hold: heads that never end, more connections or requests than there is room for, unread answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.service.conftest import Server, StartServer
from tests.service.gateway.test_gateway import (
    answers,
    client_of,
    ended,
    error_of,
    gone,
    head,
    narrow_socket,
    request_for,
)
from tests.support.calls import PATIENCE, until
from tests.support.tracks import write_track

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

WHOLE = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = b"GET /health HTTP/1.1\r\nX-Slow: "
BODY = b'--b\r\nContent-Disposition: form-data; name="track_hash"\r\n\r\nx\r\n--b--\r\n'


@asynccontextmanager
async def connected(server: Server, sent: bytes) -> AsyncGenerator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.app.http_port)
    try:
        writer.write(sent)
        yield reader, writer
    finally:
        await gone(writer)


async def answered(reader: asyncio.StreamReader) -> bytes:
    """The status line of the next answer, which is read to its end."""
    async with asyncio.timeout(PATIENCE):
        lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        length = next(line for line in lines if line.startswith(b"content-length: "))
        await reader.readexactly(int(length.split()[1]))
        return lines[0]


async def closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE) == b""
    except ConnectionResetError:
        return True


def open_connections(server: Server) -> int:
    assert server.app.http._server is not None
    return len(server.app.http._server.server_state.connections)


@pytest.fixture
async def hasty(start: StartServer, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server that waits for nothing long."""
    for name in ("HEADER_SECONDS", "KEEP_ALIVE_SECONDS", "FLUSH_SECONDS"):
        monkeypatch.setattr(f"mismo_grpc.gateway.server.{name}", 0.2)
    return await start()


@pytest.mark.parametrize("before", [b"", WHOLE, WHOLE + WHOLE], ids=["first", "second", "third"])
async def test_a_head_that_dribbles_is_ended_whatever_came_before(hasty: Server, before: bytes) -> None:
    async with connected(hasty, head(f"Content-Length: {len(BODY)}")) as (served, uploading):
        async with connected(hasty, before) as (reader, writer):
            for _ in range(before.count(b"GET")):
                assert b" 200 " in await answered(reader)
            writer.write(HALF)
            assert await closed(reader)
        # The earlier one has said what it wants, and is left alone.
        uploading.write(BODY)
        assert b" 422 " in await answered(served)
    await until(lambda: open_connections(hasty) == 0)


async def test_connections_without_a_request_give_way(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mismo_grpc.gateway.server.MAX_CONNECTIONS", 4)
    server = await start()
    async with AsyncExitStack() as stack:

        async def connect(sent: bytes) -> Connection:
            return await stack.enter_async_context(connected(server, sent))

        served, uploading = await connect(head(f"Content-Length: {len(BODY)}"))
        slow: list[Connection] = []
        for _ in range(6):
            reader, writer = await connect(WHOLE)
            assert b" 200 " in await answered(reader)
            writer.write(HALF)
            slow.append((reader, writer))
        for reader, _ in slow[:3]:
            assert await closed(reader)
        # The youngest are still waited for.
        for reader, writer in slow[3:]:
            writer.write(b"\r\nHost: x\r\n\r\n")
            assert b" 200 " in await answered(reader)
        async with client_of(server) as http:
            assert (await http.get("/health")).status_code == 200
        uploading.write(BODY)
        assert b" 422 " in await answered(served)
        assert open_connections(server) <= 4


async def test_requests_are_bounded_and_health_is_told_all_the_same(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mismo_grpc.gateway.overload.MAX_REQUESTS", 2)
    # None of the connections gives way.
    monkeypatch.setattr("mismo_grpc.gateway.server.MAX_CONNECTIONS", 2)
    server = await start()
    async with AsyncExitStack() as stack, client_of(server) as http:
        uploads = [
            await stack.enter_async_context(connected(server, head(f"Content-Length: {len(BODY)}")))
            for _ in range(2)
        ]
        await answers(http, "/jobs", lambda response: response.status_code == 503)
        for refused in (await http.get("/jobs"), await http.post("/jobs", json={})):
            error = error_of(refused, 503)
            assert (error["code"], error["retryable"]) == ("OVERLOADED", True)
            assert refused.headers["retry-after"] == "1"
        for path in ("/health", "/metrics"):
            assert (await http.get(path)).status_code == 200
        for reader, writer in uploads:
            writer.write(BODY)
            assert b" 422 " in await answered(reader)
        assert (await http.get("/jobs")).status_code == 200


@pytest.mark.parametrize("target", ["stems.zip", "stems/bass.wav"])
async def test_a_connection_that_takes_nothing_is_ended(
    hasty: Server, music: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setattr("mismo_grpc.gateway.ranges.STALLED_SECONDS", 0.2)
    async with client_of(hasty) as http:
        seconds = 30.0 if target == "stems.zip" else 1.0
        asked = request_for(write_track(music / "track.wav", seconds))
        (await http.post("/jobs", json=asked)).raise_for_status()
        await ended(http)
    with narrow_socket(hasty) as narrow:
        request = f"GET /jobs/abc123def456/{target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        narrow.sendall(request.encode())
        # The count alone might be looked at too late: the connection is open for 0.2 s.
        assert await asyncio.to_thread(narrow.recv, 1)
        await until(lambda: open_connections(hasty) == 0)

"""Clients of Socket.IO that keep to no protocol, spoken by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from mismo_grpc.gateway.api import live_progress
from mismo_grpc.gateway.api.live_progress import LiveProgress
from tests.service.api.conftest import client_of, uploaded
from tests.service.conftest import Server
from tests.support.calls import PATIENCE, until

ATTACHED = '451-/progress,["a",{"_placeholder":true,"num":0}]'
POLL = "/socket.io/?EIO=4&transport=polling"


@pytest.fixture
def live(server: Server) -> LiveProgress:
    return server.app.http._app.state.live_progress


@pytest.fixture
async def http(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(server) as client:
        yield client


async def opened(http: httpx2.AsyncClient) -> str:
    """The path of a new session in the namespace."""
    answer = await http.get(POLL)
    assert answer.status_code == 200
    path = f"{POLL}&sid={json.loads(answer.text[1:])['sid']}"
    assert (await http.post(path, content="40/progress,")).text == "OK"
    return path


async def polled(http: httpx2.AsyncClient, path: str, text: str) -> None:
    """Polls until a packet has this text; a poll without news would last until the next ping."""
    async with asyncio.timeout(PATIENCE):
        while text not in (await http.get(path)).text:
            pass


@pytest.mark.parametrize(
    "body",
    [
        "",
        "x",
        "4",
        "42/progress,{}",
        "\x1e" * 500,
        '451-/progress,["a",{"_placeholder":true,"num":0}]',
        "bAAAA",
        "4" + "[" * 9000,
    ],
)
async def test_a_malformed_poll_ends_its_session_alone(
    http: httpx2.AsyncClient, live: LiveProgress, body: str
) -> None:
    other, path = await opened(http), await opened(http)
    answer = await http.post(path, content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_REQUEST")
    assert (await http.post(path, content="3")).status_code == 400
    assert (await http.post(other, content='42/progress,["subscribe",{"job_id":"x"}]')).status_code == 200
    await polled(http, other, "JOB_NOT_FOUND")
    assert live.clients == 1


async def test_a_long_message_is_dropped_and_an_endless_one_is_cut_off(
    http: httpx2.AsyncClient, live: LiveProgress
) -> None:
    path = await opened(http)
    answer = await http.post(path, content='42/progress,["subscribe",{"job_id":"' + "x" * 1_000_000 + '"}]')
    assert answer.status_code == 200
    await polled(http, path, "16384 bytes")
    assert (await http.post(path, content="4" * (5 << 20))).status_code == 413


@pytest.mark.parametrize(
    "message",
    [
        "",
        "x",
        "4",
        "42/progress,{}",
        "42/progress," + "[" * 9000,
        '451-/progress,["a",{"_placeholder":true,"num":0}]',
        b"\x00\x01",
    ],
)
async def test_a_malformed_websocket_message_ends_its_connection_alone(
    server: Server, live: LiveProgress, message: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    address = f"ws://127.0.0.1:{server.app.http_port}/socket.io/?EIO=4&transport=websocket"
    async with connect(address) as other, connect(address) as socket:
        for each in (other, socket):
            await each.recv()
            await each.send("40/progress,")
            await each.recv()
        await socket.send(message)
        with pytest.raises(ConnectionClosed):
            await _read_all(socket)
        await until(lambda: live.clients == 1)
        await other.send('42/progress,["subscribe",{"job_id":"x"}]')
        assert "JOB_NOT_FOUND" in str(await other.recv())
    await until(lambda: live.clients == 0)
    assert "Traceback" not in capfd.readouterr().err


async def _read_all(socket: ClientConnection) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            await socket.recv()


async def _flood(socket: ClientConnection) -> None:
    async with asyncio.timeout(PATIENCE):
        for number in range(100_000):
            await socket.send(f'42/progress,{number}["subscribe",{{"job_id":"x"}}]')


async def test_a_flood_of_messages_ends_its_connection(server: Server, live: LiveProgress) -> None:
    address = f"ws://127.0.0.1:{server.app.http_port}/socket.io/?EIO=4&transport=websocket"
    async with connect(address) as socket:
        await socket.recv()
        await socket.send("40/progress,")
        with pytest.raises(ConnectionClosed):
            await _flood(socket)
        await until(lambda: live.clients == 0)


async def test_a_client_that_never_reads_is_bounded_and_disconnected(
    server: Server, http: httpx2.AsyncClient, live: LiveProgress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_progress, "SWEEP_SECONDS", 0.02)
    path = await opened(http)
    (client,) = live._sockets
    queue = live._sockets[client].queue
    for _ in range(60):
        # Each makes an error event and an acknowledgement.
        if (await http.post(path, content='42/progress,1["subscribe",{"job_id":"x"}]')).status_code != 200:
            break
    assert queue.qsize() <= 66
    await until(lambda: live.clients == 0)


async def test_requests_of_no_session_and_other_methods_are_refused(
    http: httpx2.AsyncClient, server: Server
) -> None:
    for method, path in (
        ("GET", "/socket.io/"),
        ("GET", "/socket.io/?EIO=3&transport=polling"),
        ("GET", f"{POLL}&sid=x"),
        ("POST", f"{POLL}&sid=x"),
        ("POST", POLL),
        ("GET", "/socket.io/?EIO=4&transport=flash"),
        ("DELETE", POLL),
        ("GET", "/socket.io/?EIO=4&transport=websocket"),
    ):
        assert (await http.request(method, path)).status_code in (400, 405), (method, path)
    assert (await http.get("/socket.iox")).status_code == 404
    await uploaded(http)

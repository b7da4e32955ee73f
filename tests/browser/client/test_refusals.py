"""A server that opens no WebSocket: browsers hide its response, so the client asks for the reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser

from mismo_grpc.gateway import overload
from tests.browser.support import Tab, tab
from tests.service.conftest import Server, StartServer
from tests.support.tcp_proxy import CHUNK_BYTES, TcpProxy
from tests.support.tracks import track_bytes

FAILS = """
    const client = new m.MismoClient(arg ? {baseUrl: arg} : {});
    const error = await client.system.getServerInfo({}).catch((error) => error);
    return [error.reason, error.retryable, error.message];
"""


@asynccontextmanager
async def foreign_tab(browser: Browser, server: Server) -> AsyncGenerator[tuple[Tab, str]]:
    """A page of another origin, localhost, and the address of the server for it."""
    port = server.app.http_port
    async with tab(browser, port) as page:
        await page.page.goto(f"http://localhost:{port}/health")
        await page.page.evaluate(
            "async () => { window.m = await import('/-/mismo-client.js'); window.t = await import('/-/tools.js'); }"
        )
        yield page, f"http://127.0.0.1:{port}"


class ForwardingProxy(TcpProxy):
    """Names its target in `Host`, as proxies do that were not told otherwise."""

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data.replace(b"Host: 127.0.0.1:%d" % self.port, b"Host: inner-server:80"))
            await writer.drain()


async def test_a_page_of_a_foreign_host_is_told_to_be_listed(server: Server, browser: Browser) -> None:
    async with foreign_tab(browser, server) as (page, address):
        reason, retryable, message = await page.run(FAILS, address)
        watched = await page.run(
            """
            const watch = new m.JobsWatch(new m.MismoClient({baseUrl: arg}));
            const failed = t.happened(watch, "error");
            watch.start();
            return (await failed).error.reason;
            """,
            address,
        )
    assert (reason, retryable, watched) == ("HOST_FORBIDDEN", False, "HOST_FORBIDDEN")
    assert "localhost" in message
    assert "MISMO_HTTP_ALLOWED_HOSTS" in message


async def test_a_page_of_a_listed_host_uploads_plays_and_downloads(
    start: StartServer, browser: Browser
) -> None:
    server = await start(http_allowed_hosts=["localhost"])
    async with foreign_tab(browser, server) as (page, address):
        played = await page.run(
            """
            const client = new m.MismoClient({baseUrl: arg.address});
            const file = new File([Uint8Array.from(arg.track)], "track.wav");
            const uploadId = await m.uploadFile(client, file);
            const {job} = await client.jobs.submitJob({source: {location: {case: "uploadId", value: uploadId}}});
            const player = new m.StemPlayer(client, {jobId: job.jobId});
            const ended = t.happened(player, "ended");
            await player.play();
            await ended;
            await player.close();
            const watch = new m.JobWatch(client, {jobId: job.jobId});
            const done = t.happened(watch, "terminal");
            watch.start();
            const {stemSet} = (await done).job;
            const url = client.artifactUrl(job.jobId, `${stemSet.stemNames[0]}.flac`);
            const flac = new Uint8Array(await (await fetch(url)).arrayBuffer());
            return [String.fromCharCode(...flac.subarray(0, 4)), player.state];
            """,
            {"address": address, "track": list(track_bytes(0.5))},
        )
        assert page.problems == []
    assert played == ["fLaC", "ended"]


async def test_a_server_that_answers_and_opens_no_websocket_is_not_called_out_of_reach(
    start: StartServer, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overload, "MAX_WEBSOCKETS", 0)
    server = await start()
    async with tab(browser, server.app.http_port) as page:
        reason, retryable, message = await page.run(FAILS)
    assert (reason, retryable) == ("WEBSOCKET_REFUSED", True)
    assert "opens no WebSocket" in message


async def test_a_proxy_that_hides_the_host_is_reported_in_the_words_of_the_server(
    server: Server, browser: Browser
) -> None:
    async with ForwardingProxy(server.app.http_port) as proxy, tab(browser, proxy.port) as page:
        reason, retryable, message = await page.run(FAILS)
    assert (reason, retryable) == ("HOST_FORBIDDEN", False)
    assert f"http://127.0.0.1:{proxy.port}" in message


async def test_a_server_that_is_gone_is_out_of_reach(server: Server, browser: Browser) -> None:
    async with tab(browser, server.app.http_port) as page:
        await asyncio.wait_for(server.app.stop(), 60)
        assert (await page.run(FAILS))[:2] == ["NETWORK", True]

"""Live progress, watched with the real client of Socket.IO: every transport, every kind of interruption."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest

from mismo_grpc.gateway.api import live_progress, watches
from mismo_grpc.gateway.api.live_progress import LiveProgress
from tests.service.api.conftest import StartBrowser, ended, status_of, uploaded
from tests.service.conftest import Server, StartServer
from tests.support.calls import until
from tests.support.process import ServerProcess

POLLING: dict[str, Any] = {"transports": ["polling"]}
WEBSOCKET: dict[str, Any] = {"transports": ["websocket"]}
BOTH: dict[str, Any] = {"transports": ["polling", "websocket"]}


def live_of(server: Server) -> LiveProgress:
    return server.app.http._app.state.live_progress


def check_progress(events: list[dict[str, Any]], job_id: str) -> None:
    """It never goes back, and is 100 at the end alone."""
    figures = [event["progress"] for event in events]
    assert figures == sorted(figures)
    assert all(event["job_id"] == job_id and event["message"] for event in events)
    assert all(0 <= event["progress"] < 100 for event in events if event["status"] != "completed")


async def held(server: Server, http: httpx2.AsyncClient, seconds: float = 3.0) -> str:
    """A job that waits before its first segment."""
    server.device.close()
    job_id = await uploaded(http, seconds)
    await server.device.someone_waits()
    return job_id


@pytest.mark.parametrize("options", [POLLING, WEBSOCKET, BOTH], ids=["polling", "websocket", "upgrade"])
async def test_progress_moves_with_each_segment(
    server: Server, http: httpx2.AsyncClient, browse: StartBrowser, options: dict[str, Any]
) -> None:
    job_id = await held(server, http)
    browser = await browse(server.app.http_port, follow=job_id, **options)
    assert (await browser.event("open"))["transport"] == options["transports"][0]
    first = await browser.event("progress", job_id=job_id)
    assert (first["status"], first["segments_done"]) == ("processing", 0)
    if options is BOTH:
        await browser.event("upgrade", transport="websocket")
    else:
        assert not [each for each in browser.seen if each["event"] == "upgrade"]
    total = first["segments_total"]
    assert total > 3
    for done in range(1, total):
        server.device.allow(1)
        await browser.event("progress", segments_done=done)
    server.device.allow(1)
    last = await browser.event("progress", status="completed")
    assert (last["progress"], last["download"]) == (100, f"/api/download/{job_id}")
    check_progress(browser.progress, job_id)
    assert len({event["progress"] for event in browser.progress}) >= total
    assert not [each for each in browser.seen if each["event"] == "error"]
    await until(lambda: live_of(server).watched_jobs == 0)


async def test_a_client_that_connects_again_goes_on_at_once(
    server: Server, http: httpx2.AsyncClient, browse: StartBrowser
) -> None:
    job_id = await held(server, http)
    browser = await browse(server.app.http_port, follow=job_id, **POLLING)
    server.device.allow(2)
    await browser.event("progress", segments_done=2)
    browser.do("cut")
    await browser.event("disconnect")
    seen = len(browser.seen)
    await browser.event("connect", after=seen)
    # Without a further segment: the state of now.
    assert (await browser.event("progress", after=seen))["segments_done"] == 2
    server.device.open()
    await browser.event("progress", status="completed")
    check_progress(browser.progress, job_id)


async def test_many_clients_share_one_watch(
    server: Server, http: httpx2.AsyncClient, browse: StartBrowser
) -> None:
    job_id = await held(server, http)
    browsers = [await browse(server.app.http_port, follow=job_id, **POLLING) for _ in range(3)]
    for browser in browsers:
        await browser.event("progress", job_id=job_id)
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert names.count(f"live progress of {job_id}") == 1
    assert (live_of(server).watched_jobs, live_of(server).clients) == (1, 3)
    browsers[0].emit("unsubscribe", {"job_id": job_id})
    browsers[1].do("close")
    await browsers[1].event("disconnect")
    seen = len(browsers[0].progress)
    server.device.open()
    await browsers[2].event("progress", status="completed")
    assert len(browsers[0].progress) == seen
    # The watch of a job that nobody follows any more ends.
    job_id = await held(server, http, 4.0)
    browsers[2].emit("subscribe", {"job_id": job_id})
    await browsers[2].event("progress", job_id=job_id)
    browsers[2].emit("unsubscribe", {"job_id": job_id})
    await until(lambda: live_of(server).watched_jobs == 0)


async def test_an_ended_job_is_told_once(
    server: Server, http: httpx2.AsyncClient, browse: StartBrowser
) -> None:
    job_id = await uploaded(http)
    await ended(http, job_id)
    browser = await browse(server.app.http_port, follow=job_id, **POLLING)
    assert (await browser.event("progress"))["progress"] == 100
    assert live_of(server).watched_jobs == 0


async def test_a_failure_is_told_with_its_reason(
    server: Server, http: httpx2.AsyncClient, browse: StartBrowser
) -> None:
    server.hold_decoders()
    job_id = await uploaded(http)
    # The disk loses the track after it was accepted.
    (source,) = (server.jobs_dir / ".mismo" / "runs").glob("*/source")
    source.write_bytes(b"fLaC" + bytes(1000))
    browser = await browse(server.app.http_port, follow=job_id, **POLLING)
    await browser.event("progress", job_id=job_id)
    server.release_decoders()
    error = await browser.event("error")
    status = await status_of(http, job_id)
    assert (status["status"], status["message"]) == ("failed", error["message"])
    assert (error["job_id"], error["code"]) == (job_id, status["error"]["code"])
    last = browser.progress[-1]
    assert (last["status"], last["progress"] < 100, last["download"]) == ("failed", True, None)
    check_progress(browser.progress, job_id)
    # Another client is told the same at once.
    late = await browse(server.app.http_port, follow=job_id, **POLLING)
    assert await late.event("error") == error
    download = await http.get(f"/api/download/{job_id}")
    assert (download.status_code, error["message"] in download.text) == (409, True)


async def test_bad_requests_are_errors_and_end_nothing(
    server: Server, http: httpx2.AsyncClient, browse: StartBrowser
) -> None:
    for options in (POLLING, WEBSOCKET):
        browser = await browse(server.app.http_port, **options)
        await browser.event("connect")
        for data, code in (
            ([{"job_id": "nothing"}], "JOB_NOT_FOUND"),
            ([{"job_id": "../../etc/passwd"}], "INVALID_JOB_ID"),
            ([{"job_id": "x" * 5000}], "INVALID_JOB_ID"),
            ([{"job_id": "\ud800"}], "INVALID_JOB_ID"),
            ([{"job_id": 5}], "INVALID_FIELD"),
            ([{"job_id": None}], "INVALID_FIELD"),
            (["a text"], "INVALID_FIELD"),
            ([[1, 2]], "INVALID_FIELD"),
            ([None], "INVALID_FIELD"),
            ([], "INVALID_FIELD"),
            ([{"job_id": "nothing"}, 1, 2, 3], "JOB_NOT_FOUND"),
        ):
            seen = len(browser.seen)
            browser.emit("subscribe", *data)
            error = await browser.event("error", after=seen)
            assert error["code"] == code, data
            assert error["message"]
        seen = len(browser.seen)
        browser.do("long", "subscribe", 1_000_000)
        assert "bytes" in (await browser.event("error", after=seen))["message"]
        seen = len(browser.seen)
        browser.emit("destroy", {"job_id": "x"})
        assert (await browser.event("error", after=seen))["code"] == "INVALID_REQUEST"
        browser.do("ask", "subscribe", {"job_id": "nothing"})
        assert (await browser.event("ack"))["error"]["code"] == "JOB_NOT_FOUND"
        assert not [each for each in browser.seen if each["event"] == "disconnect"]
        job_id = await uploaded(http)
        browser.do("ask", "subscribe", {"job_id": job_id})
        await browser.event("ack", job_id=job_id)
        await browser.event("progress", status="completed")


async def test_a_client_follows_a_bounded_number_of_jobs(
    server: Server, http: httpx2.AsyncClient, browse: StartBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "MAX_SUBSCRIPTIONS", 1)
    job_id = await held(server, http)
    other = await uploaded(http, 2.0, seed=2)
    browser = await browse(server.app.http_port, follow=job_id, **POLLING)
    await browser.event("progress")
    browser.emit("subscribe", {"job_id": job_id})
    browser.emit("subscribe", {"job_id": other})
    assert (await browser.event("error"))["code"] == "TOO_MANY_STREAMS"
    browser.emit("unsubscribe", {"job_id": job_id})
    browser.emit("subscribe", {"job_id": other})
    await browser.event("progress", job_id=other)


async def test_more_clients_than_there_may_be_are_refused(
    server: Server, browse: StartBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_progress, "MAX_CLIENTS", 1)
    first = await browse(server.app.http_port, **POLLING)
    await first.event("connect")
    second = await browse(server.app.http_port, **POLLING)
    assert (await second.event("connect_error"))["context"] == 503
    third = await browse(server.app.http_port, reconnection=False, **WEBSOCKET)
    await third.event("connect_error")
    # One that leaves makes room.
    first.do("close")
    await second.event("connect")


async def test_clients_that_follow_nothing_are_disconnected(
    server: Server, http: httpx2.AsyncClient, browse: StartBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_progress, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(live_progress, "IDLE_SECONDS", 0.1)
    job_id = await held(server, http)
    idle = await browse(server.app.http_port, reconnection=False, **POLLING)
    following = await browse(server.app.http_port, follow=job_id, reconnection=False, **POLLING)
    await idle.event("disconnect")
    server.device.open()
    await following.event("progress", status="completed")


async def test_a_deleted_job_is_cancelled_for_its_followers_and_gone_for_new_ones(
    server: Server, http: httpx2.AsyncClient, browse: StartBrowser
) -> None:
    job_id = await held(server, http)
    browser = await browse(server.app.http_port, follow=job_id, **POLLING)
    await browser.event("progress", job_id=job_id)
    assert (await http.delete(f"/api/jobs/{job_id}")).status_code == 200
    assert (await browser.event("progress", status="cancelled"))["job_id"] == job_id
    browser.emit("subscribe", {"job_id": job_id})
    error = await browser.event("error")
    assert (error["code"], error["job_id"]) == ("JOB_NOT_FOUND", job_id)
    assert "expired" in error["message"]


async def test_pages_of_strangers_are_refused(
    server: Server, start: StartServer, browse: StartBrowser
) -> None:
    for options in (POLLING, WEBSOCKET):
        foreign = {"extraHeaders": {"Origin": "https://attacker.example"}, "reconnection": False}
        browser = await browse(server.app.http_port, **options, **foreign)
        await browser.event("connect_error")
        assert not [each for each in browser.seen if each["event"] == "connect"]
    listed = await start(http_allowed_hosts=["dj.example.com"], jobs_dir=server.jobs_dir.parent / "other")
    for options in (POLLING, WEBSOCKET):
        browser = await browse(
            listed.app.http_port, **options, extraHeaders={"Origin": "https://dj.example.com"}
        )
        await browser.event("connect")


async def test_a_restart_of_the_server_is_survived_and_progress_never_goes_back(
    process: ServerProcess, browse: StartBrowser
) -> None:
    client = await process.start()
    port = int(json.loads(process.ready_file.read_bytes())["http_port"])
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        job_id = await uploaded(http, 40.0)
        browser = await browse(port, follow=job_id, **POLLING)
        before = await browser.saw(
            lambda each: each["event"] == "progress" and each["data"]["segments_done"] > 1
        )
    process.kill()
    await client.close()
    await browser.event("disconnect")
    seen = len(browser.seen)
    client = await process.start("--http-port", str(port))
    await browser.event("connect", after=seen)
    again = await browser.event("progress", after=seen)
    assert again["progress"] >= before["data"]["progress"]
    await browser.event("progress", status="completed")
    check_progress(browser.progress, job_id)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        assert (await status_of(http, job_id))["progress"] == 100
    # An orderly stop disconnects clients within the grace time, and they come again.
    seen = len(browser.seen)
    process.signal()
    assert await process.exited() == 0
    await client.close()
    assert (await browser.event("disconnect", after=seen))["reason"] in ("transport close", "transport error")
    client = await process.start("--http-port", str(port))
    await browser.event("progress", after=seen, status="completed")
    await client.close()


async def test_closing_ends_watches_and_refuses_clients(
    server: Server, http: httpx2.AsyncClient, browse: StartBrowser
) -> None:
    job_id = await held(server, http)
    browser = await browse(server.app.http_port, follow=job_id, reconnection=False, **POLLING)
    await browser.event("progress")
    await live_of(server).close()
    await browser.event("disconnect")
    assert live_of(server).clients == live_of(server).watched_jobs == 0
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("live progress")]
    late = await browse(server.app.http_port, reconnection=False, **POLLING)
    assert (await late.event("connect_error"))["context"] == 503

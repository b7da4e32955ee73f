"""The network is cut, the server restarts, the job goes away: the page says so, and goes on where it was."""

from __future__ import annotations

import asyncio
import json
import re
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import expect

from tests.browser.page.desk import NETWORK, Desk, played, whole
from tests.service.conftest import Server, StartServer
from tests.support.calls import PATIENCE, SUCCEEDED
from tests.support.process import ServerProcess
from tests.support.tcp_proxy import TcpProxy
from tests.support.tracks import write_track

MIB = 1 << 20


async def frames_of(server: Server, job_id: str, stem: str) -> np.ndarray:
    """The left channel of a stem as the API sends it."""
    return np.frombuffer(await server.client.read_stem(job_id, stem), "<i2").reshape(-1, 2)[:, 0]


async def test_an_upload_goes_on_where_the_network_was_cut(
    server: Server, tmp_path: Path, desk: Desk
) -> None:
    desk.expected.append(NETWORK)
    track = write_track(tmp_path / "big.wav", 70.0)
    size = track.stat().st_size
    server.device.close()
    async with TcpProxy(server.app.http_port) as proxy:
        await desk.open(proxy.port)
        proxy.hold_request_at = proxy.requested + size // 2
        await desk.choose(track)
        await proxy.held.wait()
        # All connections break at the next response, and new ones at their first.
        proxy.responses_left = 0
        proxy.flowing.set()
        await expect(desk["upload-detail"]).to_have_text(
            "Waiting for the network; the upload goes on by itself"
        )
        await expect(desk["banner"]).to_contain_text("The server cannot be reached. Reconnecting")
        proxy.responses_left = None
        await expect(desk["track-title"]).to_have_text("big")
        await expect(desk["banner"]).to_be_hidden()
        # What was safe on the server was not sent again: at most what was on its way.
        assert size < proxy.requested < size + 5 * MIB
        job_id = await desk.job_id("big")
        await server.device.someone_waits()
        await desk["cancel"].click()
        await expect(desk.job("big")).to_have_attribute("data-state", "cancelled")
        assert (await server.client.get(job_id)).stem_set.total_frames == 70 * 44_100
        server.device.open()
        await desk.page.close()


async def test_what_is_there_plays_on_without_the_network_and_then_goes_on_without_a_gap(
    server: Server, tmp_path: Path, desk: Desk
) -> None:
    desk.expected.append(NETWORK)
    server.device.close()
    async with TcpProxy(server.app.http_port) as proxy:
        await desk.open(proxy.port)
        await desk.choose(write_track(tmp_path / "cut.wav", 6.0))
        await server.device.someone_waits()
        await desk.ears()
        server.device.allow(8)
        await desk.heard()
        job_id = await desk.job_id("cut")
        proxy.responses_left = 0
        server.device.open()
        await server.client.succeeded(job_id)
        # It plays to the end of what had come.
        await desk.player("buffering")
        await desk.silent()
        assert 0.3 < await desk.seconds() < 5.5
        await expect(desk["banner"]).to_be_visible()
        proxy.responses_left = None
        await desk.player("ended")
        await expect(desk["banner"]).to_be_hidden()
        await expect(desk["downloads"]).to_be_visible()
        for stem in ("drums", "vocals"):
            expected = await frames_of(server, job_id, stem)
            stretches = played(await desk.tape(stem), expected)
            assert len(stretches) >= 2
            assert whole(stretches, len(expected)), stretches
        await desk.page.close()


async def test_a_restart_is_told_and_the_track_goes_on_with_the_next_server(
    start: StartServer, tmp_path: Path, desk: Desk
) -> None:
    desk.expected.append(NETWORK)
    before = await start(grace_seconds=0.1)
    before.device.close()
    port = before.app.http_port
    await desk.open(port)
    await desk.choose(write_track(tmp_path / "restart.wav", 8.0))
    await before.device.someone_waits()
    await desk.ears()
    before.device.allow(8)
    await desk.heard()
    job_id = await desk.job_id("restart")
    run_id = (await before.client.get(job_id)).run_id
    before.device.open()
    before.device.close()
    await before.app.stop()
    await expect(desk["banner"]).to_contain_text("Reconnecting")
    await desk.silent()
    held = await desk.seconds()
    after = await start(http_port=port)
    await expect(desk["banner"]).to_be_hidden()
    await expect(desk["downloads"]).to_be_visible()
    await desk.player("ended")
    assert held < 7.9
    job = await after.client.get(job_id)
    assert (job.state, job.run_id) == (SUCCEEDED, run_id)
    expected = await frames_of(after, job_id, "bass")
    stretches = played(await desk.tape("bass"), expected)
    assert whole(stretches, len(expected)), stretches
    await desk.page.close()


@pytest.mark.heavy
async def test_a_killed_server_loses_nothing_that_was_heard(
    process: ServerProcess, tmp_path: Path, desk: Desk
) -> None:
    desk.expected.append(NETWORK)
    await (await process.start()).close()
    port = int(json.loads(process.ready_file.read_bytes())["http_port"])
    await desk.open(port)
    await desk.choose(write_track(tmp_path / "killed.wav", 60.0))
    await desk.ears()
    await desk.heard()
    process.kill()
    await expect(desk["banner"]).to_contain_text("The server cannot be reached")
    client = await process.start("--http-port", str(port))
    job_id = await desk.job_id("killed")
    await expect(desk["banner"]).to_be_hidden()
    await expect(desk["downloads"]).to_be_visible()
    await desk.heard(await desk.mark())
    assert (await client.get(job_id)).state == SUCCEEDED
    expected = np.frombuffer(await client.read_stem(job_id, "bass"), "<i2").reshape(-1, 2)[:, 0]
    stretches = played(await desk.tape("bass"), expected)
    assert all(after[0] - first[1] <= 1024 for first, after in pairwise(stretches))
    await client.close()


async def test_a_job_that_is_deleted_while_it_is_open_says_so(
    server: Server, music: Path, desk: Desk
) -> None:
    await server.client.submit(write_track(music / "a_track.wav", 2.0), job_id="job")
    await server.client.succeeded("job")
    await desk.open(server.app.http_port)
    await desk["scope-all"].check()
    await desk["job-open"].click()
    await expect(desk["downloads"]).to_be_visible()
    await server.client.delete("job")
    await expect(desk.notice("warn")).to_contain_text("a track was deleted")
    await expect(desk.notice("warn")).to_contain_text("Drop the track again to separate it anew.")
    await expect(desk["home"]).to_be_visible()
    # Its address leads nowhere.
    await desk.page.goto(f"http://127.0.0.1:{server.app.http_port}/#job=job")
    await expect(desk.notice("warn")).to_contain_text("This job is not on the server")
    await expect(desk["home"]).to_be_visible()


async def test_a_job_that_expires_while_the_page_is_open_leaves_the_list(
    start: StartServer, tmp_path: Path, desk: Desk
) -> None:
    moved = 0.0

    def now() -> float:
        return time.time() + moved

    server = await start(app={"now": now}, job_retention_hours=1.0)
    await desk.open(server.app.http_port)
    await expect(desk["limits"]).to_contain_text("kept for")
    await desk.choose(write_track(tmp_path / "expiring.wav", 1.0))
    await expect(desk["downloads"]).to_be_visible()
    job_id = await desk.job_id("expiring")
    # A job that someone listens to is kept.
    moved = 3601.0
    await server.app.sweeper.sweep()
    await expect(desk.job("expiring")).to_be_visible()
    await desk["process-another"].click()
    # Its stream ends a moment after that.
    async with asyncio.timeout(PATIENCE):
        while not await desk["library-empty"].is_visible():
            await server.app.sweeper.sweep()
            await asyncio.sleep(0.05)
    await desk.page.goto(f"http://127.0.0.1:{server.app.http_port}/#job={job_id}")
    await expect(desk.notice("warn")).to_contain_text("This job is not on the server")
    await expect(desk["home"]).to_be_visible()


async def test_a_job_with_a_new_run_is_not_shown_as_the_old_one(
    server: Server, music: Path, tmp_path: Path, desk: Desk
) -> None:
    server.device.close()
    await server.client.submit(write_track(music / "again.wav", 4.0), job_id="job")
    await server.device.someone_waits()
    await desk.open(server.app.http_port, "/#job=job")
    await expect(desk["deck"]).to_be_visible()
    run_id = (await server.client.get("job")).run_id
    await server.client.cancel("job")
    await server.client.delete("job")
    await expect(desk.notice("warn")).to_contain_text(re.compile("was deleted|has a new run"))
    await server.client.submit(write_track(music / "again.wav", 4.0), job_id="job")
    await desk.page.goto(f"http://127.0.0.1:{server.app.http_port}/#job=job")
    await expect(desk["track-title"]).to_have_text("again")
    server.device.open()
    await expect(desk["downloads"]).to_be_visible()
    assert (await server.client.get("job")).run_id != run_id

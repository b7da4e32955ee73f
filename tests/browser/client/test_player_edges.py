"""The player where states meet: at the end of the track, after a failure, and with positions that are none."""

from __future__ import annotations

import asyncio
from pathlib import Path

from playwright.async_api import Browser

from tests.browser.support import tab
from tests.service.conftest import Server
from tests.support.calls import PATIENCE
from tests.support.tracks import write_track


async def test_a_pause_at_the_very_end_can_be_played_again(
    server: Server, music: Path, browser: Browser
) -> None:
    job = (await server.client.submit(write_track(music / "track.wav", 0.5))).job
    await server.client.succeeded(job.job_id)
    async with tab(browser, server.app.http_port) as page:
        found = await page.run(
            """
            // The player notices the end at its next tick; here the test says when that is.
            const ticks = [];
            window.setInterval = (tick) => ticks.push(tick);
            const player = new m.StemPlayer(new m.MismoClient(), {jobId: arg});
            await player.play();
            await t.until(() => player.currentTime >= player.duration);
            const before = player.state;
            player.pause();
            const paused = [player.state, player.currentTime === player.duration];
            await player.play();
            const again = [player.state, player.currentTime < player.duration];
            await t.until(() => player.currentTime >= player.duration);
            player.loop = {start: 0, end: 0.25};
            player.loop = null;
            const ended = t.happened(player, "ended");
            const pump = () => { ticks.forEach((tick) => tick()); player.state === "ended" || setTimeout(pump, 5); };
            pump();
            await ended;
            return [before, paused, again, player.state];
            """,
            job.job_id,
        )
        assert page.problems == []
    assert found == ["playing", ["paused", True], ["playing", True], "ended"]


async def test_playing_after_a_failure_tells_it_again(server: Server, music: Path, browser: Browser) -> None:
    server.device.close()
    job = (await server.client.submit(write_track(music / "track.wav", 2.0))).job
    async with tab(browser, server.app.http_port) as page:
        await page.run(
            """
            window.player = new m.StemPlayer(new m.MismoClient(), {jobId: arg});
            await player.open();
            window.failed = t.happened(player, "statechange", ({state}) => state === "failed");
            """,
            job.job_id,
        )
        await server.client.cancel(job.job_id)
        server.device.open()
        playing = page.run(
            "await failed; return await player.play().then(() => 'played', (error) => error.reason);"
        )
        assert await asyncio.wait_for(playing, PATIENCE) == "JOB_NOT_READY"


async def test_positions_and_loops_that_are_none_are_refused_and_change_nothing(
    server: Server, music: Path, browser: Browser
) -> None:
    job = (await server.client.submit(write_track(music / "track.wav", 1.0))).job
    await server.client.succeeded(job.job_id)
    async with tab(browser, server.app.http_port) as page:
        found = await page.run(
            """
            const player = new m.StemPlayer(new m.MismoClient(), {jobId: arg});
            await player.open();
            player.seek(0.5);
            const refused = (act) => { try { act(); return ""; } catch (error) { return error.name; } };
            const names = [
              refused(() => player.seek(NaN)),
              refused(() => (player.loop = {start: player.duration, end: player.duration + 0.02})),
              refused(() => (player.loop = {start: 0.5, end: 0.2})),
            ];
            player.seek(Infinity);
            const last = player.currentTime;
            player.seek(0.5);
            return [names, player.currentTime, player.loop, last < player.duration];
            """,
            job.job_id,
        )
        assert page.problems == []
    assert found == [["RangeError"] * 3, 0.5, None, True]

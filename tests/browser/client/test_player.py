"""The player in a real browser: what comes out of its audio graph is the server's audio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from playwright.async_api import Browser

from tests.browser.client.audio import left_of, place_of, tape
from tests.browser.support import tab
from tests.service.conftest import Server
from tests.support.calls import options, until
from tests.support.tracks import write_track

OPENED = """
    const player = new m.StemPlayer(new m.MismoClient(), {jobId: arg.job, ...arg.options});
    window.player = player;
    const track = await player.open();
"""


async def test_every_sample_of_every_stem_is_heard_once_and_in_sync(
    server: Server, music: Path, browser: Browser
) -> None:
    job = (await server.client.submit(write_track(music / "track.wav", 2.5))).job
    job = await server.client.succeeded(job.job_id)
    async with tab(browser, server.app.http_port) as page:
        recorded = await page.run(
            OPENED
            + """
            const tape = await t.record(player.output.context, player.stems.map((stem) => stem.analyser));
            await player.play();
            await t.happened(player, "ended");
            // The tape comes later than the sound.
            await t.until(() => t.loudest(tape, 0) === 0);
            await player.close();
            return player.stems.map((_, index) => t.trackOf(tape, index));
            """,
            {"job": job.job_id},
        )
        assert page.problems == []
    places = [
        place_of(await left_of(server, job, name), tape(track))
        for name, track in zip(job.stem_set.stem_names, recorded, strict=True)
    ]
    assert len(set(places)) == 1
    await until(lambda: server.app.server.streams.count == 0)
    await server.nothing_is_held()


async def test_the_first_sound_comes_before_the_job_ends_and_a_seek_reorders_it(
    server: Server, music: Path, browser: Browser
) -> None:
    server.device.close()
    job = (await server.client.submit(write_track(music / "track.wav", 8.0))).job
    async with tab(browser, server.app.http_port) as page:
        await page.run(
            OPENED
            + """
            window.tape = await t.record(player.output.context, [player.output]);
            window.sound = player.play();
            await t.happened(player, "notready", (detail) => detail?.reason === "separating");
            """,
            {"job": job.job_id},
        )
        assert await page.run("return [player.state, t.loudest(tape, 0)]") == ["buffering", 0]
        server.device.allow(2)
        await page.run("await sound; await t.until(() => t.loudest(tape, 0) > 0.001);")
        # It ran out of audio: it waits at the first missing frame, and says why.
        await page.run("await t.until(() => player.state === 'buffering' && t.loudest(tape, 0) === 0);")
        at = await page.run("return player.currentTime")
        assert 0.2 < at < 1.0
        assert (await server.client.get(job.job_id)).progress.segments_done == 2
        await page.run("player.seek(5); window.sought = t.happened(player, 'seeked');")
        await until(lambda: server.app.scheduler.waiting > 0)
        server.device.allow(3)
        assert (await page.run("return (await sought).time")) == 5
        await page.run("await t.until(() => player.state === 'playing' && t.loudest(tape, 0) > 0.001);")
        ready = [(r.start_frame, r.end_frame) for r in (await server.client.get(job.job_id)).stem_set.ready]
        assert any(start <= 5 * 44100 < end for start, end in ready)
        assert not any(start <= 2 * 44100 < end for start, end in ready)
        server.device.open()
        await server.client.succeeded(job.job_id)
        await page.run("await player.close()")
        assert page.problems == []


async def test_mute_solo_volume_and_pan_change_their_stem_alone(
    server: Server, music: Path, browser: Browser
) -> None:
    job = (await server.client.submit(write_track(music / "track.wav", 6.0))).job
    job = await server.client.succeeded(job.job_id)
    async with tab(browser, server.app.http_port) as page:
        found = await page.run(
            OPENED
            + """
            player.loop = {start: 0, end: 2};
            await player.play();
            const levels = () => player.stems.map((stem) => stem.level());
            await t.until(() => levels().every((level) => level > -70));
            const [first, second, ...others] = player.stems;
            first.muted = true;
            await t.until(() => first.level() === -120);
            const muted = levels();
            first.muted = false;
            second.soloed = true;
            await t.until(() => second.level() > -70 && others.every((stem) => stem.level() === -120));
            second.soloed = false;
            await t.until(() => levels().every((level) => level > -70));
            first.volume = 0;
            await t.until(() => first.level() < -100);
            first.volume = 1;
            first.pan = -1;
            const splitter = player.output.context.createChannelSplitter(2);
            first.analyser.connect(splitter);
            const right = player.output.context.createAnalyser();
            splitter.connect(right, 1);
            const samples = new Float32Array(2048);
            await t.until(() => {
              right.getFloatTimeDomainData(samples);
              return samples.every((value) => Math.abs(value) < 1e-6) && first.level() > -70;
            });
            let wrong;
            try { first.volume = 2; } catch (error) { wrong = error.name; }
            await player.close();
            return {muted, wrong};
            """,
            {"job": job.job_id},
        )
        assert found["muted"][0] == -120
        assert all(level > -70 for level in found["muted"][1:])
        assert found["wrong"] == "RangeError"
        assert page.problems == []


async def test_a_loop_repeats_without_a_gap_and_without_the_server(
    server: Server, music: Path, browser: Browser
) -> None:
    job = (await server.client.submit(write_track(music / "track.wav", 4.0))).job
    job = await server.client.succeeded(job.job_id)
    async with tab(browser, server.app.http_port) as page:
        [track] = await page.run(
            OPENED
            + """
            player.loop = {start: 1, end: 1.5};
            player.seek(1);
            const tape = await t.record(player.output.context, [player.stems[0].analyser]);
            await player.play();
            const {context} = player.output;
            const end = context.currentTime + 1.8;
            await t.until(() => context.currentTime > end);
            const {currentTime, loop} = player;
            if (currentTime < loop.start || currentTime > loop.end) throw new Error("outside of the loop");
            player.pause();
            await t.until(() => t.loudest(tape, 0) === 0);
            await player.close();
            return [t.trackOf(tape, 0)];
            """,
            {"job": job.job_id},
        )
        assert page.problems == []
    sent = (await left_of(server, job, job.stem_set.stem_names[0]))[44100 : 44100 + 22050]
    place_of(np.concatenate([sent, sent, sent]), tape(track))


async def test_pause_keeps_the_position_and_a_short_seek_back_needs_no_server(
    server: Server, music: Path, browser: Browser
) -> None:
    job = (await server.client.submit(write_track(music / "track.wav", 4.0))).job
    await server.client.succeeded(job.job_id)
    async with tab(browser, server.app.http_port) as page:
        found = await page.run(
            OPENED
            + """
            await player.play();
            await t.until(() => player.currentTime > 0.5 && player.buffered.end === 4);
            player.pause();
            const paused = [player.state, player.currentTime];
            await t.until(() => player.stems.every((stem) => stem.level() === -120));
            const after = player.currentTime;
            player.seek(0.25);
            const range = player.buffered;
            await player.play();
            await t.until(() => player.currentTime > 0.3 && player.stems.every((stem) => stem.level() > -120));
            const bytes = player.bufferedBytes;
            await player.close();
            return {paused, after, range, bytes};
            """,
            {"job": job.job_id},
        )
        assert page.problems == []
    state, at = found["paused"]
    assert state == "paused"
    assert found["after"] == at
    assert found["range"] == {"start": 0, "end": 4}
    assert found["bytes"] >= 4 * 44100 * 4 * 4


async def test_the_window_bounds_what_is_held(server: Server, music: Path, browser: Browser) -> None:
    job = (await server.client.submit(write_track(music / "track.wav", 40.0))).job
    await server.client.succeeded(job.job_id)
    async with tab(browser, server.app.http_port) as page:
        held = await page.run(
            OPENED
            + """
            let most = 0;
            const end = [];
            for (const position of [0, 12, 37, 2, 25]) {
              player.seek(position);
              await t.until(() => player.buffered.end >= Math.min(40, position + 3));
              most = Math.max(most, player.bufferedBytes);
              end.push(player.buffered.end - position);
            }
            await player.close();
            return [most, end];
            """,
            {"job": job.job_id, "options": {"windowSeconds": 3}},
        )
        assert page.problems == []
    most, ends = held
    # 10 s behind, 3 s and a step ahead, and the blocks at both ends.
    assert most <= 4 * 4 * 44100 * 15
    assert all(end < 5 for end in ends)


async def test_errors_that_do_not_pass_are_told(server: Server, music: Path, browser: Browser) -> None:
    job = (await server.client.submit(write_track(music / "track.wav", 2.0))).job
    await server.client.succeeded(job.job_id)
    async with tab(browser, server.app.http_port) as page:
        found = await page.run(
            """
            const client = new m.MismoClient();
            const attempt = async (options) => {
              const player = new m.StemPlayer(client, options);
              try { await player.open(); } catch (error) {
                return [error.name, error.code, error.reason, error.retryable, player.state];
              } finally { await player.close(); }
            };
            return [
              await attempt({jobId: "nowhere"}),
              await attempt({jobId: arg, runId: "another"}),
              await attempt({jobId: arg, audioContext: new AudioContext({sampleRate: 48000})}),
            ];
            """,
            job.job_id,
        )
        assert found == [
            ["MismoError", 5, "JOB_NOT_FOUND", False, "failed"],
            ["MismoError", 9, "RUN_REPLACED", False, "failed"],
            ["MismoError", 9, "SAMPLE_RATE", False, "failed"],
        ]


async def test_a_job_that_is_deleted_while_it_plays_plays_what_is_there_and_fails(
    server: Server, music: Path, browser: Browser
) -> None:
    server.device.close()
    job = (
        await server.client.submit(write_track(music / "track.wav", 8.0), wanted=options(playhead=0.0))
    ).job
    async with tab(browser, server.app.http_port) as page:
        await page.run(
            OPENED
            + """
            window.failed = t.happened(player, "error");
            window.sound = player.play();
            """,
            {"job": job.job_id},
        )
        server.device.allow(3)
        await page.run("await sound; await t.until(() => player.stems[0].level() > -70);")
        await server.client.delete(job.job_id)
        server.device.open()
        reason = await page.run("return (await failed).error.reason")
        assert reason in ("JOB_NOT_READY", "JOB_NOT_FOUND")
        await page.run("await t.until(() => player.state === 'failed')")
        await page.run("await player.close()")

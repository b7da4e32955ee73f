"""What the client does by itself when the network or the server goes away: uploads, watches and players continue."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path

import numpy as np
from playwright.async_api import Browser

from tests.browser.client.audio import left_of, place_of, tape
from tests.browser.support import tab
from tests.service.conftest import Server, StartServer
from tests.support.calls import PATIENCE, until
from tests.support.gates import Gate
from tests.support.tcp_proxy import TcpProxy
from tests.support.tracks import track_bytes, write_track


async def test_a_player_goes_on_after_a_restart_of_the_server(
    start: StartServer, music: Path, browser: Browser
) -> None:
    first = await start()
    port = first.app.http_port
    first.device.close()
    job = (await first.client.submit(write_track(music / "track.wav", 2.5))).job
    async with tab(browser, port) as page:
        await page.run(
            """
            window.player = new m.StemPlayer(new m.MismoClient(), {jobId: arg});
            window.told = [];
            player.on("connection", ({state}) => told.push(state));
            await player.open();
            window.tape = await t.record(player.output.context, [player.stems[0].analyser]);
            window.sound = player.play();
            """,
            job.job_id,
        )
        first.device.allow(3)
        await page.run("await sound; await t.until(() => player.currentTime > 0.1);")
        lost = asyncio.create_task(
            page.run("await t.happened(player, 'connection', ({state}) => state === 'lost')")
        )
        first.device.open()
        await first.app.stop()
        await asyncio.wait_for(lost, PATIENCE)
        second = await start(http_port=port)
        await page.run("await t.happened(player, 'ended'); await t.until(() => t.loudest(tape, 0) === 0);")
        heard = tape(await page.run("return t.trackOf(tape, 0)"))
        assert await page.run("return [player.track.runId, told[0], told.at(-1)]") == [
            job.run_id,
            "lost",
            "open",
        ]
        await page.run("await player.close()")
        job = await second.client.succeeded(job.job_id)
        sent = await left_of(second, job, job.stem_set.stem_names[0])
    # It may have run out of audio and continued: the end is there in any case.
    place_of(sent[-11025:], np.append(heard, np.zeros(1024)))


async def test_an_upload_continues_over_a_cut_network(server: Server, browser: Browser) -> None:
    content = track_bytes(30.0)
    async with TcpProxy(server.app.http_port) as proxy, tab(browser, proxy.port) as page:
        proxy.hold_request_at = proxy.requested + len(content) // 2
        uploading = asyncio.create_task(
            page.run(
                """
                const bytes = Uint8Array.from(atob(arg), (letter) => letter.charCodeAt(0));
                window.told = [];
                return await m.uploadFile(new m.MismoClient(), new File([bytes], "track.wav"), {
                  onProgress: (done, total, state) => told.push([done, total, state]),
                });
                """,
                base64.b64encode(content).decode(),
            )
        )
        await asyncio.wait_for(proxy.held.wait(), PATIENCE)
        await proxy.cut()
        proxy.flowing.set()
        upload_id = await asyncio.wait_for(uploading, PATIENCE)
        told = await page.run("return told")
    status = await server.client.get_upload(upload_id)
    assert status.complete
    assert status.sha256 == hashlib.sha256(content).hexdigest()
    assert {total for _, total, _ in told} == {len(content)}
    waited = next(done for done, _, state in told if state == "waiting")
    after = [done for done, _, state in told if state == "sending" and done >= waited]
    # It went on, and did not begin again.
    assert proxy.requested < len(content) * 1.6
    assert after[-1] == len(content)


async def test_a_refused_upload_says_why_and_an_aborted_one_ends(
    start: StartServer, browser: Browser
) -> None:
    server = await start(max_upload_bytes=1 << 20)
    async with tab(browser, server.app.http_port) as page:
        assert await page.run(
            """
            const client = new m.MismoClient();
            const refused = await m.uploadFile(client, new Blob([new Uint8Array(2 << 20)])).catch((error) => error);
            const signal = AbortSignal.abort();
            const aborted = await m.uploadFile(client, new Blob(["x"]), {signal}).catch((error) => error);
            return [refused.reason, refused.retryable, aborted.reason, aborted.code];
            """
        ) == ["UPLOAD_TOO_LARGE", False, "CANCELLED", 1]


async def test_watches_continue_after_a_restart_with_what_changed_meanwhile(
    start: StartServer, music: Path, browser: Browser
) -> None:
    gate = Gate()
    first = await start(gate=gate)
    port = first.app.http_port
    kept = (await first.client.submit(write_track(music / "a.wav", seed=1), labels={"from": "page"})).job
    await first.client.succeeded(kept.job_id)
    gate.close()
    running = (await first.client.submit(write_track(music / "b.wav", seed=2), labels={"from": "page"})).job
    await first.client.submit(write_track(music / "c.wav", seed=3))
    async with tab(browser, port) as page:
        await page.run(
            """
            const client = new m.MismoClient();
            window.all = new m.JobsWatch(client, {labels: {from: "page"}});
            window.one = new m.JobWatch(client, {jobId: arg});
            window.ended = t.happened(one, "terminal");
            const caught = t.happened(all, "caughtup");
            const seen = t.happened(one, "snapshot");
            all.start();
            one.start();
            await caught;
            await seen;
            window.lost = t.happened(all, "connection", ({state}) => state === "lost");
            window.deleted = t.happened(all, "deleted");
            """,
            running.job_id,
        )
        assert set(await page.run("return [...all.jobs.keys()]")) == {kept.job_id, running.job_id}
        gate.open()
        await first.app.stop()
        await page.run("await lost")
        second = await start(http_port=port)
        await second.client.delete(kept.job_id)
        assert (await page.run("return (await deleted).jobId")) == kept.job_id
        assert (await page.run("return (await ended).job.state")) == 3
        frames = await page.run("return [...one.ready]")
        assert frames == [{"start": 0, "end": 88200}]
        assert await page.run("return [...all.jobs.keys()]") == [running.job_id]
        await page.run("all.close(); one.close();")
        await until(lambda: second.app.server.streams.count == 0)


async def test_a_waveform_grows_and_ends_whole(server: Server, music: Path, browser: Browser) -> None:
    server.device.close()
    job = (await server.client.submit(write_track(music / "track.wav"))).job
    async with tab(browser, server.app.http_port) as page:
        await page.run(
            """
            window.pixels = 0;
            window.info = undefined;
            window.whole = m.watchWaveform(new m.MismoClient(), arg, {
              framesPerPixel: 1024,
              onInfo: (info) => { window.info = info; },
              onRange: ({min, max}) => {
                if (min.some((low, at) => low > max[at])) throw new Error("the lowest is above the highest");
                pixels += min.length;
              },
            });
            await t.until(() => info !== undefined);
            """,
            job.job_id,
        )
        server.device.allow(2)
        await page.run("await t.until(() => pixels > 0)")
        assert await page.run("return pixels < 4 * info.totalPixels")
        server.device.open()
        await page.run("await whole")
        assert await page.run("return [pixels / info.totalPixels, info.stemNames.length]") == [4, 4]
        assert page.problems == []


async def test_calls_answer_with_messages_and_lost_servers_with_an_error(
    server: Server, music: Path, browser: Browser
) -> None:
    path = write_track(music / "track.wav")
    async with tab(browser, server.app.http_port) as page:
        job_id = await page.run(
            """
            const client = new m.MismoClient();
            const {models} = await client.system.listModels({});
            if (models[0].stemNames.length !== 4) throw new Error("no stems");
            const source = {location: {case: "path", value: arg}};
            const {job} = await client.jobs.submitJob({source});
            for await (const {event} of client.jobs.watchJob({jobId: job.jobId})) {
              if (event.case === "terminal") return event.value.job.jobId;
            }
            """,
            str(path),
        )
        assert (await server.client.get(job_id)).job_id == job_id
        assert await page.run(
            """
            const client = new m.MismoClient();
            const refused = await client.jobs.listJobs({pageSize: -1}).catch((error) => error);
            const away = await new m.MismoClient({baseUrl: "http://127.0.0.1:9"}).jobs.listJobs({}).catch(m.errorOf);
            return [refused.reason, refused.field, refused.code, away.reason, away.retryable];
            """
        ) == ["INVALID_FIELD", "page_size", 3, "NETWORK", True]

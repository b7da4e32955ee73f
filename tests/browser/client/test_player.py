"""The player in a real browser: what comes out of its audio graph is the server's audio."""

from __future__ import annotations

import base64

import numpy as np
import numpy.typing as npt
from pathlib import Path
from playwright.async_api import Browser

from tests.browser.support import tab
from tests.service.conftest import Server
from tests.support.tracks import write_track


def floats(text: str) -> npt.NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text), np.float32)


async def test_every_sample_is_heard_once(server: Server, music: Path, browser: Browser) -> None:
    job = (await server.client.submit(write_track(music / "track.wav", 3.0))).job
    job = await server.client.succeeded(job.job_id)
    async with tab(browser, server.app.http_port) as page:
        recorded = await page.run(
            """
            const player = new m.StemPlayer(new m.MismoClient(), {jobId: arg});
            await player.open();
            const tapes = await t.record(player.output.context, player.stems.map((stem) => stem.analyser));
            await player.play();
            await t.happened(player, "ended");
            await player.close();
            return tapes.map(t.leftOf);
            """,
            job.job_id,
        )
        assert page.problems == []
    for name, tape in zip(job.stem_set.stem_names, recorded, strict=True):
        sent = np.frombuffer(await server.client.read_stem(job.job_id, name), "<i2").reshape(-1, 2)[:, 0] / 32768
        heard = floats(tape)
        first = int(np.flatnonzero(heard)[0])
        print(name, len(sent), len(heard), first, np.abs(sent).max())
        for shift in range(-300, 300):
            b = first + shift
            if b < 0: continue
            d = np.abs(heard[b + 1000 : b + 5000] - sent[1000:5000]).max()
            if d < 1e-4: print(shift, d, np.abs(heard[b+1000:b+len(sent)-1000]-sent[1000:len(sent)-1000]).max())
    assert False

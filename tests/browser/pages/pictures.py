"""Makes the pictures of /status and /docs in the documentation: pytest tests/browser/pages/pictures.py, for a minute.

No part of the tests; MISMO_PICTURES=docs/images puts the pictures there.
"""

from __future__ import annotations

import asyncio
import io
import os
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.pages.test_status_page import FailingGate, submit, url_of
from tests.service.conftest import StartServer
from tests.service.gateway.test_gateway import client_of, ended, request_for
from tests.support.calls import PATIENCE
from tests.support.packages import optional
from tests.support.tracks import write_track

SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
THEMES = ("dark", "light")
MOST_BYTES = 600_000


@pytest.mark.timeout(300)
async def test_the_pictures_of_the_pages_are_small(
    start: StartServer, music: Path, browser: Browser, tmp_path: Path
) -> None:
    optional("PIL")
    image = optional("PIL.Image")
    folder = Path(os.environ.get("MISMO_PICTURES") or tmp_path / "pictures")
    folder.mkdir(exist_ok=True)
    gate = FailingGate()
    gate.failing = False
    server = await start(gate=gate, job_retries=0, disk_budget_bytes=50 << 30)
    async with client_of(server) as http:
        for number in range(3):
            await submit(server, music, f"track-{number}", 4.0 + number)
            await ended(http, f"track-{number}")
        gate.failing = True
        await submit(server, music, "night-drive", 2.0)
        await ended(http, "night-drive")
        gate.failing = False
        (music / "empty.wav").write_bytes((music / "track-0.wav").read_bytes()[:44])
        await http.post("/jobs", json=request_for(music / "empty.wav", track_hash="half-an-export"))
        await ended(http, "half-an-export")
        pages: dict[str, Page] = {}
        for size, (width, height) in SIZES.items():
            for theme in THEMES:
                context = await browser.new_context(
                    viewport={"width": width, "height": height},
                    color_scheme="dark" if theme == "dark" else "light",
                )
                for name, path in (("status", "/status"), ("docs", "/docs#get-jobs")):
                    page = pages[f"{name}-{theme}-{size}"] = await context.new_page()
                    await page.goto(url_of(server, path))
        gate.close()
        for number in range(3, 8):
            track = write_track(music / f"track-{number}.wav", 6.0 + number)
            await http.post("/jobs", json=request_for(track, track_hash=f"track-{number}"))
        for count in (9, 14, 4, 16, 11, 7):
            gate.allow(count)
            # The charts draw rates over time, so time must pass between two points.
            await asyncio.sleep(3.0)
        total = 0
        for name, page in pages.items():
            await page.bring_to_front()
            if name.startswith("status"):
                await expect(page.locator("#state-name")).to_have_text("Working", timeout=PATIENCE * 1000)
                await page.wait_for_timeout(3500)
            picture = image.open(io.BytesIO(await page.screenshot(full_page="status" in name)))
            # The pages have few colours, but their text is smoothed.
            small = picture.convert("RGB").quantize(256, image.Quantize.FASTOCTREE, dither=0)
            small.save(folder / f"{name}.png", optimize=True)
            total += (folder / f"{name}.png").stat().st_size
            assert picture.width == SIZES[name.rpartition("-")[2]][0]
        gate.open()
    assert total < MOST_BYTES

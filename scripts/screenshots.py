"""Draws the pictures of docs/page.md: runs the page in Chromium against a server with mismo_lite and the demo track.

python -m scripts.screenshots              # all of docs/images/page-*.png
python -m scripts.screenshots --only phone # those with "phone" in their name
"""

from __future__ import annotations

import argparse
import asyncio
import io
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, FilePayload, Page, async_playwright, expect

from mismo_grpc.app import App, build_app
from mismo_grpc.settings import Settings
from tests.support.gates import Gate, GatedDevice

ROOT = Path(__file__).resolve().parent.parent
TRACK = ROOT / "examples" / "demo_track.ogg"
IMAGES = ROOT / "docs" / "images"
SCREENS = {"desktop": ((1440, 900), 1), "phone": ((390, 844), 2)}
MOST_BYTES = 120_000
PATIENCE_MS = 120_000.0
FLAGS = ("--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required")
LETTER: FilePayload = {"name": "letter.mp3", "mimeType": "audio/mpeg", "buffer": b"Dear sir or madam, " * 100}


async def empty(page: Page, _: Gate) -> None:
    """Nothing was dropped yet."""
    await expect(page.get_by_test_id("library-empty")).to_contain_text("No tracks yet")


async def separating(page: Page, gate: Gate) -> None:
    """A click far ahead: the segment there is made next."""
    await _first_sound(page, gate, 2)
    await _seek(page, 0.62)
    gate.allow(2)
    await expect(page.get_by_test_id("track")).to_have_attribute("data-player", "playing")
    await page.get_by_test_id("play").click()
    await _ready(page, 40)


async def playing(page: Page, gate: Gate) -> None:
    """It plays while it is made, with a muted stem and a loop."""
    await _first_sound(page, gate, 4)
    await page.keyboard.press("4")
    await page.keyboard.press("l")
    await _ready(page, 55)
    await page.wait_for_function("() => document.querySelector('[data-testid=time]').textContent > '0:02'")


async def finished(page: Page, gate: Gate) -> None:
    """All is there."""
    gate.open()
    await _choose(page, TRACK)
    await expect(page.get_by_test_id("downloads")).to_be_visible(timeout=PATIENCE_MS)
    await page.get_by_test_id("play").click()
    await _seek(page, 0.4)
    await page.get_by_test_id("track-title").hover()


async def queue(page: Page, gate: Gate) -> None:
    """Several tracks, one of them before the others."""
    content = TRACK.read_bytes()
    names = ("Warm up", "Peak time", "Closing")
    tracks: list[FilePayload] = [
        {"name": f"{name}.ogg", "mimeType": "audio/ogg", "buffer": content} for name in names
    ]
    gate.open()
    await _choose(page, tracks[0])
    await expect(page.get_by_test_id("downloads")).to_be_visible(timeout=PATIENCE_MS)
    gate.close()
    await page.get_by_test_id("process-another").click()
    await page.get_by_test_id("option-depth-24").locator("..").click()
    await _choose(page, tracks[1], tracks[2])
    await expect(page.get_by_test_id("active-jobs").get_by_test_id("job")).to_have_count(2)


async def error(page: Page, gate: Gate) -> None:
    """Files that are no tracks."""
    gate.open()
    await _choose(page, LETTER, {**LETTER, "name": "empty.wav", "buffer": b""})
    await expect(page.get_by_test_id("upload")).to_have_attribute("data-state", "failed")


async def keys(page: Page, gate: Gate) -> None:
    """The help, over a finished track."""
    await finished(page, gate)
    await page.keyboard.press("?")
    await expect(page.get_by_test_id("help")).to_be_visible()


State = Callable[[Page, Gate], Awaitable[None]]
PICTURES: tuple[tuple[str, State, str, str], ...] = (
    ("empty", empty, "desktop", "dark"),
    ("empty", empty, "phone", "light"),
    ("separating", separating, "desktop", "light"),
    ("playing", playing, "desktop", "dark"),
    ("playing", playing, "phone", "dark"),
    ("finished", finished, "desktop", "light"),
    ("finished", finished, "phone", "light"),
    ("queue", queue, "desktop", "dark"),
    ("error", error, "phone", "dark"),
    ("help", keys, "desktop", "dark"),
)


async def main() -> None:
    """Draws the pictures."""
    parser = argparse.ArgumentParser(description="Draws docs/images/page-*.png.")
    parser.add_argument("--only", default="", help="only pictures whose name contains this")
    arguments = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        expect.set_options(timeout=PATIENCE_MS)
        for name, state, screen, theme in PICTURES:
            file = f"page-{name}-{screen}-{theme}.png"
            if arguments.only in file:
                size = await _draw(browser, IMAGES / file, state, screen, theme)
                print(f"{file}: {size} bytes", flush=True)
        await browser.close()


async def _draw(browser: Browser, path: Path, state: State, screen: str, theme: str) -> int:
    (width, height), scale = SCREENS[screen]
    gate = Gate()
    gate.close()
    async with _server(gate) as app:
        context = await browser.new_context(
            viewport={"width": width, "height": height},
            device_scale_factor=scale,
            color_scheme="dark" if theme == "dark" else "light",
        )
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        await page.goto(f"http://127.0.0.1:{app.http_port}/")
        await expect(page.get_by_test_id("choices-words")).not_to_be_empty()
        for analysis in await page.locator("#analyses input:enabled").all():
            await analysis.check()
        await state(page, gate)
        # What is drawn in steps is complete after two frames.
        await page.evaluate("() => new Promise((done) => setTimeout(() => requestAnimationFrame(done), 400))")
        await page.evaluate("scrollTo(0, 0)")
        picture = Image.open(io.BytesIO(await page.screenshot())).convert("RGB")
        content = io.BytesIO()
        picture.quantize(128, dither=Image.Dither.NONE).save(content, "png", optimize=True)
        gate.open()
        await context.close()
    size = len(content.getvalue())
    if size > MOST_BYTES:
        raise SystemExit(f"{path.name} has {size} bytes; at most {MOST_BYTES} fit into the documents")
    await asyncio.to_thread(path.write_bytes, content.getvalue())
    return size


@asynccontextmanager
async def _server(gate: Gate) -> AsyncGenerator[App]:
    with tempfile.TemporaryDirectory(prefix="mismo-pictures-") as folder:
        settings = Settings(
            grpc_port=0,
            http_port=0,
            jobs_dir=Path(folder, "jobs"),
            model="mismo_lite",
            device="cpu",
            hub=False,
            disk_reserve_bytes=0,
        )
        app = await build_app(settings, wrap_device=lambda device: GatedDevice(device, gate))
        await app.start()
        try:
            yield app
        finally:
            gate.open()
            await app.stop()


async def _choose(page: Page, *tracks: Path | FilePayload) -> None:
    files = list(tracks)
    await page.get_by_test_id("file-input").set_input_files(files)  # pyright: ignore[reportArgumentType] - mixed kinds


async def _first_sound(page: Page, gate: Gate, segments: int) -> None:
    await _choose(page, TRACK)
    gate.allow(segments)
    await expect(page.get_by_test_id("track")).to_have_attribute("data-player", "playing")


async def _seek(page: Page, fraction: float) -> None:
    box = await page.get_by_test_id("seek").bounding_box()
    assert box is not None
    await page.mouse.click(box["x"] + box["width"] * fraction, box["y"] + box["height"] / 2)


async def _ready(page: Page, percent: int) -> None:
    await page.wait_for_function(
        "(least) => document.querySelector('[data-testid=overview]').dataset.readyPercent >= least",
        arg=percent,
    )


if __name__ == "__main__":
    asyncio.run(main())

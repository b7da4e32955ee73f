"""What the page says in rare states: no stems, no sound allowed, a new run, a server that takes nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, WebSocketRoute, async_playwright, expect

from mismo.analysis.v1 import stage_pb2
from mismo_grpc.errors import MismoError
from mismo_grpc.gateway import overload
from mismo_grpc.jobs.job import Stage
from tests.browser.conftest import FLAGS
from tests.service.conftest import Server, StartServer
from tests.support.calls import PATIENCE, options
from tests.support.outages import FailingStage, away
from tests.support.tracks import track_bytes, write_track

EVERYTHING_IS_NEWS = (
    "window.problems = []; addEventListener('unhandledrejection', (e) => problems.push(String(e.reason)));"
)
DROP_WITHOUT_A_GESTURE = """
addEventListener("unhandledrejection", ({reason}) => console.log("unhandled", String(reason)));
const close = AudioContext.prototype.close;
AudioContext.prototype.close = async function () {
  await close.call(this);
  // Rejections that nothing handles are told after this task.
  setTimeout(() => console.log("closed"), 0);
};
addEventListener("DOMContentLoaded", () => {
  new MutationObserver((_, observer) => {
    const line = document.querySelector(".state-line")?.textContent ?? "";
    if (!line.includes("Press Play")) return;
    observer.disconnect();
    console.log(document.querySelector(".play").getAttribute("aria-label"), line);
    location.hash = "";
  }).observe(document.getElementById("track"), {subtree: true, childList: true, attributes: true, characterData: true});
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(TRACK)], "track.wav"));
  document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true}));
});
"""


@asynccontextmanager
async def opened(browser: Browser, server: Server, address: str = "") -> AsyncGenerator[Page]:
    """The page of a server in a profile of its own."""
    context = await browser.new_context()
    try:
        page = await context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        await page.add_init_script(EVERYTHING_IS_NEWS)
        await page.goto(f"http://127.0.0.1:{server.app.http_port}/{address}")
        yield page
        assert await page.evaluate("problems") == []
    finally:
        await context.close()


@pytest.fixture(autouse=True)
def patience() -> None:
    """Of all `expect`."""
    expect.set_options(timeout=PATIENCE * 1000)


async def test_a_job_without_stems_is_an_analysis_and_has_no_player(
    server: Server, music: Path, browser: Browser
) -> None:
    server.hold_decoders()
    wanted = options(stages=[stage_pb2.STAGE_LOUDNESS])
    job = (await server.client.submit(write_track(music / "track.wav", 1.0), wanted=wanted)).job
    async with opened(browser, server, f"#job={job.job_id}") as page:
        line, track = page.get_by_test_id("state-line"), page.get_by_test_id("track")
        await expect(line).to_have_text("Analysing")
        await expect(page.get_by_test_id("facts")).to_contain_text("Analysing")
        await expect(track).to_have_attribute("data-stems", "none")
        server.release_decoders()
        await expect(line).to_contain_text("The analysis is ready")
        await expect(track).to_have_attribute("data-player", "none")
        await expect(page.get_by_test_id("notices").locator(".notice")).to_have_count(0)


async def test_without_a_gesture_the_page_asks_for_one_and_leaving_the_track_is_no_error(
    server: Server,
) -> None:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    flags = [flag for flag in FLAGS if "autoplay" not in flag]
    flags.append("--autoplay-policy=document-user-activation-required")
    said: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=flags)
        try:
            page = await browser.new_page()

            def on_console(message: ConsoleMessage) -> None:
                said.append(message.text)

            page.on("console", on_console)
            page.on("pageerror", lambda error: said.append(f"unhandled {error}"))
            # A script that Playwright runs in the page counts as a gesture of the person: these do not.
            drop = DROP_WITHOUT_A_GESTURE.replace("TRACK", str(list(track_bytes(1.0))))
            await page.add_init_script(drop)
            async with page.expect_console_message(
                lambda message: message.text == "closed", timeout=PATIENCE * 1000
            ):
                await page.goto(f"http://127.0.0.1:{server.app.http_port}/")
        finally:
            await browser.close()
    assert "Play Ready. Press Play (or the space bar) to listen." in said
    assert [text for text in said if text.startswith("unhandled")] == []


async def test_a_failed_job_is_tried_again_from_the_page_without_news_of_its_new_run(
    start: StartServer, music: Path, browser: Browser
) -> None:
    server = await start(job_retries=0)
    works = server.app.runner._works
    errors: list[MismoError] = [away()]
    works[Stage.STEMS] = FailingStage(works[Stage.STEMS], lambda: errors.pop() if errors else None)
    job = (await server.client.submit(write_track(music / "track.wav", 1.0), labels={"client": "web"})).job
    await server.client.ended(job.job_id)
    answered = asyncio.Event()

    def hold(socket: WebSocketRoute) -> None:
        """The list hears of the new run before the call that asked for it has its answer."""
        far = socket.connect_to_server()

        async def on_message(message: str | bytes) -> None:
            await answered.wait()
            socket.send(message)

        async def on_close(code: int | None, reason: str | None) -> None:
            await answered.wait()
            await socket.close(code=code, reason=reason)

        far.on_message(on_message)
        far.on_close(on_close)

    async with opened(browser, server) as page:
        await page.route_web_socket("**/ReplayJob", hold)
        await page.get_by_test_id("scope-all").check()
        await page.get_by_test_id("job-open").click()
        await page.get_by_test_id("replay").click()
        await expect(page.get_by_test_id("job")).to_have_attribute("data-state", "succeeded")
        await expect(page.locator('[data-key="gone"]')).to_have_count(0)
        answered.set()
        await expect(page.get_by_test_id("facts")).to_contain_text("Ready")
        await expect(page.get_by_test_id("state-line")).to_have_text("All stems are ready.")
        await expect(page.locator('[data-key="gone"]')).to_have_count(0)
    assert (await server.client.get(job.job_id)).run_id != job.run_id


async def test_an_upload_that_waits_for_room_says_so_and_not_that_the_network_is_away(
    start: StartServer, browser: Browser
) -> None:
    server = await start(disk_reserve_bytes=1 << 60)
    async with opened(browser, server) as page:
        file = {"name": "track.wav", "mimeType": "audio/wav", "buffer": track_bytes(1.0)}
        await page.get_by_test_id("file-input").set_input_files(file)  # pyright: ignore[reportArgumentType]
        detail = page.get_by_test_id("upload-detail")
        await expect(detail).to_contain_text("goes on by itself once the server takes it")
        await expect(detail).to_contain_text("Delete jobs that you do not need any more")


async def test_the_banner_tells_that_the_server_answers_and_opens_no_connection(
    start: StartServer, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overload, "MAX_WEBSOCKETS", 0)
    server = await start()
    async with opened(browser, server) as page:
        await expect(page.get_by_test_id("banner")).to_contain_text("opens no WebSocket")


async def test_the_curtain_of_a_drag_that_ends_without_a_word_goes_with_the_next_move(
    server: Server, music: Path, browser: Browser
) -> None:
    async with opened(browser, server) as page:
        devtools = await page.context.new_cdp_session(page)
        data = {"items": [], "files": [str(write_track(music / "track.wav", 0.1))], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver"):
            await devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})
        curtain = page.locator("#drop-curtain")
        await expect(curtain).to_be_visible()
        # Chromium tells nobody of this, as when the element under the pointer is taken out during the drag.
        await devtools.send(
            "Input.dispatchDragEvent", {"type": "dragCancel", "x": 300, "y": 300, "data": data}
        )
        await page.mouse.move(320, 320)
        await expect(curtain).to_be_hidden()

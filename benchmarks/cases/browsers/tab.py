"""A tab of a real Chromium with the server's page, and what comes out of its audio graph."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from playwright.async_api import Browser, CDPSession, Page, Route, async_playwright

from benchmarks.commands import CommandError

PATIENCE_SECONDS = 120.0
FLAGS = (
    *(
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-dev-shm-usage",
    ),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--autoplay-policy=no-user-gesture-required",
)

TAP = """
// On the audio thread, so that a page that is held up loses no sample here.
registerProcessor("tap", class extends AudioWorkletProcessor {
  sounding = false; frames = 0; silent = 0;
  process([[left, right = left]]) {
    if (!left) return true;
    for (let i = 0; i < left.length; i++) {
      const sounds = left[i] !== 0 || right[i] !== 0;
      if (sounds && !this.sounding) {
        this.sounding = true;
        this.port.postMessage({ first: true });
      }
      if (!this.sounding) continue;
      this.frames++;
      if (!sounds) this.silent++;
      else if (this.silent) {
        if (this.silent >= 441) this.port.postMessage({ gap: this.silent });
        this.silent = 0;
      }
    }
    if (this.sounding && currentFrame % 4096 === 0) this.port.postMessage({ frames: this.frames });
    return true;
  }
});
"""
LISTEN = """
(() => {
  // All that reaches the speakers is also counted here: when the first sound came, and each gap after it.
  const heard = (window.heard = { chosenAt: 0, firstAt: 0, frames: 0, gaps: [] });
  addEventListener("change", (event) => {
    if (event.target.type === "file") heard.chosenAt = performance.now();
  }, true);
  const connect = AudioNode.prototype.connect;
  const taps = new WeakMap();
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode) {
      if (!taps.has(target)) taps.set(target, tap(target.context));
      void taps.get(target).then((node) => connect.call(this, node));
    }
    return connect.call(this, target, ...rest);
  };
  async function tap(context) {
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([TAP], { type: "text/javascript" })));
    const node = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => {
      if (data.first) heard.firstAt = performance.now();
      if (data.gap) heard.gaps.push(data.gap);
      if (data.frames) heard.frames = data.frames;
    };
    return node;
  }
})();
""".replace("TAP]", f"{json.dumps(TAP)}]")


@dataclass(frozen=True)
class Heard:
    """What came out of the audio graph.

    `first_seconds` is the time from the choice of the file to the first sound. `gaps` are the silences of 10 ms or more
    after it, in frames.
    """

    first_seconds: float
    frames: int
    gaps: list[int]


class Tab:
    """One tab that shows the page."""

    def __init__(self, page: Page, session: CDPSession, browser_session: CDPSession) -> None:
        self.page = page
        self._session = session
        self._browser_session = browser_session
        self.loaded_bytes = 0
        """Bytes of all responses so far, as they came over the network."""

    def on_finished(self, event: dict[str, Any]) -> None:
        """Counts a response (CDP's Network.loadingFinished)."""
        self.loaded_bytes += int(event["encodedDataLength"])

    async def choose(self, track: Path) -> None:
        """Gives the page a file, as its file button does."""
        await self.page.get_by_test_id("file-input").set_input_files(track)

    async def first_sound(self) -> Heard:
        """Waits for the first sound; raises TimeoutError."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            # The page itself notes the time; playwright's own wait would need eval, which the page's policy forbids.
            while not (await self.page.evaluate("heard.firstAt")):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return await self.heard()

    async def heard(self) -> Heard:
        """What has come out so far."""
        found = await self.page.evaluate("heard")
        seconds = (found["firstAt"] - found["chosenAt"]) / 1000
        return Heard(seconds, found["frames"], list(found["gaps"]))

    async def memory_bytes(self) -> int:
        """The memory of the tab's process that it shares with no other process (USS), in bytes."""
        found: dict[str, Any] = await self._browser_session.send("SystemInfo.getProcessInfo")  # pyright: ignore[reportUnknownVariableType]
        renderers = [each["id"] for each in found["processInfo"] if each["type"] == "renderer"]
        return max(psutil.Process(process).memory_full_info().uss for process in renderers)


@asynccontextmanager
async def open_tab(url: str) -> AsyncGenerator[Tab]:
    """Starts Chromium and opens the page; raises CommandError if there is no Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise CommandError("there is no Chromium on the PATH: apt-get install chromium")
    async with async_playwright() as playwright:
        browser: Browser = await playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        try:
            page = await browser.new_page(viewport={"width": 1440, "height": 900})
            # A document that the route changes has no network: Chromium asks before it may connect to this one.
            await page.context.grant_permissions(["local-network-access"])
            await page.route(f"{url}/", _allow_blobs)
            await page.add_init_script(LISTEN)
            session = await page.context.new_cdp_session(page)
            tab = Tab(page, session, await browser.new_browser_cdp_session())
            await session.send("Network.enable")
            session.on("Network.loadingFinished", tab.on_finished)
            await page.goto(url)
            await page.get_by_test_id("choose").wait_for()
            yield tab
        finally:
            await browser.close()


async def _allow_blobs(route: Route) -> None:
    """The tap is a script from memory, which the page's policy does not let pass."""
    response = await route.fetch()
    policy = response.headers["content-security-policy"].replace(
        "script-src 'self'", "script-src 'self' blob:"
    )
    await route.fulfill(response=response, headers={**response.headers, "content-security-policy": policy})

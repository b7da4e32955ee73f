"""The page as a person uses it, and what can be heard of it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from playwright.async_api import ConsoleMessage, FilePayload, Locator, Page, Route, expect

from tests.support.calls import PATIENCE

EARS = Path(__file__).parent / "ears.js"
RECORDER = Path(__file__).parent / "recorder.js"
DOCUMENT = re.compile(r"^http://127\.0\.0\.1:\d+/(\?.*)?$")

AUDIBLE_DB = -75.0
SILENT_DB = -110.0
STEMS = ("drums", "bass", "other", "vocals")
NETWORK = r"WebSocket connection to|net::ERR_"
"""What browsers write to the console by themselves when the network is away."""


class Desk:
    """A tab with the page, whose sound is recorded and whose complaints are collected."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.track = self["track"]
        self.expected: list[str] = []
        """Patterns of what the console may say in this test."""
        self._said: list[str] = []
        page.set_default_timeout(PATIENCE * 1000)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self._said.append(str(error)))

    @property
    def complaints(self) -> list[str]:
        """Errors, warnings and violations of the security policy that nobody expected."""
        return [text for text in self._said if not any(re.search(each, text) for each in self.expected)]

    async def open(self, port: int, path: str = "/") -> None:
        """Goes to the page and waits until it has started."""
        await self.page.goto(f"http://127.0.0.1:{port}{path}")
        await self.started()

    async def started(self) -> None:
        """Until the page works and knows what the server offers."""
        await expect(self.page.locator("body[data-started]")).to_be_attached()
        await expect(self["choices-words"]).not_to_be_empty()

    def __getitem__(self, testid: str) -> Locator:
        return self.page.get_by_test_id(testid)

    async def choose(self, *tracks: Path | FilePayload) -> None:
        """Chooses files as with the button."""
        files: Any = list(tracks)
        await self["file-input"].set_input_files(files)

    def job(self, title: str) -> Locator:
        """The row of a job in the list."""
        return self["job"].filter(has=self.page.get_by_text(title, exact=True))

    async def job_id(self, title: str) -> str:
        """The id of a job in the list."""
        return await self.job(title).get_attribute("data-job") or ""

    def notice(self, *kinds: str) -> Locator:
        """The messages of a kind."""
        found = self[f"notice-{kinds[0]}"]
        for kind in kinds[1:]:
            found = found.or_(self[f"notice-{kind}"])
        return found

    async def player(self, state: str) -> None:
        """Until the player is in a state."""
        await expect(self.track).to_have_attribute("data-player", state)

    async def seek(self, fraction: float) -> None:
        """Clicks the whole track."""
        box = await self["seek"].bounding_box()
        assert box is not None
        await self.page.mouse.click(box["x"] + box["width"] * fraction, box["y"] + box["height"] / 2)

    async def download(self, testid: str) -> tuple[str, bytes]:
        """Downloads a file: its name and content."""
        async with self.page.expect_download() as started:
            await self[testid].click()
        download = await started.value
        return download.suggested_filename, Path(await download.path()).read_bytes()

    async def ears(self) -> None:
        """Until all that the player will play is recorded."""
        await self.until("() => ears.ready()")

    async def mark(self) -> int:
        """The present place on the tapes."""
        return await self.page.evaluate("ears.blocks()")

    async def heard(self, after: int = 0, name: str = "mix") -> None:
        """Until a stem or the mix was heard after a place."""
        await self.until(
            "([name, after, least]) => ears.levels(name, after).some((level) => level > least)",
            [name, after, AUDIBLE_DB],
        )

    async def silent(self, name: str = "mix") -> None:
        """Until nothing is heard of a stem or the mix."""
        await self.until("([name, most]) => ears.level(name) < most", [name, SILENT_DB])

    async def levels(self) -> dict[str, float]:
        """What is heard of each stem now, in dBFS."""
        return {stem: await self.page.evaluate("(stem) => ears.level(stem)", stem) for stem in STEMS}

    async def tape(self, name: str = "mix") -> npt.NDArray[np.int16]:
        """All that was heard of the left channel since the player was opened, in 16 bit."""
        text = await self.page.evaluate("(name) => ears.samples(name)", name)
        return np.round(np.frombuffer(base64.b64decode(text), np.float32) * 32768).astype(np.int16)

    async def seconds(self) -> float:
        """The position that the page shows."""
        minutes, rest = (await self["time"].inner_text()).split(":")
        return int(minutes) * 60 + float(rest)

    async def until(self, function: str, argument: Any = None) -> None:
        """Waits until a function of the page is true, also in a hidden tab."""
        await self.page.wait_for_function(function, arg=argument, polling=50)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._said.append(message.text)


async def with_ears(page: Page) -> None:
    """Records what a page will play. The recorder is a script from memory, which the page's policy must let pass."""

    async def document(route: Route) -> None:
        response = await route.fetch()
        policy = response.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        policy = policy.replace("script-src 'self';", "script-src 'self' blob:;")
        await route.fulfill(
            response=response, headers={**response.headers, "content-security-policy": policy}
        )

    await page.context.grant_permissions(["local-network-access"])
    await page.route(DOCUMENT, document)
    await page.add_init_script(
        f"window.recorderSource = {json.dumps(RECORDER.read_text('utf-8'))};\n{EARS.read_text('utf-8')}"
    )


def played(tape: npt.NDArray[np.int16], expected: npt.NDArray[np.int16]) -> list[tuple[int, int]]:
    """The stretches of `expected` that are on a tape, without a gap in each, in the order in which they were heard.

    A stretch begins and ends with a fade, which is not exact: it is told 512 frames too short at both ends at most.
    """
    stretches: list[tuple[int, int, int]] = []
    step, at = 128, 0
    for frame in range(0, len(expected) - step + 1, step):
        probe = expected[frame : frame + step]
        follows = stretches[-1][2] + frame - stretches[-1][1] if stretches else 0
        if stretches and np.array_equal(tape[follows : follows + step], probe):
            stretches[-1] = (stretches[-1][0], frame + step, follows + step)
            at = follows + step
        elif np.ptp(probe) > 2 and (place := place_of(tape, probe, at)) >= 0:
            stretches.append((frame, frame + step, place + step))
            at = place + step
    return [(start, end) for start, end, _ in stretches]


def place_of(tape: npt.NDArray[np.int16], probe: npt.NDArray[np.int16], after: int = 0) -> int:
    """The first frame from `after` on at which a tape has the samples of a probe; -1 if there is none."""
    places = np.arange(after, max(after, len(tape) - len(probe) + 1))
    for offset, value in enumerate(probe):
        places = places[tape[places + offset] == value]
    return int(places[0]) if len(places) else -1


def whole(stretches: Sequence[tuple[int, int]], frames: int) -> bool:
    """Whether stretches are all of a track, but for the fades at their ends."""
    edges = [(0, 0), *stretches, (frames, frames)]
    return all(after[0] - before[1] <= 1024 for before, after in pairwise(edges))

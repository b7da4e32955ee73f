"""The page for people who see, hear or move differently: without a mouse, with a screen reader, on every screen."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import FileChooser, FilePayload, expect

from tests.browser.page.conftest import OpenDesk
from tests.browser.page.desk import STEMS, Desk
from tests.browser.pages.conftest import violations_of
from tests.service.conftest import Server, StartServer
from tests.support.calls import PATIENCE, RUNNING
from tests.support.tcp_proxy import TcpProxy
from tests.support.tracks import write_track

LETTER: FilePayload = {"name": "letter.mp3", "mimeType": "audio/mpeg", "buffer": b"Dear sir or madam, " * 100}
SCREENS = {"phone": (390, 844), "desktop": (1440, 900)}
CONTROLS = {
    *("button", "checkbox", "combobox", "link", "radio", "slider", "spinbutton", "textbox"),
    *("progressbar", "ProgressIndicator", "dialog", "group", "region", "img", "image"),
}


async def controls_of(desk: Desk) -> list[dict[str, str]]:
    """All that a screen reader offers to use or names, from the accessibility tree of the browser."""
    session = await desk.page.context.new_cdp_session(desk.page)
    tree: dict[str, Any] = await session.send("Accessibility.getFullAXTree")
    await session.detach()
    found: list[dict[str, str]] = []
    for node in tree["nodes"]:
        role = node.get("role", {}).get("value", "")
        if node.get("ignored") or role not in CONTROLS:
            continue
        values = {each["name"]: str(each["value"].get("value", "")) for each in node.get("properties", [])}
        text = str(node.get("value", {}).get("value", ""))
        found.append({"role": role, "name": node.get("name", {}).get("value", ""), "value": text, **values})
    return found


@pytest.mark.parametrize(
    ("screen", "theme"),
    [
        ("phone", "light"),
        pytest.param("phone", "dark", marks=pytest.mark.heavy),
        pytest.param("desktop", "light", marks=pytest.mark.heavy),
        pytest.param("desktop", "dark", marks=pytest.mark.heavy),
    ],
)
async def test_no_state_of_the_page_keeps_anyone_out(
    start: StartServer, tmp_path: Path, new_desk: OpenDesk, axe: str, screen: str, theme: str
) -> None:
    width, height = SCREENS[screen]
    desk = await new_desk(viewport={"width": width, "height": height}, color_scheme=theme)
    server = await start()
    found: dict[str, list[str]] = {}

    async def look(state: str) -> None:
        found[state] = await violations_of(desk.page, axe)
        if not await desk.page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
            found[state].append("scrolls sideways")
        found[state] += [
            f"without a name: {control}" for control in await controls_of(desk) if _needs_name(control)
        ]

    async with TcpProxy(server.app.http_port) as proxy:
        await desk.open(proxy.port)
        await look("empty")
        await desk["option-stems-some"].check()
        await desk["model-missing"].locator("summary").click()
        await look("choosing")
        await desk["option-stems-all"].check()
        server.device.close()
        track = write_track(tmp_path / "a_track.wav", 8.0)
        proxy.hold_request_at = proxy.requested + track.stat().st_size // 2
        await desk.choose(track)
        await proxy.held.wait()
        await expect(desk["upload"]).to_have_attribute("data-state", "sending")
        await look("uploading")
        proxy.flowing.set()
        await server.device.someone_waits()
        await desk.player("buffering")
        await look("separating")
        server.device.allow(8)
        await desk.ears()
        await desk.heard()
        await desk.page.keyboard.press("l")
        await look("playing")
        server.device.open()
        await expect(desk["downloads"]).to_be_visible()
        await look("finished")
        await desk["help-open"].click()
        await expect(desk["help"]).to_be_visible()
        await look("help")
        await desk["help-close"].click()
        await desk["delete"].click()
        await expect(desk["confirm"]).to_be_visible()
        await look("question")
        await desk["confirm-no"].click()
        await desk.choose(LETTER, {**LETTER, "name": "empty.mp3", "buffer": b""})
        await expect(desk["upload"]).to_have_attribute("data-state", "failed")
        await expect(desk.notice("bad").first).to_be_visible()
        await look("error")
        await desk.page.reload()
        await desk.started()
        await desk["process-another"].click()
        await expect(desk["ended-jobs"].get_by_test_id("job")).to_have_count(1)
        await look("recent")
    assert {state: problems for state, problems in found.items() if problems} == {}
    assert len(found) == 10


def _needs_name(control: dict[str, str]) -> bool:
    # A group without a name is one of the layout.
    return not control["name"].strip() and control["role"] != "group"


async def test_all_of_it_works_without_a_mouse(server: Server, tmp_path: Path, desk: Desk) -> None:
    page, keys = desk.page, desk.page.keyboard
    # Registered early: Chromium is told of it without an answer, and must know it before the key is pressed.
    choosers: asyncio.Queue[FileChooser] = asyncio.Queue()
    page.on("filechooser", choosers.put_nowait)
    await desk.open(server.app.http_port)
    server.device.close()
    # The first stop leads past the navigation.
    await keys.press("Tab")
    await expect(page.locator(".skip-link")).to_be_focused()
    await keys.press("Enter")
    await _tab_to(desk, "choose")
    await keys.press("Enter")
    chooser = await asyncio.wait_for(choosers.get(), PATIENCE)
    await chooser.set_files(write_track(tmp_path / "by_hand.wav", 12.0))
    await expect(desk["track-title"]).to_be_focused()
    await server.device.someone_waits()
    server.device.allow(10)
    await desk.ears()
    await desk.heard()
    job_id = await desk.job_id("by hand")
    # Play and pause, seek, mute, solo.
    await keys.press("Space")
    await desk.player("paused")
    await desk.silent()
    await keys.press("End")
    await keys.press("Home")
    await expect(desk["time"]).to_have_text("0:00.0")
    await keys.press("1")
    await expect(desk["mute-drums"]).to_have_attribute("aria-pressed", "true")
    await keys.press("1")
    await keys.press("Shift+Digit2")
    await expect(desk["solo-bass"]).to_have_attribute("aria-pressed", "true")
    await keys.press("Shift+Digit2")
    await keys.press("k")
    await desk.heard(await desk.mark())
    await keys.press("k")
    await desk.player("paused")
    # A seek by keyboard separates there next.
    await keys.press("Home")
    await keys.press("ArrowRight")
    await keys.press("ArrowRight")
    await expect(desk["time"]).to_have_text("0:10.0")
    server.device.allow(3)
    await desk.until("() => document.querySelector('[data-testid=overview]').dataset.readyPercent > 38")
    ready = (await server.client.get(job_id)).stem_set.ready
    assert any(each.start_frame <= 10 * 44_100 < each.end_frame for each in ready)
    assert (await server.client.get(job_id)).state == RUNNING
    # Sliders tell their value in words.
    await desk["volume-vocals"].focus()
    await keys.press("ArrowLeft")
    await expect(desk["volume-vocals"]).to_have_attribute("aria-valuetext", "99 percent")
    await expect(desk["time"]).to_have_text("0:10.0")
    await desk["pan-vocals"].focus()
    await keys.press("ArrowLeft")
    await expect(desk["pan-vocals"]).to_have_attribute("aria-valuetext", "1 percent left")
    # The help, and back to where the focus was.
    await keys.press("?")
    await expect(desk["help"]).to_be_visible()
    await keys.press("Escape")
    await expect(desk["help"]).to_be_hidden()
    await expect(desk["pan-vocals"]).to_be_focused()
    server.device.open()
    await expect(desk["downloads"]).to_be_visible()
    await _tab_to(desk, "download-vocals")
    async with page.expect_download() as started:
        await keys.press("Enter")
    assert (await started.value).suggested_filename.endswith("vocals.wav")
    await _tab_to(desk, "delete")
    await keys.press("Enter")
    # The safe answer has the focus.
    await expect(desk["confirm-no"]).to_be_focused()
    await keys.press("Escape")
    await expect(desk["delete"]).to_be_focused()
    await keys.press("Enter")
    await keys.press("Tab")
    await expect(desk["confirm-yes"]).to_be_focused()
    await keys.press("Enter")
    await expect(desk["home"]).to_be_visible()
    await expect(desk["library-empty"]).to_be_visible()


async def test_a_screen_reader_hears_what_each_control_is_and_what_happens(
    server: Server, tmp_path: Path, desk: Desk
) -> None:
    await desk.open(server.app.http_port)
    server.device.close()
    await desk.choose(write_track(tmp_path / "spoken.wav", 8.0))
    await server.device.someone_waits()
    server.device.allow(4)
    await desk.ears()
    await desk.heard()
    await desk.player("buffering")
    controls = await controls_of(desk)
    names = {control["name"] for control in controls}
    assert {"Position in the track", "Play", "Pause"} & names >= {"Position in the track"}
    for stem in ("Drums", "Bass", "Other", "Vocals"):
        assert {f"Mute {stem}", f"Solo {stem}", f"Volume of {stem}", f"Pan of {stem}"} <= names
    sliders = {control["name"]: control for control in controls if control["role"] == "slider"}
    assert len(sliders) == 2 * len(STEMS) + 2
    await expect(desk["seek"]).to_have_attribute("aria-valuetext", _position(" of 8 seconds"))
    await expect(desk["volume-drums"]).to_have_attribute("aria-valuetext", "100 percent")
    await expect(desk["pan-drums"]).to_have_attribute("aria-valuetext", "centre")
    # It says that it waits, and that it is done.
    await expect(desk["announcer"]).to_contain_text("Separating around")
    server.device.open()
    await expect(desk["announcer"]).to_have_text("All stems are ready.")
    await expect(desk.page).to_have_title("spoken · mismo")


def _position(ending: str) -> re.Pattern[str]:
    return re.compile(f"^[0-9]+ seconds?{ending}$")


async def _tab_to(desk: Desk, testid: str) -> None:
    """Presses Tab until a control has the focus; fails if the keyboard never gets there."""
    for _ in range(120):
        if await desk[testid].evaluate("(each) => each === document.activeElement"):
            return
        await desk.page.keyboard.press("Tab")
    raise AssertionError(f"the keyboard does not reach {testid}")

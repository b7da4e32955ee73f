"""The files of a finished job, as a browser saves them and others read them; and what the page weighs."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.browser.page.desk import STEMS, Desk
from tests.service.conftest import Server
from tests.support.calls import PATIENCE
from tests.support.tracks import write_track

MOST_BYTES = 300_000


async def probed(path: Path) -> dict[str, Any]:
    """What ffprobe says of a file."""
    program = shutil.which("ffprobe")
    if program is None:
        pytest.skip("ffprobe is not installed: apt-get install ffmpeg")
    command = [program, "-v", "error", "-show_streams", "-show_format", "-of", "json", str(path)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, complaints = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (process.returncode, complaints) == (0, b"")
    return json.loads(out)


async def test_every_format_arrives_and_is_read_by_others(server: Server, tmp_path: Path, desk: Desk) -> None:
    await desk.open(server.app.http_port)
    await desk.choose(write_track(tmp_path / "track.wav", 2.0))
    await expect(desk["downloads"]).to_be_visible()
    job_id = await desk.job_id("track")
    for name, codec in {"wav": "pcm_s16le", "flac": "flac", "mp3": "mp3"}.items():
        await desk[f"download-format-{name}"].check()
        saved, content = await desk.download("download-vocals")
        assert saved.endswith(f"vocals.{name}")
        path = tmp_path / saved
        path.write_bytes(content)
        found = await probed(path)
        (stream,) = found["streams"]
        assert (stream["codec_name"], stream["channels"]) == (codec, 2)
        assert float(stream["duration"]) == pytest.approx(2.0, abs=0.06)
        if name != "wav":
            assert content == await server.client.artifact(job_id, f"vocals.{name}")
        _, archive = await desk.download("download-all")
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            assert opened.testzip() is None
            assert set(opened.namelist()) == {f"{stem}.{name}" for stem in STEMS}
            assert opened.read(f"vocals.{name}") == content
    await desk["download-format-stem"].check()
    await expect(desk["downloads"].locator("a")).to_have_count(1)
    saved, content = await desk.download("download-all")
    assert saved.endswith(".stem.mp4")
    path = tmp_path / saved
    path.write_bytes(content)
    found = await probed(path)
    audio = [stream for stream in found["streams"] if stream["codec_type"] == "audio"]
    assert [stream["codec_name"] for stream in audio] == ["aac"] * 5
    # The choice is remembered.
    await desk.page.reload()
    await expect(desk["download-format-stem"]).to_be_checked()


async def test_a_file_that_cannot_be_made_is_told_and_the_page_stays(
    server: Server, tmp_path: Path, desk: Desk
) -> None:
    desk.expected.append("the server responded with a status of 404")
    await desk.open(server.app.http_port)
    await desk.choose(write_track(tmp_path / "track.wav", 1.0))
    await expect(desk["downloads"]).to_be_visible()
    url = desk.page.url
    await server.idle()
    (server.stems(await desk.job_id("track")) / "bass.wav").unlink()
    await desk["download-bass"].click()
    await expect(desk.notice("bad")).to_contain_text("Bass could not be downloaded")
    assert desk.page.url == url
    await expect(desk["download-bass"]).not_to_have_attribute("aria-busy", "true")


async def test_the_page_is_light_and_comes_from_this_server_alone(server: Server, browser: Browser) -> None:
    context = await browser.new_context()
    try:
        page = await context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        cdp = await context.new_cdp_session(page)
        await cdp.send("Network.enable")
        urls: dict[str, str] = {}
        weights: dict[str, float] = {}
        cdp.on(
            "Network.requestWillBeSent",
            lambda event: urls.update({event["requestId"]: event["request"]["url"]}),
        )
        cdp.on(
            "Network.loadingFinished",
            lambda event: weights.update({event["requestId"]: event["encodedDataLength"]}),
        )
        response = await page.goto(f"http://127.0.0.1:{server.app.http_port}/")
        assert response is not None
        await expect(page.get_by_test_id("choices-words")).not_to_be_empty()
        await page.wait_for_load_state("networkidle")
        weight = {urls[each]: weights[each] for each in weights}
        assert any(url.endswith("mismo-client.js") for url in weight)
        assert 10_000 < sum(weight.values()) <= MOST_BYTES, weight
        assert all(url.startswith(f"http://127.0.0.1:{server.app.http_port}/") for url in urls.values())
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        # Without this test's own doing, nothing inline and nothing from memory runs.
        assert "script-src 'self';" in policy
        assert complaints == []
    finally:
        await context.close()

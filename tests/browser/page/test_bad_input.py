"""Files that are no tracks, names that are no names, pages that have no business here."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from playwright.async_api import Browser, FilePayload, expect

from tests.browser.page.desk import Desk
from tests.service.conftest import Server, StartServer
from tests.support.tracks import track_bytes, write_silent_film, write_track

MARKUP = "<img src=x onerror=document.body.remove()>.mp3"


def file(name: str, content: bytes, kind: str = "audio/mpeg") -> FilePayload:
    return {"name": name, "mimeType": kind, "buffer": content}


async def test_what_is_no_track_is_refused_with_what_to_do(
    server: Server, tmp_path: Path, desk: Desk
) -> None:
    await desk.open(server.app.http_port)
    await desk.choose(
        file("letter.mp3", b"Dear sir or madam, " * 100),
        file("program.wav", b"MZ" + bytes(2000), "audio/wav"),
        file("empty.flac", b"", "audio/flac"),
        {
            "name": "film.mp4",
            "mimeType": "video/mp4",
            "buffer": write_silent_film(tmp_path / "f.mp4").read_bytes(),
        },
        file("torn.wav", track_bytes(2.0)[:44], "audio/wav"),
    )
    await expect(desk.notice("bad").filter(has_text="“empty.flac” was not taken")).to_contain_text(
        "The file is empty. Choose another file."
    )
    for title in ("letter", "program"):
        row = desk["upload"].filter(has_text=title)
        await expect(row).to_have_attribute("data-state", "failed")
        await expect(row).to_contain_text("send one of wav, flac, mp3")
    # These look like tracks; only decoding shows that they are none.
    for title, text in {"film": "no audio", "torn": "audio"}.items():
        row = desk["upload"].filter(has_text=title).or_(desk.job(title))
        await expect(row).to_have_attribute("data-state", "failed")
        await expect(row).to_contain_text(text)
    # Nothing of them is left, and a good track still works.
    await desk["notice-close"].first.click()
    await desk["upload"].filter(has_text="letter").get_by_test_id("upload-remove").click()
    await expect(desk["upload"].filter(has_text="letter")).to_have_count(0)
    await desk.choose(write_track(tmp_path / "good.wav", 1.0))
    await expect(desk.job("good")).to_have_attribute("data-state", "succeeded")


async def test_a_file_over_the_limit_is_not_even_sent(start: StartServer, tmp_path: Path, desk: Desk) -> None:
    server = await start(max_upload_bytes=100_000)
    await desk.open(server.app.http_port)
    await expect(desk["limits"]).to_contain_text("up to 100 kB")
    await desk.choose(write_track(tmp_path / "large.wav", 2.0))
    await expect(desk.notice("bad")).to_contain_text("“large.wav” was not taken")
    await expect(desk.notice("bad")).to_contain_text("this server takes at most 100 kB")
    await expect(desk["upload"]).to_have_count(0)
    assert list((server.jobs_dir / ".mismo" / "uploads").iterdir()) == []


async def test_a_name_is_text_and_no_path(server: Server, desk: Desk) -> None:
    content = track_bytes(1.0)
    await desk.open(server.app.http_port)
    await desk.choose(
        file(MARKUP, content),
        file("..%2f..%2fetc%2fpasswd.wav", content),
        file("a\u202egnp.wav", content),
        file("x" * 300 + ".wav", content),
    )
    titles = ["<img src=x onerror=document.body.remove()>", "..%2f..%2fetc%2fpasswd", "a gnp", "x" * 120]
    for title in titles:
        await expect(desk.job(title)).to_have_attribute("data-state", "succeeded")
    await desk.job(titles[0]).get_by_test_id("job-open").click()
    await expect(desk["track-title"]).to_have_text(titles[0])
    await expect(desk["downloads"]).to_be_visible()
    assert await desk.page.locator("img:not(.brand img)").count() == 0
    name, _ = await desk.download("download-vocals")
    assert "/" not in name
    files = {path.name for path in server.jobs_dir.parent.rglob("*")}
    assert not any("passwd" in each or "onerror" in each for each in files)
    # The server's own page is not wider than the window for any of them.
    assert await desk.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_job_of_another_name_is_no_script(server: Server, desk: Desk) -> None:
    """The address is input too."""
    await desk.open(server.app.http_port, "/#job=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    await expect(desk.page.get_by_test_id("home").or_(desk.notice("warn")).first).to_be_visible()
    assert await desk.page.locator("img:not(.brand img)").count() == 0


async def test_a_page_of_another_origin_gets_nothing(server: Server, music: Path, browser: Browser) -> None:
    await server.client.submit(write_track(music / "a.wav", 1.0), job_id="job")
    await server.client.succeeded("job")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
        body = b"<!doctype html><title>evil</title>"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    evil = await asyncio.start_server(answer, "127.0.0.1", 0)
    context = await browser.new_context()
    try:
        page = await context.new_page()
        await page.goto(f"http://127.0.0.1:{evil.sockets[0].getsockname()[1]}/")
        found = await page.evaluate(
            """async (host) => {
              const outcome = (call) => call.then((response) => response.type + response.status, () => "refused");
              const body = JSON.stringify({track_hash: "evil", file_path: "/etc/passwd"});
              return {
                read: await outcome(fetch(`http://${host}/jobs/job`)),
                files: await outcome(fetch(`http://${host}/jobs/job/stems/vocals.wav`)),
                remove: await outcome(fetch(`http://${host}/jobs/job`, {method: "DELETE"})),
                blind: await outcome(fetch(`http://${host}/jobs`, {method: "POST", mode: "no-cors", body})),
                socket: await new Promise((resolve) => {
                  const socket = new WebSocket(`ws://${host}/ws/mismo.analysis.v1.JobService/ListJobs`);
                  socket.onopen = () => resolve("open");
                  socket.onclose = () => resolve("refused");
                }),
                framed: await new Promise((resolve) => {
                  const frame = document.createElement("iframe");
                  frame.onload = () => {
                    try {
                      resolve(frame.contentDocument === null ? "opaque" : frame.contentDocument.title);
                    } catch { resolve("opaque"); }
                  };
                  frame.src = `http://${host}/`;
                  document.body.append(frame);
                }),
              };
            }""",
            f"127.0.0.1:{server.app.http_port}",
        )
        assert {found[name] for name in ("read", "files", "remove", "socket")} == {"refused"}
        # Only that something answered can be known.
        assert found["blind"] == "opaque0"
        assert found["framed"] == "opaque"
        assert page.frames[1].url.startswith("chrome-error:"), "the page is shown in a frame"
    finally:
        await context.close()
        evil.close()
    assert [job.job_id for job in (await server.client.list()).jobs] == ["job"]

"""The API's documentation in Chromium: all routes, searchable, tried from there, with nothing from other hosts."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.pages.conftest import violations_of
from tests.service.conftest import Server
from tests.service.gateway.test_gateway import client_of, ended, request_for
from tests.support.calls import PATIENCE
from tests.support.tracks import write_track


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    expect.set_options(timeout=PATIENCE * 1000)
    yield
    expect.set_options(timeout=5000)


def url_of(server: Server, path: str = "/docs") -> str:
    return f"http://127.0.0.1:{server.app.http_port}{path}"


async def test_every_route_of_the_api_is_there_and_nothing_comes_from_another_host(
    server: Server, page: Page, complaints: list[str]
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(url_of(server))
    async with client_of(server) as http:
        document = (await http.get("/openapi.json")).json()
    routes = {
        f"{method.upper()} {path}" for path, operations in document["paths"].items() for method in operations
    }
    items = page.locator(".route")
    await expect(items).to_have_count(len(routes))
    shown = {
        f"{await item.locator('summary .method').text_content()} {await item.locator('.path').text_content()}"
        for item in await items.all()
    }
    assert shown == routes
    for item in await items.all():
        await item.locator("summary").first.click()
        await expect(item.locator("form")).to_be_visible()
    assert {url.split("/")[2] for url in asked} == {f"127.0.0.1:{server.app.http_port}"}
    assert complaints == []


async def test_the_search_leaves_what_has_all_words_and_says_how_many(server: Server, page: Page) -> None:
    await page.goto(url_of(server))
    await page.get_by_label("Search the routes").fill("post replay")
    await expect(page.locator(".route:visible")).to_have_count(1)
    await expect(page.locator("#contents li:visible")).to_have_count(1)
    total = await page.locator(".route").count()
    await expect(page.get_by_role("status").first).to_have_text(f"1 of {total} routes")
    # On by keyboard: the only route of the list opens and has the focus.
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    route = page.locator("#post-jobs-job_id-replay")
    await expect(route).to_have_attribute("open", "")
    await expect(route.locator("summary").first).to_be_focused()
    await page.get_by_label("Search the routes").fill("no such words")
    await expect(page.locator("#found")).to_have_text("No route has these words.")


async def test_a_link_to_a_route_opens_it(server: Server, page: Page) -> None:
    await page.goto(url_of(server, "/docs#get-jobs-job_id-stems"))
    await expect(page.locator("#get-jobs-job_id-stems form")).to_be_visible()


async def test_a_request_is_sent_from_the_page_and_curl_sends_the_same(
    server: Server, music: Path, page: Page, complaints: list[str]
) -> None:
    track = write_track(music / "it's a track.wav", 1.0)
    await page.goto(url_of(server, "/docs#post-jobs"))
    form = page.locator("#post-jobs form")
    body = json.dumps(request_for(track, track_hash="tried"))
    await form.get_by_label("Body, JSON").fill(body)
    line = shlex.split(await form.locator(".curl code").text_content() or "")
    assert line == ["curl", url_of(server, "/jobs"), "-H", "Content-Type: application/json", "-d", body]
    await form.get_by_role("button", name="Send request").click()
    await expect(form.get_by_role("status")).to_contain_text("200 OK after")
    await expect(form.locator(".response")).to_contain_text('"job_id": "tried"')
    async with client_of(server) as http:
        assert (await ended(http, "tried"))["status"] == "completed"
        # What is not text is not shown, but named.
        await page.goto(url_of(server, "/docs#get-jobs-job_id-stems-stem-wav"))
        form = page.locator("#get-jobs-job_id-stems-stem-wav form")
        await form.get_by_label("job_id").fill("tried")
        await form.get_by_label("stem", exact=False).last.fill("bass")
        await form.get_by_role("button", name="Send request").click()
        await expect(form.locator(".output")).to_contain_text("The body is audio/")
        # Lists go as repeated parameters; the response is what the same line gets.
        await page.goto(url_of(server, "/docs#get-jobs"))
        form = page.locator("#get-jobs form")
        await form.get_by_label("status").fill("completed, failed")
        line = shlex.split(await form.locator(".curl code").text_content() or "")
        assert line == ["curl", url_of(server, "/jobs?status=completed&status=failed")]
        await form.get_by_role("button", name="Send request").click()
        await expect(form.locator(".response")).to_contain_text('"job_id": "tried"')
        assert (
            json.loads(await form.locator(".response").text_content() or "")
            == (await http.get("/jobs")).json()
        )
    assert complaints == []


async def test_a_file_goes_with_the_form(server: Server, music: Path, page: Page) -> None:
    track = write_track(music / "track.wav", 1.0)
    await page.goto(url_of(server, "/docs#post-jobs"))
    form = page.locator("#post-jobs form")
    await form.get_by_label("Body", exact=True).select_option("multipart/form-data")
    await form.get_by_label("file (required)").set_input_files(track)
    await form.get_by_label("track_hash").fill("a-file")
    line = shlex.split(await form.locator(".curl code").text_content() or "")
    assert line[2:] == ["-F", "file=@track.wav", "-F", "track_hash=a-file"]
    await form.get_by_role("button", name="Send request").click()
    await expect(form.get_by_role("status")).to_contain_text("200 OK after")
    async with client_of(server) as http:
        assert (await ended(http, "a-file"))["status"] == "completed"


async def test_a_refused_request_shows_the_error_and_a_lost_server_is_named(
    server: Server, page: Page
) -> None:
    await page.goto(url_of(server, "/docs#get-jobs-job_id"))
    form = page.locator("#get-jobs-job_id form")
    # A parameter of the path is required: the browser keeps the form.
    await form.get_by_role("button", name="Send request").click()
    await expect(form.get_by_label("job_id")).to_be_focused()
    await form.get_by_label("job_id").fill("no/such job")
    assert (await form.locator(".curl code").text_content() or "").endswith("/jobs/no%2Fsuch%20job")
    await form.get_by_label("job_id").fill("none")
    await form.get_by_role("button", name="Send request").click()
    await expect(form.get_by_role("status")).to_contain_text("404")
    await expect(form.locator(".response")).to_contain_text("JOB_NOT_FOUND")
    await page.route("**/jobs/none", lambda route: asyncio.ensure_future(route.abort()))
    await form.get_by_role("button", name="Send request").click()
    await expect(form.get_by_role("status")).to_contain_text("The server did not answer")
    await page.route("**/openapi.json", lambda route: asyncio.ensure_future(route.abort()))
    await page.reload()
    await expect(page.get_by_role("alert")).to_contain_text("could not be loaded")


async def test_the_policy_lets_pages_speak_to_this_server_alone(server: Server, page: Page) -> None:
    await page.goto(url_of(server))
    found = await page.evaluate(
        """async (own) => {
          const violations = [];
          addEventListener("securitypolicyviolation", (event) => violations.push(event.effectiveDirective));
          const attempt = (url) => new Promise((done) => {
            try {
              const socket = new WebSocket(url);
              socket.onerror = socket.onclose = () => done();
            } catch { done(); }
          });
          await attempt(`ws://${own}/ws/none`);
          const allowed = violations.length;
          await attempt("ws://127.0.0.1:9/");
          await fetch("http://127.0.0.1:9/").catch(() => {});
          const script = document.createElement("script");
          script.textContent = "window.inline = true";
          document.body.append(script);
          const style = document.createElement("style");
          style.textContent = "body { display: none }";
          document.head.append(style);
          await new Promise((done) => setTimeout(done, 50));
          const shown = getComputedStyle(document.body).display;
          return { allowed, violations, inline: Boolean(window.inline), shown };
        }""",
        f"127.0.0.1:{server.app.http_port}",
    )
    assert found["allowed"] == 0
    assert found["violations"].count("connect-src") == 2
    assert {"script-src-elem", "style-src-elem"} <= set(found["violations"])
    assert (found["inline"], found["shown"]) == (False, "block")


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [390, 1440])
async def test_it_can_be_used_by_everyone_at_every_size(
    server: Server, browser: Browser, axe: str, theme: str, width: int
) -> None:
    context = await browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if theme == "dark" else "light"
    )
    page = await context.new_page()
    await page.goto(url_of(server))
    await expect(page.locator(".route").first).to_be_visible()
    for route in await page.locator("details").all():
        await route.evaluate("(each) => each.open = true")
    await expect(page.locator(".route form").last).to_be_visible()
    for route in await page.locator(".responses details").all():
        await route.evaluate("(each) => each.open = true")
    assert await violations_of(page, axe) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "scrolls sideways"
    await context.close()

"""The status page in Chromium: it shows what is so, also when nothing is well."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.pages.conftest import violations_of
from tests.service.conftest import Server, StartServer
from tests.service.gateway.test_gateway import client_of, ended, error_of, request_for
from tests.support.calls import PATIENCE, until
from tests.support.gates import Gate
from tests.support.process import ServerProcess
from tests.support.tracks import write_track


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    expect.set_options(timeout=PATIENCE * 1000)
    yield
    expect.set_options(timeout=5000)


class FailingGate(Gate):
    """The model fails on every segment while `failing`."""

    failing = True

    def enter(self) -> None:
        super().enter()
        if self.failing:
            raise RuntimeError("the model is out of order")


def url_of(server: Server, path: str = "/status") -> str:
    return f"http://127.0.0.1:{server.app.http_port}{path}"


async def submit(server: Server, music: Path, job_id: str, seconds: float = 3.0) -> None:
    async with client_of(server) as http:
        track = write_track(music / f"{job_id}.wav", seconds)
        (await http.post("/jobs", json=request_for(track, track_hash=job_id))).raise_for_status()


async def row(page: Page, section: str, name: str, value: str) -> None:
    """Waits until a row has that value."""
    await expect(page.locator(f"#{section} > div", has_text=name).locator("dd")).to_have_text(value)


async def test_the_figures_are_those_of_the_server_while_a_job_runs_and_after_it(
    server: Server, music: Path, page: Page, complaints: list[str]
) -> None:
    await page.goto(url_of(server))
    await expect(page.locator("#state-name")).to_have_text("Ready")
    await expect(page.locator("#running")).to_have_text("0")
    await expect(page.locator("#first-p50")).to_have_text("–")
    server.device.close()
    await submit(server, music, "first")
    await server.device.someone_waits()
    await expect(page.locator("#state-name")).to_have_text("Working")
    await expect(page.locator("#running")).to_have_text("1")
    waiting = server.app.scheduler.waiting
    await row(page, "queue", "Segments waiting", str(waiting))
    await row(page, "queue", "Room for", f"{server.app.jobs.queue_capacity - 1} more")
    server.device.allow(2)
    await expect(page.locator("#speed-more")).to_have_text("real time; 2 segments")
    await expect(page.locator("#ended")).to_have_text("0")
    server.device.open()
    async with client_of(server) as http:
        assert (await ended(http, "first"))["status"] == "completed"
        await expect(page.locator("#ended")).to_have_text("1")
        await expect(page.locator("#first-p50")).not_to_have_text("–")
        await expect(page.locator("#models tr")).to_contain_text(["tiny"])
        await expect(page.locator("#devices")).to_contain_text("cpu")
        # Three seconds of track, in segments that each were counted.
        text = (await http.get("/metrics")).text
        assert 'mismo_audio_seconds_total{model="tiny"} 3.0' in text
        segments = next(
            line.split()[-1] for line in text.splitlines() if line.startswith("mismo_segment_seconds_count")
        )
        assert float(segments) == server.device.passed
        await expect(page.locator("#speed-more")).to_have_text(f"real time; {server.device.passed} segments")
    # The charts say in words and in a table what they draw.
    chart = page.locator("#chart-queue")
    await expect(chart.get_by_role("img")).to_have_attribute(
        "aria-label",
        "Jobs. running: now 0, from 0 to 1. queued: now 0, from 0 to 0. retrying: now 0, from 0 to 0.",
    )
    await chart.locator("summary").click()
    await expect(chart.get_by_role("row", name="1 0 0").first).to_be_visible()
    assert complaints == []


async def test_a_failed_job_is_shown_with_its_reason_and_replayed_from_there(
    start: StartServer, music: Path, page: Page, complaints: list[str], axe: str
) -> None:
    gate = FailingGate()
    server = await start(gate=gate, job_retries=0)
    await page.goto(url_of(server))
    await expect(page.locator("#no-failures")).to_be_visible()
    await submit(server, music, "unlucky")
    failure = page.locator("#failures li")
    await expect(failure).to_contain_text("SEPARATION_FAILED")
    async with client_of(server) as http:
        job = await ended(http, "unlucky")
        await expect(failure).to_contain_text(job["error"]["message"])
        await expect(failure).to_contain_text("Job failed: stems")
        await expect(failure).to_contain_text("Replay the job. If it fails again, the log has the cause.")
        await expect(page.locator("#reasons")).to_contain_text("SEPARATION_FAILED 1 ×")
        await expect(page.locator("#ended-more")).to_have_text("1 failed, 0 cancelled")
        assert await violations_of(page, axe) == []
        gate.failing = False
        await failure.get_by_role("button", name="Replay job unlucky").press("Enter")
        await until(lambda: server.app.jobs.active_count == 0 and gate.passed > 2)
        assert (await ended(http, "unlucky"))["status"] == "completed"
    await expect(page.locator("#no-failures")).to_be_visible()
    assert complaints == []


async def test_a_replay_that_is_refused_says_why(start: StartServer, music: Path, page: Page) -> None:
    server = await start(gate=FailingGate(), job_retries=0)
    await submit(server, music, "unlucky")
    await page.goto(url_of(server))
    button = page.get_by_role("button", name="Replay job unlucky")
    await expect(button).to_be_visible()
    async with client_of(server) as http:
        await ended(http, "unlucky")
        # The page keeps the list that it has.
        await page.route("**/jobs?*", lambda route: asyncio.ensure_future(route.abort()))
        (await http.delete("/jobs/unlucky")).raise_for_status()
        message = error_of(await http.post("/jobs/unlucky/replay"), 404)["message"]
    await button.click()
    await expect(page.locator("#failures .answer")).to_have_text(message)
    await page.route("**/replay?*", lambda route: asyncio.ensure_future(route.abort()))
    await button.click()
    await expect(page.locator("#failures .answer")).to_have_text("The server did not answer; try again.")


async def test_a_message_of_a_job_is_text_and_never_markup(
    start: StartServer, music: Path, page: Page, complaints: list[str]
) -> None:
    server = await start()
    empty = write_track(music / "whole.wav", 1.0).read_bytes()[:44]
    (music / "<img src=x onerror=alert(1)>.wav").write_bytes(empty)
    async with client_of(server) as http:
        source = music / "<img src=x onerror=alert(1)>.wav"
        await http.post("/jobs", json=request_for(source, track_hash="markup"))
        job = await ended(http, "markup")
    await page.goto(url_of(server))
    await expect(page.locator("#failures li")).to_contain_text(job["error"]["message"])
    assert await page.locator("main img").count() == 0
    assert complaints == []


async def test_it_says_when_the_server_drains_and_when_it_is_gone_and_goes_on_with_the_next(
    process: ServerProcess, page: Page, complaints: list[str]
) -> None:
    await (await process.start()).close()
    port = http_port(process)
    await page.goto(f"http://127.0.0.1:{port}/status")
    await expect(page.locator("#state-name")).to_have_text("Ready")
    assert complaints == []
    as_of = await page.locator("#as-of").text_content()
    process.kill()
    await expect(page.locator("#state-name")).to_have_text("Server gone")
    await expect(page.locator("#state")).to_have_attribute("role", "status")
    # The last figures stay, under their time.
    await expect(page.locator("body")).to_have_class("stale")
    await expect(page.locator("#running")).to_have_text("0")
    assert (await page.locator("#as-of").text_content() or "") >= (as_of or "")
    await (await process.start("--http-port", str(port))).close()
    await expect(page.locator("#state-name")).to_have_text("Ready")


async def test_it_says_when_jobs_are_refused(server: Server, page: Page) -> None:
    await page.goto(url_of(server))
    await expect(page.locator("#state-name")).to_have_text("Ready")
    server.app.jobs.refuse()
    await expect(page.locator("#state-name")).to_have_text("Draining")


async def test_it_says_when_nothing_can_be_separated_and_why(
    server: Server, music: Path, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Vanished(BaseException):
        """No error that the engine expects."""

    def die() -> None:
        raise Vanished

    engine = await server.app.engines.ready()
    for thread in engine._threads:
        thread._restart_seconds = 0.0
    await page.goto(url_of(server))
    await expect(page.locator("#state-name")).to_have_text("Ready")
    monkeypatch.setattr(server.device, "enter", die)
    await submit(server, music, "first")
    await expect(page.locator("#state-name")).to_have_text("Not separating")
    await expect(page.locator("#state-text")).to_contain_text("Vanished")


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [390, 1440])
async def test_it_can_be_used_by_everyone_at_every_size(
    server: Server, music: Path, browser: Browser, axe: str, theme: str, width: int
) -> None:
    context = await browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if theme == "dark" else "light"
    )
    page = await context.new_page()
    await submit(server, music, "first", 1.0)
    await page.goto(url_of(server))
    await expect(page.locator("#ended")).to_have_text("1")
    await expect(page.locator("#chart-cpu .chart-empty")).to_be_hidden()
    for chart in await page.locator(".chart details").all():
        await chart.evaluate("(each) => each.open = true")
    assert await violations_of(page, axe) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "scrolls sideways"
    # The keyboard: the first stop leads past the navigation.
    await page.evaluate("document.activeElement.blur()")
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip-link")).to_be_focused()
    await context.close()


async def test_nothing_moves_when_the_figures_come(server: Server, page: Page) -> None:
    await page.goto(url_of(server))
    await expect(page.locator("#state-name")).to_have_text("Ready")
    await expect(page.locator("#chart-cpu .chart-empty")).to_be_hidden()
    shift, moved = await page.evaluate(
        """() => new Promise((done) => {
          let total = 0;
          const moved = [];
          const observer = new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) {
              total += entry.value;
              moved.push(...entry.sources.map(({ node }) => node?.outerHTML?.slice(0, 99)));
            }
          });
          observer.observe({ type: "layout-shift", buffered: true });
          setTimeout(() => done([total, moved]), 100);
        })"""
    )
    assert shift < 0.02, moved


async def test_metrics_are_read_as_prometheus_does(server: Server, page: Page) -> None:
    await page.goto(url_of(server))
    found = await page.evaluate(
        r"""async () => {
          const { Scrape, rate } = await import("/static/status/prometheus.js");
          const text = (total, escaped) => `# TYPE a_total counter
a_total{x="1",y="q \\"z\\" ${escaped}"} ${total}
a_total{x="2"} 5
h_bucket{le="1.0"} 2
h_bucket{le="2.0"} 4
h_bucket{le="+Inf"} 4
i_bucket{le="1.0"} 1
i_bucket{le="+Inf"} 4
e_bucket{le="+Inf"} 0
`;
          const first = new Scrape(text(10, "\\n"), 100);
          const later = new Scrape(text(30, "\\n"), 110);
          const reset = new Scrape(text(3, "\\n"), 120);
          return {
            label: first.all("a_total")[0].labels.y,
            all: first.sum("a_total"), one: first.sum("a_total", { x: "2" }), none: first.sum("b") ?? null,
            median: first.quantile("h", 0.5), most: first.quantile("h", 0.75), beyond: first.quantile("i", 0.95),
            empty: first.quantile("e", 0.5) ?? null,
            rate: rate(first, later, "a_total"), reset: rate(later, reset, "a_total", { x: "1" }),
          };
        }"""
    )
    assert found == {
        "label": 'q "z" \n',
        "all": 15,
        "one": 5,
        "none": None,
        "median": 1,
        "most": 1.5,
        "beyond": 1,
        "empty": None,
        "rate": 2,
        "reset": 0.3,
    }


async def test_a_page_that_nobody_sees_asks_nothing(server: Server, page: Page) -> None:
    asked: list[str] = []
    await page.goto(url_of(server))
    await expect(page.locator("#state-name")).to_have_text("Ready")
    page.on("request", lambda request: asked.append(request.url))
    await page.evaluate(
        """() => {
          Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    asked.clear()
    await asyncio.sleep(0)
    await page.clock.install()
    await page.clock.fast_forward(60_000)
    assert asked == []
    await page.evaluate(
        """() => {
          Object.defineProperty(document, "hidden", { configurable: true, get: () => false });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    await page.clock.fast_forward(1_000)
    await until(lambda: any(url.endswith("/metrics") for url in asked))


def http_port(process: ServerProcess) -> int:
    return int(json.loads(process.ready_file.read_bytes())["http_port"])

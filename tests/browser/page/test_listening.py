"""One track from the drop to its files: heard while it is made, from wherever one clicks."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.async_api import expect

from tests.browser.page.conftest import OpenDesk
from tests.browser.page.desk import SILENT_DB, STEMS, Desk, place_of, played, whole
from tests.service.conftest import Server, StartServer
from tests.support.calls import CANCELLED, RUNNING
from tests.support.tracks import RATE, write_track

DEMO = Path(__file__).resolve().parents[3] / "examples" / "demo_track.ogg"


@dataclass(frozen=True)
class Plan:
    """A model, and how many segments pass before the page is looked at."""

    model: str
    title: str
    seconds: float
    ahead: int
    """Segments that pass after the seek: they are enough for the loop there, and not all of the track."""


TINY = Plan("tiny", "a long track", 20.0, 16)
LITE = Plan("mismo_lite", "demo track", 30.0, 4)


def ready_of(ranges: Iterable[Any]) -> list[tuple[float, float]]:
    """The seconds of a job that are ready."""
    return [(each.start_frame / RATE, each.end_frame / RATE) for each in ranges]


@pytest.mark.parametrize(
    "plan", [TINY, pytest.param(LITE, marks=pytest.mark.heavy)], ids=lambda plan: plan.model
)
async def test_a_track_is_heard_while_it_is_made_and_kept_when_it_is_done(
    start: StartServer, tmp_path: Path, desk: Desk, plan: Plan
) -> None:
    server = await start(model=plan.model)
    server.device.close()
    track = write_track(tmp_path / "a_long_track.wav", plan.seconds) if plan is TINY else DEMO
    await desk.open(server.app.http_port)
    await desk.choose(track)
    # It is opened by itself, and says why there is no sound.
    await expect(desk["track-title"]).to_have_text(plan.title)
    await desk.player("buffering")
    await server.device.someone_waits()
    await expect(desk["state-line"]).to_contain_text("Separating around 0:00")
    await desk.ears()
    assert max([*await desk.page.evaluate("ears.levels('mix', 0)"), -200]) < SILENT_DB
    job_id = await desk.job_id(plan.title)

    # One segment of work is enough for the first sound.
    server.device.allow(1)
    await desk.heard()
    job = await server.client.get(job_id)
    assert (job.state, job.progress.segments_done) == (RUNNING, 1)
    await expect(desk["overview"]).to_have_attribute("data-ready-percent", _percent(job.stem_set.ready, plan))
    # What there is ends; it waits at the first missing frame.
    await desk.silent()
    await desk.player("buffering")
    (first,) = ready_of(job.stem_set.ready)
    assert await desk.seconds() == pytest.approx(first[1], abs=0.11)

    # A click on what is not there makes the server separate there next.
    await desk.seek(0.6)
    target = 0.6 * plan.seconds
    # The segment that waits at the device was chosen before.
    await expect(desk["state-line"]).to_contain_text("Other segments go first")
    server.device.allow(1)
    around = f"Separating around 0:({int(target - 0.5):02}|{int(target + 0.5):02})"
    await expect(desk["state-line"]).to_contain_text(re.compile(around))
    mark = await desk.mark()
    server.device.allow(plan.ahead)
    await desk.heard(mark)
    job = await server.client.get(job_id)
    ready = ready_of(job.stem_set.ready)
    assert any(begin <= target < end for begin, end in ready)
    between = (first[1] + target) / 2
    assert not any(begin <= between < end for begin, end in ready), "the track is separated from its start"

    # A loop keeps it playing there, and what is muted is muted alone.
    await desk.page.keyboard.press("l")
    await expect(desk["loop-text"]).to_be_visible()
    for stem in STEMS:
        await desk.heard(await desk.mark(), stem)
    await desk["mute-drums"].click()
    await desk.silent("drums")
    mark = await desk.mark()
    for stem in STEMS[1:]:
        await desk.heard(mark, stem)
    await desk.heard(mark)
    assert max(await desk.page.evaluate("(mark) => ears.levels('drums', mark)", mark)) < SILENT_DB
    await expect(desk["mute-drums"]).to_have_attribute("aria-pressed", "true")
    assert (await server.client.get(job_id)).state == RUNNING

    # It finishes, and the files are those of the API.
    server.device.open()
    await expect(desk["downloads"]).to_be_visible()
    await expect(desk["state-line"]).to_have_text("All stems are ready.")
    document = json.loads(await server.client.artifact(job_id, "stems.json"))
    digests = {entry["name"]: entry["sha256"] for entry in document["stems"]}
    for stem in STEMS:
        name, content = await desk.download(f"download-{stem}")
        assert name.endswith(f"{stem}.wav")
        assert hashlib.sha256(content).hexdigest() == digests[stem]
    assert (await desk.download("download-all"))[1] == await server.client.artifact(job_id, "stems.zip")

    # After a reload the job is still there, and plays.
    await desk.page.reload()
    await desk.started()
    await expect(desk["track-title"]).to_have_text(plan.title)
    await expect(desk["ended-jobs"].get_by_test_id("job")).to_have_attribute("data-job", job_id)
    await desk.player("paused")
    await desk.ears()
    await desk["play"].click()
    await desk.heard()

    # Another one is cancelled.
    await desk["process-another"].click()
    await expect(desk["home"]).to_be_visible()
    server.device.close()
    await desk.choose(write_track(tmp_path / "second.wav", plan.seconds, seed=2))
    await expect(desk["track-title"]).to_have_text("second")
    await server.device.someone_waits()
    second = await desk.job_id("second")
    await desk["cancel"].click()
    await expect(desk["state-line"]).to_contain_text("Cancelled")
    await expect(desk.job("second")).to_have_attribute("data-state", "cancelled")
    server.device.open()
    assert (await server.client.ended(second)).state == CANCELLED

    # A wrong file tells what to do.
    wrong = tmp_path / "letter.mp3"
    wrong.write_text("Dear sir or madam, " * 100)
    await desk.choose(wrong)
    await expect(desk["upload"]).to_contain_text("no audio format that is read here")
    await desk.page.close()
    await server.nothing_is_held()


async def test_every_frame_of_every_stem_is_heard_in_sync(server: Server, tmp_path: Path, desk: Desk) -> None:
    await desk.open(server.app.http_port)
    server.device.close()
    await desk.choose(write_track(tmp_path / "short.wav", 3.0))
    await desk.ears()
    server.device.open()
    await desk.player("ended")
    await expect(desk["downloads"]).to_be_visible()
    job_id = await desk.job_id("short")
    places: set[int] = set()
    for stem in STEMS:
        data = await server.client.read_stem(job_id, stem)
        expected = np.frombuffer(data, "<i2").reshape(-1, 2)[:, 0]
        tape = await desk.tape(stem)
        stretches = played(tape, expected)
        assert whole(stretches, len(expected)), stretches
        start = stretches[0][0]
        places.add(place_of(tape, expected[start : start + 256]) - start)
    assert len(places) == 1, "the stems are not in sync"


async def test_it_plays_by_itself_only_if_one_wants_that(server: Server, tmp_path: Path, desk: Desk) -> None:
    await desk.open(server.app.http_port)
    await desk["play-at-once"].uncheck()
    await desk.choose(write_track(tmp_path / "quiet.wav", 3.0))
    await expect(desk["downloads"]).to_be_visible()
    await desk.player("paused")
    await desk.ears()
    assert max(await desk.page.evaluate("ears.levels('mix', 0)"), default=-200) < SILENT_DB
    await desk["play"].click()
    await desk.heard()


async def test_without_a_gesture_the_browser_is_silent_and_the_page_says_what_to_do(
    server: Server, music: Path, new_desk: OpenDesk
) -> None:
    """A track that is opened from its address: the page must not claim that it plays."""
    await server.client.submit(write_track(music / "a.wav", 3.0), job_id="job")
    await server.client.succeeded("job")
    desk = await new_desk()
    await desk.open(server.app.http_port, "/#job=job")
    await desk.player("paused")
    await expect(desk["play"]).to_have_accessible_name("Play")
    await expect(desk["state-line"]).to_have_text("All stems are ready.")


def _percent(ready: Iterable[Any], plan: Plan) -> str:
    seconds = sum(end - begin for begin, end in ready_of(ready))
    return str(round(seconds / plan.seconds * 100))

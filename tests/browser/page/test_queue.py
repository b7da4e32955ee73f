"""Several tracks, several tabs, and the models that there are."""

from __future__ import annotations

import io
from pathlib import Path

import soundfile
from playwright.async_api import expect

from mismo.analysis.v1 import system_service_pb2
from mismo.analysis.v1.stage_pb2 import STAGE_STEMS
from tests.browser.page.conftest import OpenDesk
from tests.browser.page.desk import SILENT_DB, STEMS, Desk
from tests.service.conftest import Server, StartServer
from tests.support.calls import CANCELLED, HIGH, LOW, QUEUED
from tests.support.tracks import write_track


async def test_a_track_of_high_priority_overtakes_the_others(
    start: StartServer, tmp_path: Path, desk: Desk
) -> None:
    server = await start(max_concurrent_jobs=1)
    server.device.close()
    await desk.open(server.app.http_port)
    await desk.choose(write_track(tmp_path / "first.wav", 3.0, seed=1))
    await server.device.someone_waits()
    await desk["process-another"].click()
    await desk["option-priority"].select_option(label="Low")
    await desk.choose(
        write_track(tmp_path / "second.wav", 1.0, seed=2), write_track(tmp_path / "third.wav", 1.0, seed=3)
    )
    for title in ("second", "third"):
        await expect(desk.job(title)).to_have_attribute("data-state", "queued")
        await expect(desk.job(title).get_by_test_id("job-detail")).to_contain_text("In the queue, number")
    second, third = await desk.job_id("second"), await desk.job_id("third")
    assert (await server.client.get(second)).priority == LOW
    await desk["process-another"].click()
    await desk["option-priority"].select_option(label="High: overtakes others")
    await desk.choose(write_track(tmp_path / "fourth.wav", 1.0, seed=4))
    # It takes the device from the one that runs, after its segment.
    await expect(desk.job("fourth")).to_have_attribute("data-state", "running")
    fourth = await desk.job_id("fourth")
    assert (await server.client.get(fourth)).priority == HIGH
    await expect(desk["active-jobs"].get_by_test_id("job")).to_have_count(4)
    # Of the two that wait, the one that is raised in the list goes before the other.
    jobs = {
        title: await server.client.get(job_id) for title, job_id in {"second": second, "third": third}.items()
    }
    other, title = sorted(jobs, key=lambda name: jobs[name].progress.queue_position)
    assert jobs[title].progress.queue_position == 2
    await desk.job(title).get_by_test_id("job-priority").select_option(label="Normal")
    await expect(desk.job(title).get_by_test_id("job-detail")).to_have_text("In the queue, number 1")
    await expect(desk.job(other).get_by_test_id("job-detail")).to_have_text("In the queue, number 2")
    job = await server.client.get(jobs[title].job_id)
    assert (job.state, job.progress.queue_position) == (QUEUED, 1)
    server.device.open()
    await expect(desk["ended-jobs"].get_by_test_id("job")).to_have_count(4)
    ends = {
        name: (await server.client.get(job_id)).end_time.ToNanoseconds()
        for name, job_id in {"second": second, "third": third, "fourth": fourth}.items()
    }
    other = "second" if title == "third" else "third"
    assert ends["fourth"] < ends[title] < ends[other]


async def test_two_tabs_on_one_job_are_two_listeners_of_it(
    server: Server, tmp_path: Path, new_desk: OpenDesk
) -> None:
    server.device.close()
    one = await new_desk()
    await one.open(server.app.http_port)
    await one.choose(write_track(tmp_path / "shared.wav", 12.0))
    await server.device.someone_waits()
    server.device.allow(8)
    await one.ears()
    await one.heard()
    job_id = await one.job_id("shared")
    two = await new_desk(beside=one)
    await two.open(server.app.http_port, f"/#job={job_id}")
    await two.ears()
    await two["play"].click()
    await two.heard()
    # Each has its own mix.
    await two["mute-bass"].click()
    await expect(one["mute-bass"]).to_have_attribute("aria-pressed", "false")
    # What one of them changes, both show.
    await one["track-priority"].select_option(label="High priority")
    await expect(two["track-priority"]).to_have_value("3")
    await expect(two.job("shared").get_by_test_id("job-priority")).to_have_value("3")
    await two["cancel"].click()
    for desk in (one, two):
        await expect(desk["state-line"]).to_contain_text("Cancelled")
        await expect(desk.job("shared")).to_have_attribute("data-state", "cancelled")
    assert (await server.client.get(job_id)).state == CANCELLED
    await two["delete"].click()
    await two["confirm-no"].click()
    await two["delete"].click()
    await two["confirm-yes"].click()
    await expect(two.notice("good")).to_contain_text("“shared” was deleted")
    await expect(two["home"]).to_be_visible()
    await expect(one.notice("warn")).to_contain_text("shared was deleted")
    await expect(one["home"]).to_be_visible()
    await expect(one["library-empty"]).to_be_visible()
    server.device.open()


async def test_models_that_cannot_be_used_are_shown_with_the_reason(server: Server, desk: Desk) -> None:
    await desk.open(server.app.http_port)
    unavailable = desk["option-model"].locator("option", has_text="htdemucs_6s")
    await expect(unavailable).to_be_disabled()
    await expect(unavailable).to_have_text("htdemucs_6s (not installed)")
    await expect(desk["option-model"]).to_have_value("tiny")
    await desk["model-missing"].locator("summary").click()
    info = await server.client.system.ListModels(system_service_pb2.ListModelsRequest())
    reason = next(model.reason for model in info.models if model.name == "htdemucs_6s")
    assert reason
    await expect(desk["model-missing"].locator("li", has_text="htdemucs_6s").first).to_contain_text(reason)


async def test_a_chosen_model_that_is_gone_is_replaced_and_the_page_says_so(
    server: Server, desk: Desk
) -> None:
    await desk.page.add_init_script(
        "const choices = {model: 'htdemucs_6s', stems: 'two', twoStems: 'vocals'};"
        "localStorage.setItem('mismo.choices', JSON.stringify(choices))"
    )
    await desk.open(server.app.http_port)
    await expect(desk["model-note"]).to_contain_text("htdemucs_6s is not installed: tiny is used.")
    await expect(desk["choices-words"]).to_have_text("tiny · vocals and the rest · 16 bit")


async def test_the_choices_are_what_the_job_gets(server: Server, tmp_path: Path, desk: Desk) -> None:
    await desk.open(server.app.http_port)
    await desk["option-stems-two"].check()
    await desk["option-two-stems"].select_option("drums")
    await desk["option-depth-24"].check()
    if await desk["option-analysis-rhythm"].is_enabled():
        await desk["option-analysis-rhythm"].uncheck()
    # They are remembered.
    await desk.page.reload()
    await desk.started()
    await expect(desk["option-stems-two"]).to_be_checked()
    await desk.choose(write_track(tmp_path / "karaoke.wav", 2.0))
    await expect(desk["downloads"]).to_be_visible()
    job = await server.client.get(await desk.job_id("karaoke"))
    assert job.options.stems.two_stems == "drums"
    assert list(job.stem_set.stem_names) == ["drums", "no_drums"]
    assert list(job.options.stages) == [STAGE_STEMS]
    await expect(desk["strip-no_drums"]).to_be_visible()
    content = (await desk.download("download-no_drums"))[1]
    assert soundfile.info(io.BytesIO(content)).subtype == "PCM_24"


async def test_the_list_shows_the_own_tracks_or_those_of_all(
    server: Server, music: Path, tmp_path: Path, desk: Desk
) -> None:
    await server.client.submit(write_track(music / "of_the_dj_system.wav", 1.0), job_id="theirs")
    await server.client.succeeded("theirs")
    await desk.open(server.app.http_port)
    await expect(desk["library-empty"]).to_contain_text("No tracks yet")
    await desk.choose(write_track(tmp_path / "mine.wav", 1.0, seed=2))
    await expect(desk["downloads"]).to_be_visible()
    await expect(desk["job"]).to_have_count(1)
    await desk["scope-all"].check()
    await expect(desk["job"]).to_have_count(2)
    await desk.job("of the dj system").get_by_test_id("job-open").click()
    await expect(desk["track-title"]).to_have_text("of the dj system")
    assert desk.page.url.endswith("#job=theirs")


async def test_each_control_of_a_stem_is_heard(server: Server, music: Path, desk: Desk) -> None:
    await server.client.submit(write_track(music / "a.wav", 6.0), job_id="job")
    await server.client.succeeded("job")
    await desk.open(server.app.http_port, "/#job=job")
    await desk.ears()
    await desk["play"].click()
    await desk.page.keyboard.press("l")
    await expect(desk["loop-text"]).to_be_visible()
    await desk["solo-vocals"].click()
    for stem in STEMS[:3]:
        await desk.silent(stem)
    mark = await desk.mark()
    await desk.heard(mark, "vocals")
    await desk["solo-vocals"].click()
    await desk.heard(await desk.mark(), "bass")
    await desk["volume-bass"].fill("0")
    await desk.silent("bass")
    await desk["volume-bass"].fill("100")
    await desk.heard(await desk.mark(), "bass")
    # The recorder hears the left side.
    await desk["pan-other"].fill("100")
    await desk.silent("other")
    await expect(desk["pan-other"]).to_have_attribute("aria-valuetext", "100 percent right")
    await desk["master-volume"].fill("0")
    await desk.silent("mix")
    mark = await desk.mark()
    await desk.heard(mark, "drums")
    assert max(await desk.page.evaluate("(mark) => ears.levels('mix', mark)", mark)) < SILENT_DB
    await desk["play"].click()
    await desk.player("paused")
    await desk.silent("drums")

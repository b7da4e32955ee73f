"""What UpdateJob changes: what its mask names, else what is set; and when a job's playhead could be heard."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import Server, StartServer
from tests.support.calls import HIGH, LOW, NORMAL, Client, job_pb2, options, refused, until
from tests.support.tracks import RATE, write_track


def playhead_of(job: job_pb2.Job) -> float | None:
    stems = job.options.stems
    return stems.playhead.ToNanoseconds() / 1e9 if stems.HasField("playhead") else None


async def ready_starts(client: Client, job_id: str) -> list[int]:
    """Where the frames began that became final, in the order in which they did."""
    events = await client.events(job_id)
    return [
        part.start_frame
        for event in events
        if event.HasField("segment_ready")
        for part in event.segment_ready.ranges
    ]


async def test_a_mask_names_what_changes(server: Server, music: Path) -> None:
    client = server.client
    server.hold_decoders()
    track = write_track(music / "a.wav", 3.0)
    await client.submit(track, job_id="a", wanted=options(playhead=1.5), priority=LOW)
    job = await client.update("a", playhead=0.5, priority=HIGH, mask=["priority"])
    assert (playhead_of(job), job.priority) == (1.5, HIGH)
    job = await client.update("a", playhead=0.5, mask=["playhead"])
    assert (playhead_of(job), job.priority) == (0.5, HIGH)
    job = await client.update("a", mask=["priority", "playhead"])
    assert (playhead_of(job), job.priority) == (None, NORMAL)
    assert playhead_of(await client.get("a")) is None
    refusal = await refused(client.update("a", mask=["labels"]))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", "update_mask")
    assert "'labels'" in refusal.message
    server.release_decoders()
    # Cleared before it was decoded: the order is from the start.
    await client.succeeded("a")


async def test_an_update_that_changes_nothing_answers_the_job_as_it_is(server: Server, music: Path) -> None:
    client = server.client
    server.hold_decoders()
    job = (await client.submit(write_track(music / "a.wav", 1.0), job_id="a", priority=HIGH)).job
    await until(lambda: server.app.repository.active["a"].job.revision > job.revision)
    job = await client.get("a")
    unchanged: list[dict[str, Any]] = [{}, {"priority": HIGH}, {"mask": ["priority"], "priority": HIGH}]
    for fields in unchanged:
        assert (await client.update("a", **fields)).revision == job.revision
    assert (await client.update("a", playhead=0.0)).revision == job.revision + 1
    server.release_decoders()
    await client.succeeded("a")
    refusal = await refused(client.update("a"))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "JOB_NOT_READY")


async def test_a_job_whose_playhead_is_cleared_goes_on_from_the_start(server: Server, music: Path) -> None:
    client = server.client
    server.device.close()
    await client.submit(write_track(music / "a.wav", 8.0), job_id="a", wanted=options(playhead=5.0))
    starts = asyncio.create_task(ready_starts(client, "a"))
    await server.device.someone_waits()
    job = await client.update("a", mask=["playhead"])
    assert playhead_of(job) is None
    server.device.open()
    job = await client.succeeded("a")
    assert playhead_of(job) is None
    # The segment at work was at the playhead; what comes next begins at the start.
    order = await starts
    assert order[0] > 4 * RATE
    assert order[1] == 0
    assert order[1:] == sorted(order[1:])


@pytest.mark.parametrize("mask", [[], ["playhead"]])
async def test_a_playhead_that_is_cleared_while_the_track_is_decoded(
    start: StartServer, music: Path, mask: list[str]
) -> None:
    server = await start()
    client = server.client
    server.hold_decoders()
    server.device.close()
    await client.submit(write_track(music / "a.wav", 4.0), job_id="a", wanted=options(playhead=3.0))
    starts = asyncio.create_task(ready_starts(client, "a"))
    await client.update("a", mask=mask)
    server.release_decoders()
    server.device.open()
    assert ((await starts)[0] == 0) == bool(mask)


async def test_the_time_to_the_playhead_is_that_of_its_own_frame(server: Server, music: Path) -> None:
    """Frames that are final elsewhere make no sound at the playhead."""
    client = server.client
    server.device.close()
    await client.submit(write_track(music / "a.wav", 8.0), job_id="a")
    await server.device.someone_waits()
    await client.update("a", playhead=6.0)
    server.device.allow(1)
    await until(lambda: server.app.repository.active["a"].job.time_to_first_audio is not None)
    job = await client.get("a")
    assert not job.HasField("time_to_playhead_audio")
    server.device.open()
    job = await client.succeeded("a")
    assert job.time_to_playhead_audio.ToNanoseconds() > job.time_to_first_audio.ToNanoseconds() > 0


async def test_a_playhead_that_moves_to_final_frames_can_be_heard_at_once(
    server: Server, music: Path
) -> None:
    client = server.client
    server.device.close()
    await client.submit(write_track(music / "a.wav", 8.0), job_id="a", wanted=options(playhead=6.0))
    await server.device.someone_waits()
    await client.update("a", mask=["playhead"])
    # The segment at work lies at 6 s.
    server.device.allow(1)
    await until(lambda: server.app.repository.active["a"].job.time_to_first_audio is not None)
    ready = (await client.get("a")).stem_set.ready[0]
    assert not (await client.get("a")).HasField("time_to_playhead_audio")
    job = await client.update("a", playhead=(ready.start_frame + ready.end_frame) / 2 / RATE)
    assert job.time_to_playhead_audio.ToNanoseconds() > job.time_to_first_audio.ToNanoseconds()
    server.device.open()
    assert (await client.succeeded("a")).time_to_playhead_audio == job.time_to_playhead_audio


async def test_a_result_that_is_used_again_could_be_heard_at_once(server: Server, music: Path) -> None:
    client, track = server.client, write_track(music / "a.wav", 0.6)
    await client.submit(track, job_id="a")
    await client.succeeded("a")
    again = await client.submit(track, job_id="b")
    assert again.cache_hit
    assert again.job.HasField("time_to_playhead_audio")

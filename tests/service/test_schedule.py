"""Who goes first: between jobs, and inside one. What is looked at is the order, never the time."""

from __future__ import annotations

import asyncio
import contextlib
import os
from itertools import pairwise
from pathlib import Path

from mismo.analysis.v1.stage_pb2 import STAGE_STEMS
from tests.service.conftest import Server, StartServer
from tests.support.calls import FAILED, HIGH, LOW, PATIENCE, options, ready_ranges, refused, seconds
from tests.support.tracks import RATE, write_track


async def segments_done(server: Server, job_id: str) -> int:
    return (await server.client.get(job_id)).progress.segments_done


async def being_separated(server: Server, job_id: str) -> None:
    """Until the job's segments are in the queue."""
    async for event in server.client.watch(job_id):
        job = event.snapshot
        if event.stage.stage == STAGE_STEMS or any(
            s.stage == STAGE_STEMS and s.state > 1 for s in job.stages
        ):
            return


async def test_a_high_job_overtakes_a_low_one_between_two_segments(server: Server, music: Path) -> None:
    client = server.client
    server.device.close()
    await client.submit(write_track(music / "long.wav", 5.0), job_id="low", priority=LOW)
    server.device.allow(3)
    await server.device.passed_at_least(3)
    await server.device.someone_waits()
    await client.submit(write_track(music / "short.wav", 1.0, seed=2), job_id="high", priority=HIGH)
    await being_separated(server, "high")
    low = asyncio.create_task(client.events("low"))
    # The segment that the low job is at is finished; then it is the other's turn until that is done.
    high_segments = (await client.get("high")).progress.segments_total
    server.device.allow(1 + high_segments)
    await client.succeeded("high")
    assert await segments_done(server, "low") == 4
    server.device.open()
    events = await low
    total = events[-1].terminal.job.progress.segments_total
    # Nothing that the low job had finished was done again.
    assert server.device.passed == total + high_segments


async def test_a_high_job_does_not_wait_for_a_slot_that_low_ones_hold(
    start: StartServer, music: Path
) -> None:
    server = await start(max_concurrent_jobs=1)
    client = server.client
    server.device.close()
    for index in range(3):
        track = write_track(music / f"{index}.wav", 2.0, seed=index)
        await client.submit(track, job_id=f"low-{index}", priority=LOW)
    await server.device.someone_waits()
    assert [(await client.get(f"low-{i}")).progress.queue_position for i in range(3)] == [0, 1, 2]
    await client.submit(write_track(music / "h.wav", 1.0, seed=9), job_id="high", priority=HIGH)
    await being_separated(server, "high")
    server.device.allow(1 + 3)
    await client.succeeded("high")
    assert await segments_done(server, "low-0") == 1
    server.device.open()
    for index in range(3):
        await client.succeeded(f"low-{index}")


async def test_a_warm_model_does_not_wait_for_another_that_is_being_loaded(
    start: StartServer, models: Path, tmp_path: Path, music: Path
) -> None:
    """The other one's weights come through a pipe that nobody has written to yet."""
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "slow.yaml").write_text("models: [pipe]\n")
    os.mkfifo(slow / "pipe.th")
    server = await start(model_dirs=[slow, models])
    client, track = server.client, write_track(music / "a.wav", 1.0)
    await client.submit(track, job_id="slow", wanted=options(model="slow"))
    await client.submit(track, job_id="quick")
    await client.succeeded("quick")
    await asyncio.to_thread(_write_something, slow / "pipe.th")
    job = await client.ended("slow")
    assert (job.state, job.error.reason) == (FAILED, "MODEL_LOAD_FAILED")


def _write_something(pipe: Path) -> None:
    with contextlib.suppress(BrokenPipeError), pipe.open("wb") as file:
        file.write(b"no weights")


async def test_raising_a_priority_lets_a_running_job_overtake(server: Server, music: Path) -> None:
    client = server.client
    server.device.close()
    await client.submit(write_track(music / "a.wav", 3.0), job_id="first")
    await server.device.someone_waits()
    await client.submit(write_track(music / "b.wav", 3.0, seed=2), job_id="second")
    await being_separated(server, "second")
    await client.update("second", priority=HIGH)
    total = (await client.get("second")).progress.segments_total
    server.device.allow(1 + total)
    await client.succeeded("second")
    assert await segments_done(server, "first") == 1
    server.device.open()
    await client.succeeded("first")


async def test_a_queued_job_that_is_raised_starts_before_its_elders(start: StartServer, music: Path) -> None:
    server = await start(max_concurrent_jobs=1)
    client = server.client
    server.device.close()
    for name in ("one", "two", "three"):
        await client.submit(write_track(music / f"{name}.wav", 1.0, seed=len(name)), job_id=name)
    await client.update("three", priority=HIGH)
    server.device.open()
    ends: list[str] = []

    async def follow(name: str) -> None:
        await client.succeeded(name)
        ends.append(name)

    await asyncio.gather(*(follow(name) for name in ("one", "two", "three")))
    assert ends.index("three") < ends.index("two")


async def test_a_waiting_job_is_told_its_place_as_it_moves_up(start: StartServer, music: Path) -> None:
    server = await start(max_concurrent_jobs=1)
    client = server.client
    server.device.close()
    for name in ("one", "two", "three"):
        await client.submit(write_track(music / f"{name}.wav", 0.5, seed=len(name)), job_id=name)
    events = aiter(client.watch("three", min_progress_interval=seconds(0), heartbeat_interval=seconds(60)))
    first = (await anext(events)).snapshot.progress
    assert first.queue_position == 2
    await client.submit(write_track(music / "h.wav", 0.5, seed=9), job_id="high", priority=HIGH)
    await client.cancel("two")
    places = [first.queue_position]
    async for event in events:
        if event.HasField("progress") and event.progress.queue_position != places[-1]:
            places.append(event.progress.queue_position)
        if places[-1] == 1:
            break
    assert places == [2, 1]
    server.device.open()
    await client.succeeded("three")


async def test_segments_come_from_the_playhead_on_and_then_from_the_start(
    server: Server, music: Path
) -> None:
    client = server.client
    server.device.close()
    await client.submit(write_track(music / "a.wav", 5.0), job_id="a", wanted=options(playhead=3.2))
    events = asyncio.create_task(client.events("a"))
    server.device.open()
    ranges = ready_ranges(await events)
    assert ranges[0][0] <= 3.2 * RATE < ranges[0][1]
    before = [r for r in ranges if r[1] <= 3.2 * RATE]
    after = [r for r in ranges if r[0] >= ranges[0][0]]
    assert ranges.index(after[-1]) < ranges.index(before[0])
    assert all(a <= b for a, b in pairwise(after))
    assert all(a <= b for a, b in pairwise(before))


async def test_a_seek_reorders_what_is_left(server: Server, music: Path) -> None:
    client = server.client
    server.device.close()
    await client.submit(write_track(music / "a.wav", 8.0), job_id="a")
    events = asyncio.create_task(client.events("a"))
    async with client.stream("a", follow=True, credit_bytes=1 << 24) as session:
        await session.next_of("info")
        server.device.allow(3)
        await server.device.passed_at_least(3)
        await server.device.someone_waits()
        await session.seek(1, 6 * RATE)
        assert (await session.next_of("seek_applied")).start_frame == 6 * RATE
        await session.next_of("not_ready")
        server.device.open()
        chunk = await session.next_of("chunk")
        assert (chunk.generation, chunk.start_frame) == (1, 6 * RATE)
    ranges = ready_ranges(await events)
    at_seek = next(i for i, (start, end) in enumerate(ranges) if start <= 6 * RATE < end)
    # Three segments and the one at work were before the seek, one more may share its frames.
    assert at_seek <= 5
    skipped = [r for r in ranges[at_seek + 1 :] if r[1] <= 6 * RATE]
    assert skipped
    assert sum(end - start for start, end in ranges) == 8 * RATE


async def test_a_new_playhead_by_update_reorders_what_is_left(server: Server, music: Path) -> None:
    client = server.client
    server.device.close()
    await client.submit(write_track(music / "a.wav", 8.0), job_id="a")
    events = asyncio.create_task(client.events("a"))
    await server.device.someone_waits()
    job = await client.update("a", playhead=6.0)
    assert job.options.stems.playhead.seconds == 6
    refusal = await refused(client.update("a", playhead=8.0))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "PLAYHEAD_BEYOND_END")
    refusal = await refused(client.update("a", playhead=-1.0))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", "playhead")
    server.device.open()
    ranges = ready_ranges(await events)
    # The segment at work, and the two that share frame 6 s.
    assert next(i for i, (start, end) in enumerate(ranges) if start <= 6 * RATE < end) <= 2
    refusal = await refused(client.update("a", playhead=1.0))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "JOB_NOT_READY")


async def test_a_playhead_too_late_for_a_job_that_is_not_decoded_does_not_end_it(
    server: Server, music: Path
) -> None:
    """Only the decoder knows how long the track is, and the job is not to blame."""
    client = server.client
    server.hold_decoders()
    await client.submit(write_track(music / "a.wav", 1.0), job_id="a")
    await client.update("a", playhead=50.0)
    server.release_decoders()
    await client.succeeded("a")


async def test_two_players_of_one_job_are_both_served_first(server: Server, music: Path) -> None:
    client = server.client
    server.device.close()
    await client.submit(write_track(music / "a.wav", 8.0), job_id="a")
    events = asyncio.create_task(client.events("a"))
    async with (
        client.stream("a", follow=True, start_frame=3 * RATE) as one,
        client.stream("a", follow=True, start_frame=6 * RATE) as two,
    ):
        await asyncio.gather(one.next_of("not_ready"), two.next_of("not_ready"))
        server.device.open()
        first, second = await asyncio.gather(one.next_of("chunk"), two.next_of("chunk"))
        assert (first.start_frame, second.start_frame) == (3 * RATE, 6 * RATE)
    ranges = ready_ranges(await asyncio.wait_for(events, PATIENCE))
    early = max(next(i for i, (s, e) in enumerate(ranges) if s <= at * RATE < e) for at in (3, 6))
    assert early <= 6

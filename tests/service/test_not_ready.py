"""Why a player waits, and until when; and that it never gets another run's audio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mismo.analysis.v1 import transfer_service_pb2 as pb
from tests.service.conftest import Server, StartServer
from tests.service.test_rude_clients import half_done
from tests.support.calls import HIGH, drained, refused
from tests.support.tracks import RATE, write_track

QUEUED = pb.NOT_READY_REASON_QUEUED
DECODING = pb.NOT_READY_REASON_DECODING
SEPARATING = pb.NOT_READY_REASON_SEPARATING
WAITING = pb.NOT_READY_REASON_WAITING_FOR_DEVICE


async def until_reason(session: Any, reason: pb.NotReadyReason) -> pb.NotReady:
    """The next NotReady with that reason; others may come before it."""
    while True:
        waits: pb.NotReady = await session.next_of("not_ready")
        if waits.reason == reason:
            return waits


async def test_a_job_that_waits_for_its_turn_is_queued_then_decoded_then_separated(
    start: StartServer, music: Path
) -> None:
    server = await start(max_concurrent_jobs=1)
    server.device.close()
    await server.client.submit(write_track(music / "a.wav", 0.4, seed=1), job_id="first")
    await server.client.submit(write_track(music / "b.wav", 2.0, seed=2), job_id="second")
    await server.device.someone_waits()
    async with server.client.stream("second", generation=7) as session:
        waits = await session.next_of("not_ready")
        assert (waits.reason, waits.generation, waits.HasField("range")) == (QUEUED, 7, False)
        server.hold_decoders()
        server.device.open()
        await server.client.succeeded("first")
        waits = await until_reason(session, DECODING)
        assert not waits.HasField("range")
        assert not waits.HasField("expected_in")
        server.device.close()
        server.release_decoders()
        info = await session.next_of("info")
        waits = await until_reason(session, SEPARATING)
        assert (waits.range.start_frame, waits.range.end_frame) == (0, info.total_frames)
        # A segment of the first job was measured.
        assert waits.HasField("expected_in")
        server.device.open()
        await session.next_of("chunk")
    await server.client.succeeded("second")
    assert info.segment_frames == RATE // 2
    assert (await server.client.play("second")).info.segment_frames == info.segment_frames
    await server.nothing_is_held()


async def test_a_player_far_ahead_waits_for_the_device_and_then_for_its_segment(
    server: Server, music: Path
) -> None:
    job_id = await half_done(server, music)
    ahead = 4 * RATE
    async with server.client.stream(job_id, follow=True, start_frame=ahead) as session:
        waits = await session.next_of("not_ready")
        assert waits.reason == WAITING
        assert waits.range.start_frame == ahead
        assert waits.range.end_frame == 6 * RATE
        assert waits.HasField("expected_in")
        # The one that stands at the gate, and then that of the player.
        server.device.allow(1)
        assert (await until_reason(session, SEPARATING)).range.start_frame == ahead
        server.device.open()
        assert (await session.next_of("chunk")).start_frame == ahead
    await server.client.succeeded(job_id)


async def test_a_more_urgent_job_is_part_of_what_is_expected(server: Server, music: Path) -> None:
    job_id = await half_done(server, music)
    async with server.client.stream(job_id, start_frame=5 * RATE) as session:
        alone = (await session.next_of("not_ready")).expected_in.ToNanoseconds()
    await server.client.submit(write_track(music / "b.wav", 5.0, seed=2), job_id="urgent", priority=HIGH)
    async with server.client.stream("urgent") as urgent:
        await urgent.next_of("info")
    async with server.client.stream(job_id, start_frame=5 * RATE) as session:
        behind = (await session.next_of("not_ready")).expected_in.ToNanoseconds()
    assert behind > alone > 0
    server.device.open()
    await server.client.succeeded(job_id)
    await server.client.succeeded("urgent")


async def test_a_resume_never_splices_two_runs(server: Server, music: Path) -> None:
    """The same job_id with another track of equal length: all but the run_id of its StreamInfo is the same."""
    client = server.client
    await client.submit(write_track(music / "a.wav", 1.0, seed=1), job_id="job")
    await client.succeeded("job")
    async with client.stream("job") as session:
        before = await session.next_of("info")
    assert before.run_id == (await client.get("job")).run_id
    await client.submit(write_track(music / "b.wav", 1.0, seed=2), job_id="job")
    await client.succeeded("job")
    async with client.stream("job") as session:
        after = await session.next_of("info")
    assert after.run_id != before.run_id
    after.run_id = before.run_id
    assert after == before

    now = (await client.get("job")).run_id
    async with client.stream("job", expected_run_id=before.run_id, start_frame=500) as session:
        refusal = await refused(session.next_of("chunk"))
    reading = pb.ReadStemRequest(job_id="job", stem_name="bass", expected_run_id=before.run_id)
    for each in (refusal, await refused(drained(client.transfer.ReadStem(reading)))):
        assert (each.code, each.reason) == ("FAILED_PRECONDITION", "RUN_REPLACED")
        assert each.metadata["expected_run_id"] == before.run_id
        assert each.metadata["run_id"] == now
    assert (await client.play("job", expected_run_id=now)).info.run_id == now
    await server.nothing_is_held()


async def test_a_run_that_is_replaced_while_it_is_played_ends_as_it_began(
    server: Server, music: Path
) -> None:
    client = server.client
    await client.submit(write_track(music / "a.wav", 1.0, seed=1), job_id="job")
    await client.succeeded("job")
    whole = (await client.play("job")).stems
    async with client.stream("job", credit_bytes=20_000) as session:
        info = await session.next_of("info")
        await client.submit(write_track(music / "b.wav", 1.0, seed=2), job_id="job")
        await client.succeeded("job")
        await session.credit(1 << 20)
        data = b""
        while (message := await session.next()).WhichOneof("message") != "end":
            if message.HasField("chunk") and message.chunk.stem_index == 0:
                data += message.chunk.data
    assert data == whole[0]
    assert info.run_id != (await client.get("job")).run_id

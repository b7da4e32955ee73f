"""Stems arrive whole and in place, whatever happens to the stream."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib

import grpc
import pytest

from mismo_client import (
    AsyncClient,
    ClientOptions,
    MismoRpcError,
    RetryPolicy,
    StemPlayer,
    StreamCorruptError,
)
from tests.unit.client.peer import Peer
from tests.unit.client.peer_status import rich_error
from tests.unit.client.peer_stream import FRAME_BYTES, StreamFault
from tests.unit.client.peer_transfer import JOB_ID, STEM_NAMES

CHUNK = 8192


async def collect(player: StemPlayer, frames: int, start: int = 0) -> dict[str, bytes]:
    """What was delivered, placed by its frames; fails if any frame came twice."""
    whole = {name: bytearray(frames * FRAME_BYTES) for name in STEM_NAMES}
    seen: dict[str, int] = dict.fromkeys(STEM_NAMES, start)
    async for chunk in player:
        assert chunk.start_frame == seen[chunk.stem_name], "a frame came twice or never"
        seen[chunk.stem_name] += chunk.frame_count
        assert len(chunk.data) == chunk.frame_count * FRAME_BYTES
        begin = chunk.start_frame * FRAME_BYTES
        whole[chunk.stem_name][begin : begin + len(chunk.data)] = chunk.data
    return {name: bytes(samples) for name, samples in whole.items()}


async def test_all_stems_arrive_sample_for_sample_with_their_checksums(
    peer: Peer, client: AsyncClient
) -> None:
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK) as player:
        form = await player.format()
        assert (form.stem_names, form.total_frames, form.frame_bytes) == (STEM_NAMES, peer.total_frames, 4)
        assert await collect(player, peer.total_frames) == peer.stems
        assert player.stem_sha256 == {
            name: hashlib.sha256(samples).hexdigest() for name, samples in peer.stems.items()
        }
    assert peer.streams[0].half_closed, "a stream that ended well is closed well"


BREAKS = {
    "before the first chunk": StreamFault(break_after=0),
    "in the middle": StreamFault(break_after=7),
    "an end that is none": StreamFault(end_early_after=5),
    "a server that restarts": StreamFault(restart_after=6),
    "a garbled chunk": StreamFault(corrupt=3),
    "a chunk left out": StreamFault(leave_out=4),
    "all chunks but no end": StreamFault(forget_end=True),
    "a draining server": StreamFault(
        status=rich_error(grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING", "x", retry_delay=0.01)
    ),
    "a server tired of waiting": StreamFault(
        status=rich_error(grpc.StatusCode.DEADLINE_EXCEEDED, "STREAM_IDLE", "credit")
    ),
}


@pytest.mark.parametrize("fault", BREAKS.values(), ids=BREAKS)
async def test_a_broken_stream_goes_on_where_each_stem_stopped(
    peer: Peer, client: AsyncClient, fault: StreamFault
) -> None:
    peer.stream_faults.append(fault)
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK) as player:
        assert await collect(player, peer.total_frames) == peer.stems
    assert not peer.stream_faults
    assert peer.streams


async def test_many_breaks_in_one_track_are_ridden_out_while_audio_arrives(
    peer: Peer, client: AsyncClient
) -> None:
    peer.stream_faults.extend(StreamFault(break_after=2) for _ in range(20))
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK) as player:
        assert await collect(player, peer.total_frames) == peer.stems
    assert len(peer.streams) == 21
    points = {point.stem_name: point.start_frame for point in peer.streams[1].opened.resume_points}
    assert points == {"drums": CHUNK // FRAME_BYTES, "bass": CHUNK // FRAME_BYTES}


async def test_a_stream_that_brings_nothing_is_given_up_after_its_attempts(
    peer: Peer, client: AsyncClient, quick: ClientOptions
) -> None:
    peer.stream_faults.extend(
        StreamFault(status=rich_error(grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING", "x")) for _ in range(50)
    )
    with pytest.raises(MismoRpcError, match="SERVER_DRAINING"):
        await anext(client.stream_stems(JOB_ID))
    assert 50 - len(peer.stream_faults) == quick.call_retry.attempts


async def test_the_error_of_a_failed_job_ends_the_stream_at_once(peer: Peer, client: AsyncClient) -> None:
    status = rich_error(grpc.StatusCode.INTERNAL, "SEPARATION_FAILED", "segment 3 failed", segment="3")
    peer.stream_faults.append(StreamFault(status=status))
    peer.stream_faults.append(StreamFault())
    with pytest.raises(MismoRpcError) as caught:
        await anext(client.stream_stems(JOB_ID))
    assert (caught.value.reason, caught.value.metadata) == ("SEPARATION_FAILED", {"segment": "3"})
    assert len(peer.stream_faults) == 1, "it was not tried again"


async def test_after_a_seek_only_the_new_place_is_heard(peer: Peer, client: AsyncClient) -> None:
    peer.stream_faults.append(StreamFault(stale_after_seek=5))
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK, credit_bytes=1 << 20) as player:
        before = await anext(player)
        assert (before.generation, before.start_frame) == (0, 0)
        await player.seek(20_000)
        after = await collect(player, peer.total_frames, start=20_000)
        assert player.stale_bytes > 0, "the peer did send stale chunks"
        assert player.generation == 1
    for name, samples in peer.stems.items():
        assert after[name][20_000 * FRAME_BYTES :] == samples[20_000 * FRAME_BYTES :]
    assert [(seek.generation, seek.start_frame) for seek in peer.streams[0].seeks] == [(1, 20_000)]


async def test_a_seek_while_a_read_waits_wakes_it_with_the_new_place(peer: Peer, client: AsyncClient) -> None:
    peer.ready_frames = 10_000
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK, start_frame=15_000) as player:
        await player.format()
        reading = asyncio.create_task(anext(player))
        await peer.held_up.wait()
        # The peer, busy waiting for frame 15,000, hears the seek when it becomes ready.
        await player.seek(2_000)
        async with peer.readied:
            peer.ready_frames = peer.total_frames
            peer.readied.notify_all()
        chunk = await reading
    assert (chunk.generation, chunk.start_frame) == (1, 2_000)


async def test_playing_goes_on_with_a_seek_after_the_end(peer: Peer, client: AsyncClient) -> None:
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK, start_frame=25_000) as player:
        back = await collect(player, peer.total_frames, start=25_000)
        await player.seek(0)
        front = await collect(player, peer.total_frames)
    assert front == peer.stems
    assert back["bass"][100_000:] == peer.stems["bass"][100_000:]
    assert len(peer.streams) == 1


async def test_a_seek_survives_the_break_that_follows_it(peer: Peer, client: AsyncClient) -> None:
    peer.stream_faults.append(StreamFault(break_after=2))
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK) as player:
        await anext(player)
        await player.seek(12_000)
        heard = await collect(player, peer.total_frames, start=12_000)
    for name, samples in peer.stems.items():
        assert heard[name][12_000 * FRAME_BYTES :] == samples[12_000 * FRAME_BYTES :]


async def test_a_hundred_seeks_at_once_end_at_the_last(peer: Peer, client: AsyncClient) -> None:
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK) as player:
        await anext(player)
        await asyncio.gather(*(player.seek(frame) for frame in range(1, 101)))
        chunk = await anext(player)
    assert (chunk.start_frame, chunk.generation) == (100, 100)
    generations = [seek.generation for seek in peer.streams[0].seeks]
    assert generations == sorted(set(generations))


async def test_a_read_that_was_given_up_loses_nothing(peer: Peer, client: AsyncClient) -> None:
    peer.ready_frames = 5_000
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK, start_frame=4_000) as player:
        got = bytearray()
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0.2):
                    chunk = await anext(player)
                if chunk.stem_name == "bass":
                    got += chunk.data
        assert player.not_ready is not None
        assert (player.not_ready.start_frame, player.not_ready.end_frame) == (5_000, peer.total_frames)
        async with peer.readied:
            peer.ready_frames = peer.total_frames
            peer.readied.notify_all()
        async for chunk in player:
            if chunk.stem_name == "bass":
                got += chunk.data
    assert bytes(got) == peer.stems["bass"][4_000 * FRAME_BYTES :]


async def test_closing_ends_a_read_that_waits(peer: Peer, client: AsyncClient) -> None:
    peer.ready_frames = 0
    player = client.stream_stems(JOB_ID)
    await player.format()
    reading = asyncio.create_task(anext(player, None))
    await peer.held_up.wait()
    await player.aclose()
    assert await reading is None


async def test_a_stream_that_is_always_corrupt_ends_with_that(peer: Peer) -> None:
    peer.stream_faults.extend(StreamFault(corrupt=0) for _ in range(50))
    options = ClientOptions(stream_retry=RetryPolicy(attempts=3, initial=0.001))
    async with AsyncClient(peer.target, options=options) as client:
        with pytest.raises(StreamCorruptError, match="checksum"):
            await anext(client.stream_stems(JOB_ID))


async def test_one_stem_alone_is_all_that_travels(peer: Peer, client: AsyncClient) -> None:
    async with client.stem(JOB_ID, "vocals") as player:
        samples = b"".join([chunk.data async for chunk in player])
    assert samples == peer.stems["vocals"]
    assert peer.streams[0].sent == len(samples)

"""The server never sends more than was granted, and never waits for credit that was taken."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_client import AsyncClient, AwaitingCredit, Encoding, StemChunk
from mismo_client.transfer.stem_credit import (
    LEAST_BUFFER_FRAMES,
    LEAST_CREDIT_BYTES,
    LEAST_FLAC_CREDIT_BYTES,
    CreditAccount,
    Window,
)
from tests.unit.client.peer import Peer
from tests.unit.client.peer_stream import FRAME_BYTES, LEAST_CHUNK_BYTES, StreamFault
from tests.unit.client.peer_transfer import JOB_ID, STEM_NAMES

CHUNK = 8192
KIB = 1024


async def heard(client: AsyncClient, **options) -> dict[str, bytes]:
    whole: dict[str, bytes] = dict.fromkeys(STEM_NAMES, b"")
    async with client.stream_stems(JOB_ID, **options) as player:
        async for chunk in player:
            whole[chunk.stem_name] += chunk.data
    return whole


async def test_credit_goes_back_as_chunks_are_taken_in_batches_and_never_exceeds_the_window(
    peer: Peer, client: AsyncClient
) -> None:
    assert await heard(client, chunk_bytes=CHUNK, credit_bytes=64 * KIB) == peer.stems
    record = peer.streams[0]
    assert record.most_outstanding <= 64 * KIB
    assert len(record.credits) <= record.sent / (32 * KIB) + 1
    assert all(credit.frames == 0 for credit in record.credits), "frames were not bounded at the open"


async def test_a_consumer_that_pauses_holds_no_more_than_the_window(peer: Peer, client: AsyncClient) -> None:
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK, credit_bytes=32 * KIB) as player:
        await anext(player)
        await client.info()
        record = peer.streams[0]
        assert record.granted == 32 * KIB, "nothing was taken beyond the first chunk"
        assert record.sent <= 32 * KIB


@pytest.mark.parametrize("credit_bytes", [LEAST_CREDIT_BYTES, 16 * KIB, 1 << 20])
@pytest.mark.parametrize("buffer_frames", [None, LEAST_BUFFER_FRAMES, 20_000])
async def test_no_window_stalls_and_chunks_do_not_crumble(
    peer: Peer, client: AsyncClient, credit_bytes: int, buffer_frames: int | None
) -> None:
    bounds = {"credit_bytes": credit_bytes, "buffer_frames": buffer_frames}
    assert await heard(client, chunk_bytes=64 * KIB, **bounds) == peer.stems
    rest = peer.total_frames * FRAME_BYTES % LEAST_CHUNK_BYTES
    assert peer.streams[0].smallest_chunk >= min(rest, LEAST_CHUNK_BYTES)


async def test_a_buffer_of_frames_bounds_how_far_stems_run_ahead(peer: Peer, client: AsyncClient) -> None:
    async with client.stream_stems(JOB_ID, chunk_bytes=4096, buffer_frames=10_000) as player:
        assert (await player.format()).total_frames == peer.total_frames
        events = player.events()
        taken = 0
        async for event in events:
            if isinstance(event, StemChunk):
                taken = min(player.next_frame(name) for name in STEM_NAMES)
                assert max(peer.streams[0].reached.values()) <= taken + 10_000
        assert taken == peer.total_frames
    opened = peer.streams[0].opened
    assert (opened.credit.bytes, opened.credit.frames) == (1 << 20, 10_000)
    assert all(credit.frames for credit in peer.streams[0].credits)


async def test_a_buffer_of_seconds_is_granted_once_the_sample_rate_is_known(
    peer: Peer, client: AsyncClient
) -> None:
    async with client.stream_stems(JOB_ID, chunk_bytes=4096, buffer_seconds=0.5) as player:
        assert sum([chunk.frame_count async for chunk in player]) == 4 * peer.total_frames
    record = peer.streams[0]
    assert record.opened.credit.frames == LEAST_BUFFER_FRAMES
    assert record.credits[0].frames == 22_050 - LEAST_BUFFER_FRAMES


async def test_a_resumed_stream_bounds_frames_from_where_the_slowest_stem_stands(
    peer: Peer, client: AsyncClient
) -> None:
    peer.stream_faults.append(StreamFault(break_after=7))
    bounds = {"credit_bytes": 64 * KIB, "buffer_frames": 9_000}
    assert await heard(client, chunk_bytes=CHUNK, **bounds) == peer.stems
    assert [stream.opened.credit.frames for stream in peer.streams] == [9_000, 9_000]


async def test_events_tell_that_the_server_waits_for_credit(peer: Peer, client: AsyncClient) -> None:
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK, buffer_frames=8_192) as player:
        events = player.events()
        await anext(events)
        while peer.streams[0].sent < 4 * 8_192 * FRAME_BYTES:
            await client.info()
        waits = [event async for event in events if isinstance(event, AwaitingCredit)]
    assert waits
    assert all(wait.missing_frames > 0 and wait.missing_bytes == 0 for wait in waits)


async def test_a_seek_brings_credit_for_the_audio_after_it(peer: Peer, client: AsyncClient) -> None:
    async with client.stream_stems(
        JOB_ID, chunk_bytes=CHUNK, credit_bytes=16 * KIB, buffer_frames=9_000
    ) as player:
        await anext(player)
        await client.info()
        # All credit is used up, and nothing of it was given back.
        assert peer.streams[0].sent == 16 * KIB
        await player.seek(20_000)
        chunk = await anext(player)
        assert (chunk.start_frame, chunk.generation) == (20_000, 1)
        (seek,) = peer.streams[0].seeks
        assert (seek.credit.bytes, seek.credit.frames) == (16 * KIB, 9_000)
        assert sum([chunk.frame_count async for chunk in player]) == 4 * 10_000 - chunk.frame_count


async def test_many_seeks_grant_no_more_than_two_windows(peer: Peer, client: AsyncClient) -> None:
    peer.stream_faults.append(StreamFault(stale_after_seek=3))
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK, credit_bytes=64 * KIB) as player:
        for target in range(1, 12):
            await anext(player)
            await asyncio.gather(player.seek(target * 500), player.seek(target * 1_000))
        assert sum([chunk.frame_count async for chunk in player]) == 4 * (peer.total_frames - 11_000)
    assert peer.streams[0].most_outstanding <= 2 * 64 * KIB


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"credit_bytes": 0}, "credit_bytes"),
        ({"credit_bytes": LEAST_CREDIT_BYTES - 1}, str(LEAST_CREDIT_BYTES)),
        (
            {"credit_bytes": LEAST_FLAC_CREDIT_BYTES - 1, "encoding": Encoding.ENCODING_FLAC},
            str(LEAST_FLAC_CREDIT_BYTES),
        ),
        ({"buffer_frames": 100}, "buffer_frames"),
        ({"buffer_seconds": 0.0}, "buffer_seconds"),
        ({"buffer_frames": 10_000, "buffer_seconds": 1.0}, "not both"),
        ({"start_frame": 1, "start_time": 1.0}, "not both"),
    ],
)
def test_a_window_that_would_stall_is_refused(wrong: dict[str, Any], hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        # Refused before the client is looked at.
        AsyncClient.stream_stems(cast("AsyncClient", object()), JOB_ID, **wrong)


def test_frames_are_counted_from_the_start_of_the_flac_frame() -> None:
    account = CreditAccount(Window(buffer_frames=20_000))
    account.open(0)
    account.begun(0, 10_000)
    account.first_chunk(8_192)
    # The server holds frames up to 28,192; a whole buffer behind frame 18,192 ends at 38,192.
    credit = account.due(18_192)
    assert credit is not None
    assert credit.frames == 10_000


CHUNK_BYTES = st.integers(1, 40_000)


@given(
    st.integers(LEAST_CREDIT_BYTES, 200_000),
    st.lists(st.tuples(CHUNK_BYTES, st.booleans()), max_size=60),
)
def test_whatever_comes_at_most_two_windows_are_out_and_one_without_seeks(
    window_bytes: int, story: list[tuple[int, bool]]
) -> None:
    account = CreditAccount(Window(window_bytes))
    out = account.open(0).bytes
    sought = False
    for generation, (size, seeks) in enumerate(story, 1):
        size = min(size, out)
        account.arrived(size)
        out -= size
        if seeks:
            sought = True
            out += account.seek(generation).bytes
        credit = account.due(0)
        out += credit.bytes if credit is not None else 0
        assert out <= window_bytes * (2 if sought else 1)
    # Once all has come, the server holds a whole window again.
    account.arrived(out)
    credit = account.due(0)
    assert credit is not None
    assert credit.bytes == window_bytes


@given(st.integers(LEAST_BUFFER_FRAMES, 500_000), st.lists(st.integers(0, 20_000), max_size=60))
def test_frames_are_granted_up_to_the_buffer_ahead_of_what_was_taken(
    buffer_frames: int, steps: list[int]
) -> None:
    account = CreditAccount(Window(buffer_frames=buffer_frames))
    last = 1_000 + account.open(0).frames
    account.begun(0, 1_000)
    taken = 1_000
    for step in steps:
        taken = min(taken + step, last)
        credit = account.due(taken)
        last += credit.frames if credit is not None else 0
        assert last <= taken + buffer_frames
        assert last - taken >= min(buffer_frames, max(buffer_frames // 2, LEAST_BUFFER_FRAMES))

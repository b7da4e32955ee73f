"""A seek that cannot be done concerns that seek alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mismo_client import AsyncClient, SeekRefused, SeekRefusedError, StemChunk, StemPlayer
from tests.unit.client.peer import Peer
from tests.unit.client.peer_stream import FRAME_BYTES, StreamFault
from tests.unit.client.peer_transfer import JOB_ID, STEM_NAMES

CHUNK = 8192


async def test_a_seek_past_the_end_is_refused_and_the_stream_goes_on(peer: Peer, client: AsyncClient) -> None:
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK) as player:
        await anext(player)
        for beyond in (peer.total_frames, peer.total_frames + 1):
            with pytest.raises(SeekRefusedError, match=r"past the end .* seek to an earlier one"):
                await player.seek(beyond)
        with pytest.raises(SeekRefusedError):
            await player.seek(time=1.0)
        assert player.generation == 0
        rest = sum([chunk.frame_count async for chunk in player])
    assert rest == 4 * peer.total_frames - CHUNK // 4
    assert peer.streams[0].seeks == []


async def test_a_seek_by_time_lands_on_its_frame(peer: Peer, client: AsyncClient) -> None:
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK) as player:
        await anext(player)
        assert await player.seek(time=0.5) == 1
        assert (await anext(player)).start_frame == 22_050


@pytest.mark.parametrize("wrong", [{"frame": 1, "time": 1.0}, {"frame": -1}, {"time": -1.0}])
async def test_a_seek_that_contradicts_itself_is_refused(
    peer: Peer, client: AsyncClient, wrong: dict[str, Any]
) -> None:
    async with client.stream_stems(JOB_ID) as player:
        with pytest.raises(ValueError, match=r"not both|0 or greater"):
            await player.seek(**wrong)
        assert player.generation == 0


async def opened_early(peer: Peer, client: AsyncClient, **options):
    """A player of a track that is not decoded yet, and its first read."""
    peer.decoded.clear()
    player = client.stream_stems(JOB_ID, chunk_bytes=CHUNK, **options)
    reading = asyncio.create_task(anext(player))
    while not peer.streams:
        await client.info()
    return player, reading


@pytest.mark.parametrize("messages", [3, 1000])
async def test_before_the_length_is_known_the_server_refuses_and_no_frame_is_lost(
    peer: Peer, client: AsyncClient, messages: int
) -> None:
    # The peer sends audio of the place before the seek, some or all, while the refusal is on its way.
    peer.stream_faults.append(StreamFault(stale_after_seek=messages))
    player, reading = await opened_early(peer, client)
    async with player:
        assert await player.seek(time=3600.0) == 1
        peer.decoded.set()
        with pytest.raises(SeekRefusedError) as caught:
            await reading
        assert caught.value.generation == 1
        assert player.stale_bytes > 0
        chunks = [chunk async for chunk in player]
    assert {chunk.generation for chunk in chunks} == {0}
    whole = {name: b"".join(c.data for c in chunks if c.stem_name == name) for name in STEM_NAMES}
    assert whole == peer.stems


async def test_a_refused_seek_returns_to_the_seek_before_it(peer: Peer, client: AsyncClient) -> None:
    player, reading = await opened_early(peer, client)
    async with player:
        await player.seek(1_000)
        await player.seek(time=3600.0)
        peer.decoded.set()
        with pytest.raises(SeekRefusedError):
            await reading
        chunk = await anext(player)
        assert (chunk.generation, chunk.start_frame) == (1, 1_000)
        assert await player.seek(2_000) == 3, "no generation is used twice"
        assert (await anext(player)).start_frame == 2_000


async def test_a_refused_seek_that_a_later_one_replaced_is_not_told(peer: Peer, client: AsyncClient) -> None:
    player, reading = await opened_early(peer, client)
    async with player:
        await player.seek(time=3600.0)
        await player.seek(time=0.5)
        peer.decoded.set()
        chunk = await reading
        assert (chunk.generation, chunk.start_frame) == (2, 22_050)
    assert len(peer.streams) == 1, "the stream went on"


async def test_among_events_a_refused_seek_is_an_event(peer: Peer, client: AsyncClient) -> None:
    peer.decoded.clear()
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK) as player:
        events = player.events()
        reading = asyncio.create_task(anext(events))
        while not peer.streams:
            await client.info()
        await player.seek(10**9)
        peer.decoded.set()
        assert await reading == SeekRefused(1, "past the end")
        assert isinstance(await anext(events), StemChunk)


async def test_a_refusal_that_comes_while_the_form_is_asked_for_is_told_by_the_next_read(
    peer: Peer, client: AsyncClient
) -> None:
    peer.stream_faults.append(StreamFault(break_after=0))
    peer.decoded.clear()
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK) as player:
        asking = asyncio.create_task(player.format())
        while not peer.streams:
            await client.info()
        await player.seek(10**9)
        peer.decoded.set()
        assert (await asking).total_frames == peer.total_frames
        with pytest.raises(SeekRefusedError):
            await anext(player)
        assert (await anext(player)).start_frame == 0


async def decode_behind(peer: Peer, client: AsyncClient, seeks: int) -> None:
    """The track is decoded once so many seeks have come."""
    while len(peer.streams[0].seeks) < seeks:
        await client.info()
    peer.decoded.set()


BOUNDS = [
    {"credit_bytes": 16 * 1024},
    {"credit_bytes": 1 << 20, "buffer_frames": 9_000},
    {"credit_bytes": 16 * 1024, "buffer_seconds": 0.25},
]


async def rest_of(player: StemPlayer) -> dict[str, bytes]:
    """What each stem brings up to its end; the player verifies its SHA-256."""
    chunks = [chunk async for chunk in player]
    return {name: b"".join(c.data for c in chunks if c.stem_name == name) for name in STEM_NAMES}


@pytest.mark.parametrize("bounds", BOUNDS)
async def test_after_refused_seeks_the_same_stream_goes_on_and_does_not_wait_for_their_credit(
    peer: Peer, client: AsyncClient, bounds: dict[str, Any]
) -> None:
    player, reading = await opened_early(peer, client, **bounds)
    async with player:
        await player.seek(time=3600.0)
        await player.seek(time=7200.0)
        await decode_behind(peer, client, 2)
        with pytest.raises(SeekRefusedError):
            await reading
        assert player.generation == 0
        assert await rest_of(player) == peer.stems
    (record,) = peer.streams
    assert record.most_outstanding <= bounds["credit_bytes"]


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("alone", [False, True])
async def test_the_credit_of_refused_seeks_is_not_waited_for_after_a_seek_that_replaced_them(
    peer: Peer, client: AsyncClient, bounds: dict[str, Any], alone: bool
) -> None:
    peer.stream_faults.append(StreamFault(seeks_come_alone=alone))
    player, reading = await opened_early(peer, client, **bounds)
    async with player:
        await player.seek(time=3600.0)
        await player.seek(time=7200.0)
        await player.seek(1_000)
        await decode_behind(peer, client, 3)
        first = await reading
        rest = await rest_of(player)
    rest[first.stem_name] = first.data + rest[first.stem_name]
    assert rest == {name: samples[1_000 * FRAME_BYTES :] for name, samples in peer.stems.items()}
    (record,) = peer.streams
    assert record.most_outstanding <= 2 * bounds["credit_bytes"]


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("alone", [False, True])
async def test_a_seek_that_was_done_before_a_refused_one_keeps_its_frames_and_checksum(
    peer: Peer, client: AsyncClient, bounds: dict[str, Any], alone: bool
) -> None:
    peer.stream_faults.append(StreamFault(seeks_come_alone=alone))
    player, reading = await opened_early(peer, client, **bounds)
    async with player:
        await player.seek(1_000)
        await player.seek(time=3600.0)
        await decode_behind(peer, client, 2)
        with pytest.raises(SeekRefusedError):
            await reading
        assert player.generation == 1
        rest = await rest_of(player)
    assert rest == {name: samples[1_000 * FRAME_BYTES :] for name, samples in peer.stems.items()}
    assert len(peer.streams) == 1


async def test_a_seek_before_the_first_read_is_refused_as_a_seek(peer: Peer, client: AsyncClient) -> None:
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK) as player:
        assert await player.seek(time=3600.0) == 1
        with pytest.raises(SeekRefusedError):
            await anext(player)
        assert await rest_of(player) == peer.stems
    assert peer.streams[0].opened.generation == 0


async def test_a_seek_whose_stream_broke_before_its_answer_is_refused_by_the_next(
    peer: Peer, client: AsyncClient
) -> None:
    peer.stream_faults.append(StreamFault(break_before_info=True))
    player, reading = await opened_early(peer, client)
    async with player:
        await player.seek(time=3600.0)
        await decode_behind(peer, client, 1)
        with pytest.raises(SeekRefusedError):
            await reading
        assert await rest_of(player) == peer.stems
    assert [seek.generation for seek in peer.streams[1].seeks] == [1]

"""A stream belongs to one run of a job, and what it delivered is what the server made."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from mismo_client import (
    AsyncClient,
    AwaitingCredit,
    ChecksumError,
    EndOfStem,
    NotReady,
    NotReadyReason,
    RunReplacedError,
    SeekApplied,
    StemChunk,
    StreamCorruptError,
    StreamEnd,
)
from tests.unit.client.peer import Peer
from tests.unit.client.peer_stream import FRAME_BYTES, StreamFault
from tests.unit.client.peer_transfer import JOB_ID, STEM_NAMES

CHUNK = 8192


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_resumed_stream_never_plays_another_run(
    peer: Peer, client: AsyncClient, refuses: bool
) -> None:
    # Also a server that answers with another run is not believed.
    peer.refuses_other_runs = refuses
    peer.stream_faults.append(StreamFault(break_after=5))
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK) as player:
        for _ in range(5):
            chunk = await anext(player)
            begin = chunk.start_frame * FRAME_BYTES
            assert chunk.data == peer.stems[chunk.stem_name][begin : begin + len(chunk.data)]
        assert player.run_id == "run-1"
        peer.run_again()
        with pytest.raises(RunReplacedError, match="begin again with its newest run") as caught:
            await anext(player)
    assert caught.value.reason == "RUN_REPLACED"


async def test_a_reconnect_expects_the_run_that_the_stream_began_with(
    peer: Peer, client: AsyncClient
) -> None:
    peer.stream_faults.extend([StreamFault(break_after=3), StreamFault(break_after=3)])
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK) as player:
        assert sum([chunk.frame_count async for chunk in player]) == 4 * peer.total_frames
    assert [stream.opened.expected_run_id for stream in peer.streams] == ["", "run-1", "run-1"]


async def test_a_run_can_be_expected_from_the_beginning(peer: Peer, client: AsyncClient) -> None:
    async with client.stem(JOB_ID, "bass", expected_run_id="run-0") as player:
        with pytest.raises(RunReplacedError):
            await player.format()
    async with client.stem(JOB_ID, "bass", expected_run_id="run-1") as player:
        assert (await anext(player)).start_frame == 0


async def test_generations_go_on_over_a_reconnect(peer: Peer, client: AsyncClient) -> None:
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK) as player:
        await anext(player)
        assert await player.seek(1_000) == 1
        await anext(player)
        await peer.restart()
        heard = {chunk.generation async for chunk in player}
        assert heard == {1}
        assert await player.seek(25_000) == 2
        assert (await anext(player)).generation == 2
    first, second = peer.streams
    assert (first.opened.generation, second.opened.generation) == (0, 1)
    assert [seek.generation for seek in second.seeks] == [2]


async def test_the_form_of_one_run_does_not_change(peer: Peer, client: AsyncClient) -> None:
    peer.stream_faults.append(StreamFault(break_after=2))
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK) as player:
        await player.format()
        peer.total_frames -= 1
        with pytest.raises(StreamCorruptError, match="run-1 of job job-1 changed its form"):
            async for _ in player:
                pass


async def test_what_arrived_is_compared_with_the_servers_checksum(peer: Peer, client: AsyncClient) -> None:
    peer.stream_faults.append(StreamFault(wrong_sha256=True))
    async with client.stem(JOB_ID, "bass") as player:
        heard = b"".join([(await anext(player)).data for _ in range(2)])
        with pytest.raises(ChecksumError, match="bass of job job-1 from frame 0 on") as caught:
            await anext(player)
    assert heard == peer.stems["bass"]
    assert caught.value.received == hashlib.sha256(heard).hexdigest() != caught.value.expected
    assert len(peer.streams) == 1, "the server would send the same again"


async def test_checksums_hold_by_stem_generation_and_connection_also_of_a_running_job(
    peer: Peer, client: AsyncClient
) -> None:
    peer.finished = False
    peer.stream_faults.append(StreamFault(break_after=6, stale_after_seek=2))
    ends: list[EndOfStem] = []
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK) as player:
        await anext(player)
        await player.seek(3_000)
        ends += [event async for event in player.events() if isinstance(event, EndOfStem)]
        await player.seek(20_000)
        ends += [event async for event in player.events() if isinstance(event, EndOfStem)]
        assert player.stem_sha256 == {}
    assert len(peer.streams) == 2
    assert [end.generation for end in ends] == [1] * 4 + [2] * 4
    for end in ends:
        rest = peer.stems[end.stem_name][end.start_frame * FRAME_BYTES :]
        assert end.sha256 == hashlib.sha256(rest).hexdigest()
        assert end.stem_sha256 == ""


async def test_events_tell_why_audio_is_missing_and_when_it_comes(peer: Peer, client: AsyncClient) -> None:
    peer.ready_frames = 10_000
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK) as player:
        events = player.events()
        while not isinstance(event := await anext(events), NotReady):
            assert isinstance(event, StemChunk | AwaitingCredit)
        assert event == NotReady(
            0, 10_000, peer.total_frames, NotReadyReason.NOT_READY_REASON_SEPARATING, 2.5
        )
        assert player.not_ready == event
        async with peer.readied:
            peer.ready_frames = peer.total_frames
            peer.readied.notify_all()
        kinds = [type(event) async for event in events]
        assert player.not_ready is None
        assert kinds[-1] is StreamEnd
        assert kinds.count(EndOfStem) == len(STEM_NAMES)
        await player.seek(29_000)
        after = [event async for event in player.events()]
        assert after[0] == SeekApplied(1, 29_000)


async def test_a_stream_can_begin_by_time_before_the_track_is_decoded(
    peer: Peer, client: AsyncClient
) -> None:
    peer.decoded.clear()
    async with client.stream_stems(JOB_ID, chunk_bytes=CHUNK, start_time=0.5) as player:
        with pytest.raises(ValueError, match="format"):
            player.next_frame("bass")
        opening = asyncio.create_task(player.format())
        while not peer.streams:
            await client.info()
        peer.decoded.set()
        await opening
        assert player.next_frame("bass") == 22_050
        assert sum([chunk.frame_count async for chunk in player]) == 4 * (peer.total_frames - 22_050)
    assert peer.streams[0].opened.WhichOneof("start") == "start_time"
    assert peer.streams[0].opened.start_time.ToMilliseconds() == 500

"""Seeks: what is stale, which one counts, which are refused."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.audio.flac import BLOCK_FRAMES
from mismo_grpc.errors import StreamProtocolError
from mismo_grpc.streaming.messages import (
    AwaitingCredit,
    Chunk,
    Credit,
    End,
    Info,
    NotReady,
    Open,
    Seek,
    SeekApplied,
    SeekRefused,
    ServerMessage,
)
from mismo_grpc.streaming.positions import TimePosition
from tests.unit.streaming.growing_stems import GrowingStems
from tests.unit.streaming.talking import PLENTY, audio, check_generation, of, session, until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


async def test_a_seek_leaves_at_most_the_granted_credit_of_stale_audio(folder: Path) -> None:
    track = GrowingStems(folder, 100_000)
    stream = session(track.open, Open("track", credit=Credit(16_384), chunk_bytes=4_096))
    async with aclosing(stream.messages()) as messages:
        await until(messages, Chunk)
        stream.on_message(Seek(1, 50_000))
        stream.on_message(Credit(PLENTY))
        stale, message = 0, None
        async for message in messages:
            if isinstance(message, SeekApplied):
                break
            assert isinstance(message, Chunk)
            stale += len(message.data)
        assert message == SeekApplied(1, 50_000)
        assert stale <= 16_384 - 4_096
        chunk = await anext(messages)
        assert isinstance(chunk, Chunk)
        assert (chunk.generation, chunk.sequence, chunk.start_frame) == (1, 0, 50_000)


async def test_seeks_that_pile_up_become_the_newest_one(folder: Path) -> None:
    track = GrowingStems(folder)
    stream = session(track.open, Open("track", credit=Credit(PLENTY)))
    async with aclosing(stream.messages()) as messages:
        await until(messages, Info)
        for generation in range(1, 101):
            stream.on_message(Seek(generation, generation * 10))
        assert await until(messages, SeekApplied) == SeekApplied(100, 1_000)
        chunk = await until(messages, Chunk)
        assert (chunk.generation, chunk.start_frame) == (100, 1_000)


async def test_a_seek_in_flac_goes_to_the_flac_frame_that_holds_it(folder: Path) -> None:
    track = GrowingStems(folder)
    stream = session(track.open, Open("track", encoding=Encoding.FLAC, credit=Credit(PLENTY)))
    async with aclosing(stream.messages()) as messages:
        stream.on_message(Seek(7, BLOCK_FRAMES + 100))
        assert await until(messages, SeekApplied) == SeekApplied(7, BLOCK_FRAMES)
        assert (await until(messages, Chunk)).start_frame == BLOCK_FRAMES


async def test_after_the_end_a_player_may_still_go_back(folder: Path) -> None:
    track = GrowingStems(folder)
    stream = session(track.open, Open("track", credit=Credit(PLENTY)))
    async with aclosing(stream.messages()) as messages:
        assert await until(messages, End) == End(0)
        stream.on_message(Seek(1, 19_000))
        said = [await anext(messages)]
        while not isinstance(said[-1], End):
            said.append(await anext(messages))
        assert audio(of(said, Chunk), 2) == track.pcm("other", start=19_000)
        stream.on_half_close()
        assert [message async for message in messages] == []


async def test_silence_after_the_end_ends_the_session_well(folder: Path) -> None:
    track = GrowingStems(folder)
    stream = session(track.open, Open("track", credit=Credit(PLENTY)), idle_seconds=0.05)
    async with aclosing(stream.messages()) as messages:
        said = [message async for message in messages]
    assert said[-1] == End(0)


async def test_a_seek_past_the_end_is_refused_and_the_stream_goes_on(folder: Path) -> None:
    track = GrowingStems(folder)
    stream = session(track.open, Open("track", credit=Credit(PLENTY, 20_000)))
    said: list[ServerMessage] = []
    async with aclosing(stream.messages()) as messages:
        said.append(await until(messages, Chunk))
        for generation, start in ((1, 20_000), (2, TimePosition(2_500_000_000)), (3, 1 << 50)):
            stream.on_message(Seek(generation, start, Credit(5, 5)))
            refused = await anext(messages)
            assert isinstance(refused, SeekRefused)
            assert refused.generation == generation
            assert "the track ends at 20000" in refused.message
        while not isinstance(said[-1], End):
            said.append(await anext(messages))
        # As before: the frames of the refused seeks are not granted, and all of the track was.
        chunks = of(said, Chunk)
        check_generation(chunks, dict.fromkeys(range(3), 0))
        assert audio(chunks, 0) == track.pcm("drums")
        # Its generation is used up all the same.
        stream.on_message(Seek(3, 0))
        with pytest.raises(StreamProtocolError):
            await anext(messages)


async def test_a_refused_seek_has_granted_nothing_one_that_was_replaced_has(folder: Path) -> None:
    track = GrowingStems(folder, 100_000)
    stream = session(track.open, Open("track"))
    async with aclosing(stream.messages()) as messages:
        await until(messages, AwaitingCredit)
        stream.on_message(Seek(1, 100_000, Credit(9_000)))
        assert isinstance(await anext(messages), SeekRefused)
        stream.on_message(Seek(2, 10, Credit(4_096)))
        stream.on_message(Seek(3, 20, Credit(1_000)))
        assert await anext(messages) == SeekApplied(3, 20)
        assert len((await until(messages, Chunk)).data) == 5_096
        assert await anext(messages) == AwaitingCredit(3, 4_096, 0)


async def test_of_a_flood_of_seeks_the_newest_counts_and_all_bytes_do(folder: Path) -> None:
    track = GrowingStems(folder, 100_000)
    stream = session(track.open, Open("track"))
    for generation in range(1, 1_001):
        stream.on_message(Seek(generation, generation, Credit(64)))
    async with aclosing(stream.messages()) as messages:
        assert await until(messages, SeekApplied) == SeekApplied(1_000, 1_000)
        sent = 0
        while isinstance(message := await anext(messages), Chunk):
            sent += len(message.data)
        assert isinstance(message, AwaitingCredit)
        assert sent + 4_096 - message.missing_bytes == 64_000


async def test_of_seeks_that_pile_up_the_newest_that_can_be_done_is(folder: Path) -> None:
    track = GrowingStems(folder)
    stream = session(track.open, Open("track", credit=Credit(PLENTY, 1_024)))
    async with aclosing(stream.messages()) as messages:
        await until(messages, Chunk)
        stream.on_message(Seek(1, 30_000))
        stream.on_message(Seek(2, 7_000, Credit(0, 1_000)))
        stream.on_message(Seek(3, 20_000, Credit(0, 9_000)))
        stream.on_message(Credit(0, 500))
        said = [await anext(messages) for _ in range(2)]
        assert said[0] == SeekApplied(2, 7_000)
        assert isinstance(said[1], SeekRefused)
        assert said[1].generation == 3
        # Granted while the refused seek was the newest: it counts for what goes on.
        assert (await until(messages, Chunk)).frame_count == 1_500


async def test_a_time_is_sought_without_knowing_the_rate(folder: Path) -> None:
    track = GrowingStems(folder)
    stream = session(track.open, Open("track", credit=Credit(PLENTY)), Seek(1, TimePosition(2_000_000_000)))
    async with aclosing(stream.messages()) as messages:
        assert await until(messages, SeekApplied) == SeekApplied(1, 16_000)


async def test_a_seek_ends_the_wait_for_audio_that_is_not_ready(folder: Path) -> None:
    track = GrowingStems(folder, ready=[(10_000, 20_000)])
    stream = session(track.open, Open("track", credit=Credit(PLENTY), follow=True))
    async with aclosing(stream.messages()) as messages:
        assert (await until(messages, NotReady)).start_frame == 0
        stream.on_message(Seek(1, 12_000))
        assert await anext(messages) == SeekApplied(1, 12_000)
        assert track.followed == [0, 12_000]
        assert (await until(messages, Chunk)).start_frame == 12_000


async def test_a_seek_to_where_it_waits_already_is_told_to_wait_anew(folder: Path) -> None:
    track = GrowingStems(folder, ready=[])
    stream = session(track.open, Open("track", credit=Credit(PLENTY)))
    async with aclosing(stream.messages()) as messages:
        assert (await until(messages, NotReady)).generation == 0
        stream.on_message(Seek(1, 0))
        assert await anext(messages) == SeekApplied(1, 0)
        waits = await anext(messages)
        assert isinstance(waits, NotReady)
        assert (waits.generation, waits.start_frame) == (1, 0)


async def test_a_seek_does_not_wait_for_what_is_read_for_nothing_and_the_end_does(folder: Path) -> None:
    track = GrowingStems(folder, 400_000)
    track.reader.hold_from = 300_000
    stream = session(track.open, Open("track", credit=Credit(PLENTY), start=200_000))
    async with aclosing(stream.messages()) as messages:
        # The block that is read ahead stands still; nobody needs it any more.
        while not track.reader.held:
            await until(messages, Chunk)
            await asyncio.sleep(0)  # The read begins in a task of its own.
        stream.on_message(Seek(1, 1_000))
        assert await until(messages, SeekApplied) == SeekApplied(1, 1_000)
        assert (await until(messages, Chunk)).start_frame == 1_000
        ending = asyncio.ensure_future(messages.aclose())
        await asyncio.wait([ending], timeout=0.02)
        assert (track.readers, ending.done()) == (1, False)
        track.reader.release.set()
        await ending
    assert track.readers == 0


async def test_the_files_stay_open_for_a_read_even_if_the_stream_is_cancelled_while_it_ends(
    folder: Path,
) -> None:
    track = GrowingStems(folder, 400_000)
    track.reader.hold_from = 0
    stream = session(track.open, Open("track", credit=Credit(PLENTY)))

    async def play() -> None:
        async with aclosing(stream.messages()) as messages:
            await until(messages, Chunk)

    playing = asyncio.ensure_future(play())
    await track.reader.holding.wait()
    # As by a client that leaves, and then by a server that shuts down.
    for _ in range(3):
        playing.cancel()
        await asyncio.wait([playing], timeout=0.02)
        assert (track.readers, playing.done()) == (1, False)
    track.reader.release.set()
    await asyncio.wait([playing])
    assert (playing.cancelled(), track.readers) == (True, 0)

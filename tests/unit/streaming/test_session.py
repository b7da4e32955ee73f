"""The stream session by its rules: credits, interleaving by time, seeks, waiting, and how it ends."""

from __future__ import annotations

import asyncio
import io
import itertools
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import av
import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.audio.flac import BLOCK_FRAMES
from mismo_grpc.errors import (
    InvalidFieldError,
    JobFailedError,
    JobNotReadyError,
    MismoError,
    SeparationFailedError,
    StemNotFoundError,
    StreamIdleError,
    StreamProtocolError,
)
from mismo_grpc.jobs.job import JobState
from mismo_grpc.streaming.interleaver import BLOCK_BYTES
from mismo_grpc.streaming.messages import (
    Chunk,
    ClientMessage,
    Credit,
    End,
    EndOfStem,
    Info,
    NotReady,
    Open,
    ResumePoint,
    Seek,
    SeekApplied,
    ServerMessage,
)
from mismo_grpc.streaming.reader import StemReader
from mismo_grpc.streaming.session import StemStream
from mismo_grpc.streaming.stream_control import MAX_CREDIT_BYTES
from tests.unit.streaming.growing_stems import STEMS, GrowingStems

Kind = TypeVar("Kind", bound=ServerMessage)

PLENTY = 1 << 30
FRAME = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def session(
    open_stems: Callable[[str], AbstractAsyncContextManager[StemReader]],
    *said: ClientMessage,
    idle_seconds: float = 30.0,
    keepalive_seconds: float = 30.0,
) -> StemStream:
    stream = StemStream(
        open_stems, server_epoch="epoch", idle_seconds=idle_seconds, keepalive_seconds=keepalive_seconds
    )
    for message in said:
        stream.on_message(message)
    return stream


async def all_of(stream: StemStream) -> list[ServerMessage]:
    """Everything up to the end of a session whose client has closed its side."""
    stream.on_half_close()
    async with aclosing(stream.messages()) as messages:
        return [message async for message in messages]


async def until(messages: AsyncIterator[ServerMessage], kind: type[Kind]) -> Kind:
    """The next message of a kind."""
    async for message in messages:
        if isinstance(message, kind):
            return message
    raise AssertionError(f"the session ended without {kind.__name__}")


def of(said: list[ServerMessage], kind: type[Kind]) -> list[Kind]:
    return [message for message in said if isinstance(message, kind)]


def audio(chunks: list[Chunk], place: int) -> bytes:
    """One stem's payload; fails where its chunks do not touch."""
    mine = [chunk for chunk in chunks if chunk.stem_index == place]
    for before, after in itertools.pairwise(mine):
        assert after.start_frame == before.start_frame + before.frame_count
    return b"".join(chunk.data for chunk in mine)


def check_generation(chunks: list[Chunk], starts: dict[int, int]) -> None:
    """Sequence from 0, checksums, and always the stem that is furthest behind."""
    cursors = dict(starts)
    for sequence, chunk in enumerate(chunks):
        assert chunk.sequence == sequence
        assert chunk.crc32c == google_crc32c.value(chunk.data)
        assert chunk.start_frame == cursors[chunk.stem_index] == min(cursors.values())
        cursors[chunk.stem_index] += chunk.frame_count


async def test_the_end_of_a_stem_waits_for_the_checksum_of_a_job_that_is_being_finished(folder: Path) -> None:
    track = GrowingStems(folder, ends_itself=False)
    stream = session(track.open, Open("track", credit_bytes=PLENTY))
    async with aclosing(stream.messages()) as messages:
        while (await until(messages, Chunk)).stem_index != 2:
            pass
        ending = asyncio.ensure_future(until(messages, EndOfStem))
        await asyncio.wait([ending], timeout=0.05)
        assert not ending.done()
        track.sha256s = ("aa", "bb", "cc")
        track.end(JobState.SUCCEEDED)
        assert (await ending).sha256 == "aa"


async def test_a_seek_is_heard_while_the_checksum_is_waited_for(folder: Path) -> None:
    track = GrowingStems(folder, ends_itself=False)
    stream = session(track.open, Open("track", credit_bytes=PLENTY, start_frame=19_999))
    async with aclosing(stream.messages()) as messages:
        while (await until(messages, Chunk)).stem_index != 2:
            pass
        ending = asyncio.ensure_future(until(messages, SeekApplied))
        await asyncio.wait([ending], timeout=0.05)
        stream.on_message(Seek(1, 100))
        assert (await ending).start_frame == 100


async def test_a_finished_job_is_sent_whole_and_interleaved_by_time(folder: Path) -> None:
    track = GrowingStems(folder)
    track.sha256s = ("aa", "bb", "cc")
    said = await all_of(session(track.open, Open("track", credit_bytes=PLENTY, chunk_bytes=4096)))

    assert said[0] == Info(Encoding.PCM_S16LE, STEMS, 20_000, 8_000, 2, b"", "epoch")
    chunks = of(said, Chunk)
    check_generation(chunks, dict.fromkeys(range(3), 0))
    assert all(len(chunk.data) <= 4096 for chunk in chunks)
    for place, name in enumerate(STEMS):
        assert audio(chunks, place) == track.pcm(name)
    ends = of(said, EndOfStem)
    assert [(end.stem_index, end.sha256) for end in ends] == [(0, "aa"), (1, "bb"), (2, "cc")]
    assert said[-1] == End(0)
    assert track.readers == 0


async def test_stems_come_in_the_order_asked(folder: Path) -> None:
    track = GrowingStems(folder)
    said = await all_of(session(track.open, Open("track", ("other", "drums"), credit_bytes=PLENTY)))
    assert of(said, Info)[0].stem_names == ("other", "drums")
    assert audio(of(said, Chunk), 0) == track.pcm("other")
    assert audio(of(said, Chunk), 1) == track.pcm("drums")


@pytest.mark.parametrize("stored", [Encoding.PCM_S16LE, Encoding.PCM_S24LE, Encoding.PCM_F32LE])
@pytest.mark.parametrize("wanted", [Encoding.PCM_S16LE, Encoding.PCM_S24LE, Encoding.PCM_F32LE])
async def test_any_pcm_comes_from_any_other(folder: Path, stored: Encoding, wanted: Encoding) -> None:
    track = GrowingStems(folder, encoding=stored)
    said = await all_of(session(track.open, Open("track", encoding=wanted, credit_bytes=PLENTY)))
    assert audio(of(said, Chunk), 1) == track.pcm("bass", wanted)


def decode_flac(content: bytes) -> np.ndarray:
    """Samples [frames, 2] of a FLAC stream."""
    with av.open(io.BytesIO(content), "r") as container:
        return np.concatenate([frame.to_ndarray().reshape(-1, 2) for frame in container.decode(audio=0)])


@pytest.mark.parametrize("start", [0, BLOCK_FRAMES, BLOCK_FRAMES + 1, 19_999])
async def test_flac_is_whole_frames_behind_one_header_and_loses_nothing(folder: Path, start: int) -> None:
    track = GrowingStems(folder)
    opened = Open("track", encoding=Encoding.FLAC, start_frame=start, credit_bytes=PLENTY, chunk_bytes=4096)
    said = await all_of(session(track.open, opened))
    info, chunks = of(said, Info)[0], of(said, Chunk)
    aligned = start - start % BLOCK_FRAMES
    check_generation(chunks, dict.fromkeys(range(3), aligned))
    for place, name in enumerate(STEMS):
        decoded = decode_flac(info.codec_header + audio(chunks, place))
        expected = np.frombuffer(track.pcm(name, start=aligned), "<i2").reshape(-1, 2)
        np.testing.assert_array_equal(decoded, expected)
    for chunk in chunks:
        # Each chunk is decodable by itself: it holds no part of a FLAC frame.
        assert len(decode_flac(info.codec_header + chunk.data)) == chunk.frame_count


async def test_a_flac_frame_waits_until_its_whole_size_is_granted(folder: Path) -> None:
    track = GrowingStems(folder)
    little = Open("track", encoding=Encoding.FLAC, credit_bytes=1_000)
    assert not of(await all_of(session(track.open, little)), Chunk)

    chunks = of(await all_of(session(track.open, little, Credit(20_000))), Chunk)
    assert len(chunks) == 1
    assert 1_000 < len(chunks[0].data) <= 21_000
    assert chunks[0].frame_count == BLOCK_FRAMES


# Credit


Action = tuple[str, int]
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("credit"), st.integers(0, 30_000)),
        st.tuples(st.just("seek"), st.integers(0, 9_000)),
        st.tuples(st.just("take"), st.integers(1, 6)),
        st.tuples(st.just("grow"), st.integers(1, 4)),
    ),
    max_size=25,
)


@given(
    actions=ACTIONS,
    credit=st.integers(0, 40_000),
    chunk_bytes=st.integers(4_096, 20_000),
    encoding=st.sampled_from([Encoding.PCM_S16LE, Encoding.PCM_S24LE, Encoding.FLAC]),
)
def test_no_more_than_the_credit_is_sent_and_the_last_generation_is_whole(
    actions: list[Action], credit: int, chunk_bytes: int, encoding: Encoding
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_play(Path(folder), actions, credit, chunk_bytes, encoding))


async def _play(
    folder: Path, actions: list[Action], credit: int, chunk_bytes: int, encoding: Encoding
) -> None:
    frames = 9_000
    track = GrowingStems(folder, frames, ready=[(0, 1_500)])
    stream = session(
        track.open,
        Open("track", encoding=encoding, chunk_bytes=chunk_bytes, credit_bytes=credit, follow=True),
    )
    granted, sent, generation, ready = credit, 0, 0, 1_500
    said: list[ServerMessage] = []

    def note(message: ServerMessage) -> None:
        nonlocal sent
        said.append(message)
        if isinstance(message, Chunk):
            sent += len(message.data)
            assert sent <= granted
            assert message.start_frame + message.frame_count <= frames

    async with aclosing(stream.messages()) as messages:
        pending: asyncio.Future[ServerMessage] | None = None
        for action, amount in actions:
            if action == "credit":
                granted += amount
                stream.on_message(Credit(amount))
            elif action == "seek":
                generation += 1
                stream.on_message(Seek(generation, amount))
            elif action == "grow" and ready < frames:
                track.grow(ready, min(frames, ready + 1_000 * amount))
                ready = min(frames, ready + 1_000 * amount)
            for _ in range(amount if action == "take" else 0):
                pending = pending or asyncio.ensure_future(anext(messages))
                done, _ = await asyncio.wait([pending], timeout=0.001)
                if done:
                    note(pending.result())
                    pending = None
        track.grow(0, frames)
        granted += PLENTY
        stream.on_message(Credit(PLENTY))
        while not said or said[-1] != End(generation):
            note(await (pending or anext(messages)))
            pending = None
        if pending is not None:
            # A message was asked for after the end, and there is none.
            stream.on_half_close()
            await asyncio.wait([pending])
            assert isinstance(pending.exception(), StopAsyncIteration)

    chunks = [chunk for chunk in of(said, Chunk) if chunk.generation == generation]
    begin = 0
    if generation:
        applied = of(said, SeekApplied)[-1]
        assert applied.generation == generation
        begin = applied.start_frame
    check_generation(chunks, dict.fromkeys(range(3), begin))
    for place, name in enumerate(STEMS):
        if encoding is not Encoding.FLAC:
            assert audio(chunks, place) == track.pcm(name, encoding, begin)
        assert begin + sum(c.frame_count for c in chunks if c.stem_index == place) == frames
    generations = [chunk.generation for chunk in of(said, Chunk)]
    assert generations == sorted(generations)
    assert len([end for end in of(said, EndOfStem) if end.generation == generation]) == 3


async def test_a_chunk_shrinks_to_the_credit_that_is_left(folder: Path) -> None:
    track = GrowingStems(folder)
    said = await all_of(session(track.open, Open("track", credit_bytes=5_002, chunk_bytes=4_096)))
    assert [len(chunk.data) for chunk in of(said, Chunk)] == [4_096, 904]


async def test_a_client_that_closed_its_side_gets_what_it_granted(folder: Path) -> None:
    track = GrowingStems(folder)
    said = await all_of(session(track.open, Open("track", credit_bytes=10_000)))
    assert sum(len(chunk.data) for chunk in of(said, Chunk)) == 10_000
    assert not of(said, End)


async def test_a_client_that_never_grants_credit_is_let_go_of(folder: Path) -> None:
    track = GrowingStems(folder)
    stream = session(track.open, Open("track"), idle_seconds=0.05)
    async with aclosing(stream.messages()) as messages:
        await until(messages, Info)
        with pytest.raises(StreamIdleError) as caught:
            await anext(messages)
    assert caught.value.field == "credit"
    assert track.readers == 0


async def test_a_client_that_says_nothing_at_all_is_let_go_of() -> None:
    stream = session(never, idle_seconds=0.05)
    async with aclosing(stream.messages()) as messages:
        with pytest.raises(StreamIdleError):
            await anext(messages)


async def test_reads_are_bounded_and_small_for_small_credit(folder: Path) -> None:
    track = GrowingStems(folder, 400_000)
    await all_of(session(track.open, Open("track", credit_bytes=PLENTY)))
    assert track.reader.largest_read <= BLOCK_BYTES

    track.reader.largest_read = 0
    await all_of(session(track.open, Open("track", credit_bytes=20_000, chunk_bytes=4_096)))
    assert 0 < track.reader.largest_read <= 20_000


# Seek


async def test_a_seek_leaves_at_most_the_granted_credit_of_stale_audio(folder: Path) -> None:
    track = GrowingStems(folder, 100_000)
    stream = session(track.open, Open("track", credit_bytes=16_384, chunk_bytes=4_096))
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
    stream = session(track.open, Open("track", credit_bytes=PLENTY))
    async with aclosing(stream.messages()) as messages:
        await until(messages, Info)
        for generation in range(1, 101):
            stream.on_message(Seek(generation, generation * 10))
        assert await until(messages, SeekApplied) == SeekApplied(100, 1_000)
        chunk = await until(messages, Chunk)
        assert (chunk.generation, chunk.start_frame) == (100, 1_000)


async def test_a_seek_in_flac_goes_to_the_flac_frame_that_holds_it(folder: Path) -> None:
    track = GrowingStems(folder)
    stream = session(track.open, Open("track", encoding=Encoding.FLAC, credit_bytes=PLENTY))
    async with aclosing(stream.messages()) as messages:
        stream.on_message(Seek(7, BLOCK_FRAMES + 100))
        assert await until(messages, SeekApplied) == SeekApplied(7, BLOCK_FRAMES)
        assert (await until(messages, Chunk)).start_frame == BLOCK_FRAMES


async def test_after_the_end_a_player_may_still_go_back(folder: Path) -> None:
    track = GrowingStems(folder)
    stream = session(track.open, Open("track", credit_bytes=PLENTY))
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
    stream = session(track.open, Open("track", credit_bytes=PLENTY), idle_seconds=0.05)
    async with aclosing(stream.messages()) as messages:
        said = [message async for message in messages]
    assert said[-1] == End(0)


async def test_a_seek_to_the_end_ends_every_stem_at_once(folder: Path) -> None:
    track = GrowingStems(folder)
    stream = session(track.open, Open("track", credit_bytes=PLENTY))
    async with aclosing(stream.messages()) as messages:
        await until(messages, Chunk)
        stream.on_message(Seek(1, 20_000))
        await until(messages, SeekApplied)
        said = [await anext(messages) for _ in range(4)]
    assert said == [EndOfStem(0, 1, ""), EndOfStem(1, 1, ""), EndOfStem(2, 1, ""), End(1)]


async def test_a_seek_ends_the_wait_for_audio_that_is_not_ready(folder: Path) -> None:
    track = GrowingStems(folder, ready=[(10_000, 20_000)])
    stream = session(track.open, Open("track", credit_bytes=PLENTY, follow=True))
    async with aclosing(stream.messages()) as messages:
        assert (await until(messages, NotReady)).start_frame == 0
        stream.on_message(Seek(1, 12_000))
        assert await anext(messages) == SeekApplied(1, 12_000)
        assert track.followed == [0, 12_000]
        assert (await until(messages, Chunk)).start_frame == 12_000


async def test_a_seek_to_where_it_waits_already_is_told_to_wait_anew(folder: Path) -> None:
    track = GrowingStems(folder, ready=[])
    stream = session(track.open, Open("track", credit_bytes=PLENTY))
    async with aclosing(stream.messages()) as messages:
        assert (await until(messages, NotReady)).generation == 0
        stream.on_message(Seek(1, 0))
        assert await anext(messages) == SeekApplied(1, 0)
        waits = await anext(messages)
        assert isinstance(waits, NotReady)
        assert (waits.generation, waits.start_frame) == (1, 0)


# Resume points


async def test_each_stem_goes_on_at_its_own_frame_and_the_last_ones_first(folder: Path) -> None:
    track = GrowingStems(folder)
    points = (ResumePoint("drums", 15_000), ResumePoint("other", 2_000))
    said = await all_of(
        session(track.open, Open("track", start_frame=9_000, credit_bytes=PLENTY, resume_points=points))
    )
    chunks = of(said, Chunk)
    starts = {0: 15_000, 1: 9_000, 2: 2_000}
    check_generation(chunks, starts)
    for place, name in enumerate(STEMS):
        assert audio(chunks, place) == track.pcm(name, start=starts[place])
    # Those that caught up are read together again.
    assert track.reader.stems_read == 3


# Waiting


async def test_not_ready_is_told_at_once_and_again_while_it_lasts(folder: Path) -> None:
    track = GrowingStems(folder, ready=[(0, 1_000)])
    stream = session(track.open, Open("track", ("bass",), credit_bytes=PLENTY), keepalive_seconds=0.01)
    async with aclosing(stream.messages()) as messages:
        chunk = await until(messages, Chunk)
        assert chunk.frame_count == 1_000
        for _ in range(3):
            waits = await anext(messages)
            assert isinstance(waits, NotReady)
            assert waits.start_frame == 1_000
            assert 1_000 < waits.end_frame <= 20_000
        track.grow(1_000, 5_000)
        chunk = await until(messages, Chunk)
        assert (chunk.start_frame, chunk.frame_count) == (1_000, 4_000)


async def test_flac_waits_for_whole_flac_frames(folder: Path) -> None:
    track = GrowingStems(folder, ready=[(0, BLOCK_FRAMES + 10)])
    stream = session(track.open, Open("track", ("bass",), encoding=Encoding.FLAC, credit_bytes=PLENTY))
    async with aclosing(stream.messages()) as messages:
        assert (await until(messages, Chunk)).frame_count == BLOCK_FRAMES
        assert (await until(messages, NotReady)).start_frame == BLOCK_FRAMES + 10
        track.grow(BLOCK_FRAMES + 10, 2 * BLOCK_FRAMES - 1)
        assert (await until(messages, NotReady)).start_frame == 2 * BLOCK_FRAMES - 1
        track.grow(0, 20_000)
        assert (await until(messages, Chunk)).start_frame == BLOCK_FRAMES


@asynccontextmanager
async def never(job_id: str) -> AsyncGenerator[StemReader, None]:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")
    yield


async def test_a_job_that_is_not_decoded_yet_is_not_ready(folder: Path) -> None:
    track = GrowingStems(folder)
    decoded = asyncio.Event()

    @asynccontextmanager
    async def later(job_id: str) -> AsyncGenerator[StemReader, None]:
        await decoded.wait()
        async with track.open(job_id) as reader:
            yield reader

    stream = session(later, Open("track", start_frame=77, credit_bytes=PLENTY), keepalive_seconds=0.01)
    async with aclosing(stream.messages()) as messages:
        assert await anext(messages) == NotReady(0, 77, 77)
        assert await anext(messages) == NotReady(0, 77, 77)
        decoded.set()
        await until(messages, Info)
    assert track.readers == 0


async def test_a_session_closed_while_it_waits_for_the_decode_lets_go() -> None:
    left: list[str] = []

    @asynccontextmanager
    async def held(job_id: str) -> AsyncGenerator[StemReader, None]:
        try:
            await asyncio.Event().wait()
            raise AssertionError("unreachable")
            yield
        finally:
            left.append(job_id)

    stream = session(held, Open("track"))
    async with aclosing(stream.messages()) as messages:
        assert isinstance(await anext(messages), NotReady)
    assert left == ["track"]


# The end of the job


async def test_a_job_that_fails_ends_the_stream_with_its_error_after_what_is_ready(folder: Path) -> None:
    track = GrowingStems(folder, ready=[(0, 1_000)])
    stream = session(track.open, Open("track", ("bass",), credit_bytes=PLENTY))
    async with aclosing(stream.messages()) as messages:
        await until(messages, NotReady)
        track.end(JobState.FAILED, SeparationFailedError("segment 3 failed twice"))
        with pytest.raises(JobFailedError, match="segment 3 failed twice") as caught:
            await anext(messages)
    assert caught.value.form.reason == "SEPARATION_FAILED"
    assert (track.readers, track.players) == (0, set())


async def test_a_cancelled_job_ends_the_stream(folder: Path) -> None:
    track = GrowingStems(folder, ready=[])
    stream = session(track.open, Open("track", credit_bytes=PLENTY))
    async with aclosing(stream.messages()) as messages:
        await until(messages, NotReady)
        track.end(JobState.CANCELLED)
        with pytest.raises(JobNotReadyError):
            await anext(messages)


# The scheduler


async def test_the_scheduler_is_told_where_a_following_player_is(folder: Path) -> None:
    track = GrowingStems(folder, 1_600_000, sample_rate=192_000, ready=[(0, 1_400_000)])
    stream = session(track.open, Open("track", start_frame=100, credit_bytes=PLENTY, follow=True))
    async with aclosing(stream.messages()) as messages:
        await until(messages, NotReady)
        assert track.players
        assert track.followed[0] == 100
        assert track.followed[-1] == 1_400_000
        assert track.followed == sorted(track.followed)
        # One second of audio apart at least, however fast it goes.
        told = track.followed[:-1]
        assert all(after - before >= 192_000 for before, after in itertools.pairwise(told))
        assert len(told) > 3
    assert track.players == set()


async def test_a_player_that_does_not_follow_is_no_business_of_the_scheduler(folder: Path) -> None:
    track = GrowingStems(folder, ready=[(0, 600)])
    stream = session(track.open, Open("track", credit_bytes=PLENTY))
    async with aclosing(stream.messages()) as messages:
        await until(messages, NotReady)
    assert track.followed == []


# Wrong messages


def wrong_messages() -> Iterator[tuple[list[ClientMessage], type[MismoError], str]]:
    yield [Credit(5)], StreamProtocolError, "open"
    yield [Seek(1, 0)], StreamProtocolError, "open"
    yield [], StreamProtocolError, "open"
    yield [Open("t"), Open("t")], StreamProtocolError, "open"
    yield [Open("t", chunk_bytes=4_095)], InvalidFieldError, "open.chunk_bytes"
    yield [Open("t", chunk_bytes=1_048_577)], InvalidFieldError, "open.chunk_bytes"
    yield [Open("t", chunk_bytes=-1)], InvalidFieldError, "open.chunk_bytes"
    yield [Open("t", start_frame=-1)], InvalidFieldError, "open.start_frame"
    yield [Open("t", start_frame=20_001)], InvalidFieldError, "open.start_frame"
    yield [Open("t", credit_bytes=-1)], InvalidFieldError, "open.credit_bytes"
    yield [Open("t", credit_bytes=MAX_CREDIT_BYTES + 1)], StreamProtocolError, "open.credit_bytes"
    yield [Open("t", ("piano",))], StemNotFoundError, "open.stem_names"
    yield [Open("t", ("bass", "bass"))], InvalidFieldError, "open.stem_names"
    yield [Open("t", resume_points=(ResumePoint("piano", 0),))], StemNotFoundError, "open.resume_points"
    yield [Open("t", resume_points=(ResumePoint("bass", 20_001),))], InvalidFieldError, "open.resume_points"
    yield [Open("t", resume_points=(ResumePoint("bass", -1),))], InvalidFieldError, "open.resume_points"
    yield (
        [Open("t", resume_points=(ResumePoint("bass", 0), ResumePoint("bass", 1)))],
        InvalidFieldError,
        "open.resume_points",
    )
    yield (
        [Open("t", ("drums",), resume_points=(ResumePoint("bass", 0),))],
        InvalidFieldError,
        "open.resume_points",
    )
    yield [Open("t"), Credit(-1)], InvalidFieldError, "credit.bytes"
    yield [Open("t", credit_bytes=1), Credit(MAX_CREDIT_BYTES)], StreamProtocolError, "credit.bytes"
    yield [Open("t"), Seek(0, 0)], StreamProtocolError, "seek.generation"
    yield [Open("t"), Seek(2, 0), Seek(2, 5)], StreamProtocolError, "seek.generation"
    yield [Open("t"), Seek(2, 0), Seek(1, 5)], StreamProtocolError, "seek.generation"
    yield [Open("t"), Seek(1, -1)], InvalidFieldError, "seek.start_frame"
    yield [Open("t"), Seek(1, 20_001)], InvalidFieldError, "seek.start_frame"


@pytest.mark.parametrize(("said", "error", "field"), list(wrong_messages()))
async def test_a_wrong_message_ends_the_session_and_names_its_field(
    folder: Path, said: list[ClientMessage], error: type[MismoError], field: str
) -> None:
    track = GrowingStems(folder)
    with pytest.raises(error) as caught:
        await all_of(session(track.open, *said))
    assert type(caught.value) is error
    assert caught.value.field == field
    assert field.split(".")[0] in caught.value.message
    assert track.readers == 0


async def test_start_at_the_end_gives_the_end(folder: Path) -> None:
    track = GrowingStems(folder)
    said = await all_of(session(track.open, Open("track", start_frame=20_000)))
    assert [type(message) for message in said] == [Info, EndOfStem, EndOfStem, EndOfStem, End]

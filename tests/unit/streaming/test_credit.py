"""Credit: bytes and frames are never exceeded, chunks never become bits, and who waits is told what for."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.audio.flac import BLOCK_FRAMES
from mismo_grpc.errors import StreamIdleError
from mismo_grpc.streaming.blocks import MIN_SLICE_BYTES
from mismo_grpc.streaming.interleaver import BLOCK_BYTES
from mismo_grpc.streaming.messages import (
    AwaitingCredit,
    Chunk,
    Credit,
    End,
    EndOfStem,
    Info,
    Open,
    ResumePoint,
    Seek,
    SeekApplied,
    SeekRefused,
    ServerMessage,
)
from tests.unit.streaming.growing_stems import STEMS, GrowingStems
from tests.unit.streaming.talking import PLENTY, all_of, audio, check_generation, of, session, until

PATIENCE = 20.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


async def test_chunks_are_as_large_as_the_credit_allows_but_never_bits(folder: Path) -> None:
    track = GrowingStems(folder)
    said = await all_of(session(track.open, Open("track", credit=Credit(8_192 + 5_000))))
    assert [len(chunk.data) for chunk in of(said, Chunk)] == [8_192, 5_000]

    said = await all_of(session(track.open, Open("track", credit=Credit(8_192 + 4_095))))
    assert [len(chunk.data) for chunk in of(said, Chunk)] == [8_192]
    assert not of(said, End)


async def test_credit_given_back_in_bits_does_not_shrink_the_chunks(folder: Path) -> None:
    track = GrowingStems(folder, 100_000)
    stream = session(track.open, Open("track", credit=Credit(16_384)))
    sizes: list[int] = []
    async with aclosing(stream.messages()) as messages:
        while len(sizes) < 40:
            message = await anext(messages)
            if isinstance(message, AwaitingCredit):
                for _ in range(0, message.missing_bytes, 512):
                    stream.on_message(Credit(512))
            elif isinstance(message, Chunk):
                sizes.append(len(message.data))
    assert min(sizes) >= MIN_SLICE_BYTES


async def test_who_waits_for_credit_is_told_what_is_missing_at_once_and_again(folder: Path) -> None:
    track = GrowingStems(folder)
    opened = Open("track", credit=Credit(100, 700))
    stream = session(track.open, opened, repeat_seconds=0.01)
    async with aclosing(stream.messages()) as messages:
        await until(messages, Info)
        for _ in range(3):
            assert await anext(messages) == AwaitingCredit(0, 3_996, 324)
        stream.on_message(Credit(3_996, 324))
        chunk = await anext(messages)
        assert isinstance(chunk, Chunk)
        assert (len(chunk.data), chunk.frame_count) == (4_096, 1_024)
        # The stem that is furthest behind is another one; frames are of each stem, bytes of all.
        assert await anext(messages) == AwaitingCredit(0, 4_096, 0)


async def test_who_waits_for_credit_is_told_at_once_when_more_is_missing(folder: Path) -> None:
    track = GrowingStems(folder, ready=[(0, 100)])
    stream = session(track.open, Open("track", ("bass",), credit=Credit(0)))
    async with aclosing(stream.messages()) as messages:
        assert await until(messages, AwaitingCredit) == AwaitingCredit(0, 400, 0)
        # The client knows that 20 bytes are missing then.
        stream.on_message(Credit(380))
        more = asyncio.ensure_future(anext(messages))
        assert not (await asyncio.wait([more], timeout=0.01))[0]
        track.grow(100, 140)
        stream.on_message(Credit(4))
        assert await asyncio.wait_for(more, PATIENCE) == AwaitingCredit(0, 176, 0)


async def test_more_frames_than_are_missing_do_not_hide_that_bytes_are(folder: Path) -> None:
    track = GrowingStems(folder, peak=0.0)
    opened = Open("track", ("bass",), encoding=Encoding.FLAC, credit=Credit(20, 1))
    stream = session(track.open, opened)
    async with aclosing(stream.messages()) as messages:
        assert await until(messages, AwaitingCredit) == AwaitingCredit(0, 0, BLOCK_FRAMES - 1)
        stream.on_message(Credit(0, 20_000))
        more = await asyncio.wait_for(anext(messages), PATIENCE)
        assert isinstance(more, AwaitingCredit)
        assert (more.missing_bytes > 0, more.missing_frames) == (True, 0)
        stream.on_message(Credit(more.missing_bytes))
        assert isinstance(await anext(messages), Chunk)


async def test_a_flac_frame_waits_until_all_of_it_is_granted(folder: Path) -> None:
    track = GrowingStems(folder)
    opened = Open("track", encoding=Encoding.FLAC, credit=Credit(1_000, BLOCK_FRAMES - 1))
    stream = session(track.open, opened)
    async with aclosing(stream.messages()) as messages:
        missing = await until(messages, AwaitingCredit)
        assert missing.missing_frames == 1
        stream.on_message(Credit(missing.missing_bytes, 1))
        chunk = await anext(messages)
        assert isinstance(chunk, Chunk)
        assert (len(chunk.data), chunk.frame_count) == (1_000 + missing.missing_bytes, BLOCK_FRAMES)


async def test_the_last_short_flac_frame_fits_by_its_own_length(folder: Path) -> None:
    track = GrowingStems(folder)
    opened = Open("track", encoding=Encoding.FLAC, credit=Credit(PLENTY, 20_000))
    assert (await all_of(session(track.open, opened)))[-1] == End(0)

    opened = Open("track", encoding=Encoding.FLAC, credit=Credit(PLENTY, 19_999))
    said = await all_of(session(track.open, opened))
    assert sum(chunk.frame_count for chunk in of(said, Chunk)) == 3 * 4 * BLOCK_FRAMES


@pytest.mark.parametrize("peak", [0.0, 0.9])
async def test_frames_bound_what_a_player_must_hold_also_for_silence(folder: Path, peak: float) -> None:
    track = GrowingStems(folder, 400_000, peak=peak)
    opened = Open("track", encoding=Encoding.FLAC, start=9_000, credit=Credit(65_536 * 100, 44_100))
    chunks = of(await all_of(session(track.open, opened)), Chunk)
    # From the first frame that is sent, the start of a FLAC frame, in whole FLAC frames.
    whole = 44_100 // BLOCK_FRAMES * BLOCK_FRAMES
    for place in range(len(STEMS)):
        mine = [chunk for chunk in chunks if chunk.stem_index == place]
        assert mine[-1].start_frame + mine[-1].frame_count == 2 * BLOCK_FRAMES + whole


async def test_without_frames_in_open_the_stream_is_limited_by_bytes_alone(folder: Path) -> None:
    track = GrowingStems(folder)
    stream = session(track.open, Open("track", credit=Credit(PLENTY)), Credit(0, 5), Seek(1, 9, Credit(0, 7)))
    assert (await all_of(stream))[-1] == End(1)


async def test_frames_count_from_the_earliest_start_of_any_stem(folder: Path) -> None:
    track = GrowingStems(folder)
    points = (ResumePoint("drums", 9_000), ResumePoint("bass", 2_000), ResumePoint("other", 5_000))
    opened = Open("track", credit=Credit(PLENTY, 4_000), resume_points=points)
    chunks = of(await all_of(session(track.open, opened)), Chunk)
    ends = {chunk.stem_index: chunk.start_frame + chunk.frame_count for chunk in chunks}
    # Of the third stem 1,000 frames are allowed, fewer than the smallest chunk has.
    assert ends == {1: 6_000}


async def test_a_seek_brings_frames_of_its_own(folder: Path) -> None:
    track = GrowingStems(folder, 100_000)
    stream = session(track.open, Open("track", credit=Credit(PLENTY, 50_000)))
    async with aclosing(stream.messages()) as messages:
        await until(messages, Chunk)
        stream.on_message(Seek(1, 20_000, Credit(0, 3_000)))
        stream.on_message(Credit(0, 2_000))
        await until(messages, SeekApplied)
        said: list[ServerMessage] = []
        while not (said and isinstance(said[-1], AwaitingCredit)):
            said.append(await anext(messages))
    assert max(chunk.start_frame + chunk.frame_count for chunk in of(said, Chunk)) == 25_000
    assert said[-1] == AwaitingCredit(1, 0, 1_024)


async def test_a_seek_without_frames_waits_for_them_where_frames_are_limited(folder: Path) -> None:
    track = GrowingStems(folder)
    stream = session(track.open, Open("track", credit=Credit(PLENTY, 20_000)))
    async with aclosing(stream.messages()) as messages:
        await until(messages, Chunk)
        stream.on_message(Seek(1, 5_000))
        await until(messages, SeekApplied)
        assert await anext(messages) == AwaitingCredit(1, 0, 1_024)


async def test_a_paused_player_lives_by_credit_of_nothing(folder: Path) -> None:
    track = GrowingStems(folder)
    now = [0.0]
    stream = session(track.open, Open("track"), idle_seconds=10.0, repeat_seconds=9.0, clock=lambda: now[0])
    async with aclosing(stream.messages()) as messages:
        await until(messages, AwaitingCredit)
        for _ in range(5):
            now[0] += 9.5
            stream.on_message(Credit(0))
            assert isinstance(await anext(messages), AwaitingCredit)
        now[0] += 10.5
        with pytest.raises(StreamIdleError) as caught:
            await anext(messages)
    assert caught.value.field == "credit"


async def test_the_first_chunks_of_a_generation_are_small(folder: Path) -> None:
    track = GrowingStems(folder, 200_000)
    stream = session(track.open, Open("track", credit=Credit(PLENTY)))
    async with aclosing(stream.messages()) as messages:
        for generation in (0, 1):
            sizes = [len((await until(messages, Chunk)).data) for _ in range(18)]
            assert sizes[:9] == [8_192] * 3 + [16_384] * 3 + [32_768] * 3
            assert max(sizes) == 65_536
            stream.on_message(Seek(generation + 1, 1_000))
            await until(messages, SeekApplied)


async def test_no_chunk_is_small_because_a_block_ends(folder: Path) -> None:
    # Blocks of a megabyte over three stems do not hold whole chunks of this size.
    track = GrowingStems(folder, 400_000)
    opened = Open("track", credit=Credit(PLENTY), chunk_bytes=50_000)
    chunks = of(await all_of(session(track.open, opened)), Chunk)
    check_generation(chunks, dict.fromkeys(range(3), 0))
    small = [c for c in chunks if len(c.data) < MIN_SLICE_BYTES]
    assert all(chunk.start_frame + chunk.frame_count == 400_000 for chunk in small)
    assert audio(chunks, 1) == track.pcm("bass")


# Any client


Action = tuple[str, int, int, int]
SOME = st.integers(0, 30_000)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("credit"), st.just(0), SOME, st.integers(0, 9_000)),
        st.tuples(st.just("seek"), st.integers(0, 25_000), SOME, st.integers(0, 9_000)),
        st.tuples(st.just("take"), st.integers(1, 6), st.just(0), st.just(0)),
        st.tuples(st.just("grow"), st.integers(1, 4), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@given(
    actions=ACTIONS,
    credit=st.builds(Credit, st.integers(0, 40_000), st.one_of(st.just(0), st.integers(1, 20_000))),
    chunk_bytes=st.integers(4_096, 20_000),
    encoding=st.sampled_from([Encoding.PCM_S16LE, Encoding.PCM_S24LE, Encoding.FLAC]),
    peak=st.sampled_from([0.0, 0.01, 0.9]),
)
def test_whatever_a_client_grants_and_seeks_the_credit_holds_and_nothing_stalls(
    actions: list[Action], credit: Credit, chunk_bytes: int, encoding: Encoding, peak: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        track = GrowingStems(Path(folder), 20_000, ready=[(0, 1_500)], peak=peak)
        opened = Open("track", encoding=encoding, chunk_bytes=chunk_bytes, credit=credit, follow=True)
        asyncio.run(AnyClient(track, opened).play(actions))


class AnyClient:
    """A client that does what it is told to, and holds the stream to its promises."""

    def __init__(self, track: GrowingStems, opened: Open) -> None:
        self._track = track
        self._opened = opened
        self._frames = track.layout.total_frames
        self._stream = session(track.open, opened, repeat_seconds=0.02)
        self._said: list[ServerMessage] = []
        self._bytes = opened.credit.bytes
        self._granted_frames = {0: opened.credit.frames}
        """By generation; an upper bound: what was granted after a seek may count for an earlier generation too."""
        self._seek_bytes: dict[int, int] = {}
        self._starts = {0: 0}
        self._generation = 0
        self._ready_ends = {1_500, self._frames}
        self._ready = 1_500

    def _grant(self, credit: Credit) -> None:
        self._bytes += credit.bytes
        for generation in self._granted_frames:
            self._granted_frames[generation] += credit.frames
        self._stream.on_message(credit)

    def _act(self, action: str, amount: int, credit: Credit) -> None:
        if action == "credit":
            self._grant(credit)
        elif action == "seek":
            self._generation += 1
            self._bytes += credit.bytes
            self._seek_bytes[self._generation] = credit.bytes
            self._granted_frames[self._generation] = credit.frames
            self._stream.on_message(Seek(self._generation, amount, credit))
        elif action == "grow" and self._ready < self._frames:
            end = min(self._frames, self._ready + 2_000 * amount)
            self._ready_ends.add(end)
            self._track.grow(self._ready, end)
            self._ready = end

    def _note(self, message: ServerMessage) -> None:
        self._said.append(message)
        if isinstance(message, SeekApplied):
            self._starts[message.generation] = message.start_frame
        if isinstance(message, SeekRefused):
            self._starts[message.generation] = -1
            # It has granted nothing.
            self._bytes -= self._seek_bytes[message.generation]
            assert self._bytes >= 0
        if isinstance(message, AwaitingCredit):
            assert message.missing_bytes > 0 or message.missing_frames > 0
        if isinstance(message, Chunk):
            self._check(message)

    def _check(self, chunk: Chunk) -> None:
        self._bytes -= len(chunk.data)
        assert self._bytes >= 0
        end = chunk.start_frame + chunk.frame_count
        if self._opened.credit.frames:
            assert end <= self._starts[chunk.generation] + self._granted_frames[chunk.generation]
        if self._opened.encoding is Encoding.FLAC:
            assert chunk.frame_count % BLOCK_FRAMES == 0 or end == self._frames
            return
        frame_bytes = 4 if self._opened.encoding is Encoding.PCM_S16LE else 6
        floor = min(MIN_SLICE_BYTES, self._opened.chunk_bytes // frame_bytes * frame_bytes)
        assert len(chunk.data) >= floor or end in self._ready_ends

    async def play(self, actions: list[Action]) -> None:
        async with aclosing(self._stream.messages()) as messages:
            pending: asyncio.Future[ServerMessage] | None = None
            for action, amount, granted_bytes, granted_frames in actions:
                self._act(action, amount, Credit(granted_bytes, granted_frames))
                for _ in range(amount if action == "take" else 0):
                    pending = pending or asyncio.ensure_future(anext(messages))
                    if not (await asyncio.wait([pending], timeout=0.001))[0]:
                        break
                    self._note(pending.result())
                    pending = None
            self._track.grow(0, self._frames)
            if pending is not None:
                await asyncio.wait_for(pending, PATIENCE)
                self._note(pending.result())
            await self._to_the_end(messages)
        self._check_last_generation()

    async def _to_the_end(self, messages: AsyncGenerator[ServerMessage, None]) -> None:
        """Grants just what is said to be missing: that must bring a chunk."""
        awaits = False
        while True:
            newest = max(generation for generation, start in self._starts.items() if start >= 0)
            answered = self._generation in self._starts
            if self._said and self._said[-1] == End(newest) and answered:
                return
            message = await asyncio.wait_for(anext(messages), PATIENCE)
            self._note(message)
            if isinstance(message, AwaitingCredit):
                assert not awaits, "what was said to be missing was not enough"
                awaits = True
                self._grant(Credit(message.missing_bytes, message.missing_frames))
            elif isinstance(message, Chunk | SeekApplied):
                awaits = False

    def _check_last_generation(self) -> None:
        generation = max(number for number, start in self._starts.items() if start >= 0)
        begin = self._starts[generation]
        chunks = [chunk for chunk in of(self._said, Chunk) if chunk.generation == generation]
        check_generation(chunks, dict.fromkeys(range(3), begin))
        for place, name in enumerate(STEMS):
            if self._opened.encoding is not Encoding.FLAC:
                assert audio(chunks, place) == self._track.pcm(name, self._opened.encoding, begin)
            assert begin + sum(c.frame_count for c in chunks if c.stem_index == place) == self._frames
        generations = [chunk.generation for chunk in of(self._said, Chunk)]
        assert generations == sorted(generations)
        assert len([end for end in of(self._said, EndOfStem) if end.generation == generation]) == 3


# Ends and bounds


async def test_a_client_that_never_grants_credit_is_let_go_of(folder: Path) -> None:
    track = GrowingStems(folder)
    stream = session(track.open, Open("track"), idle_seconds=0.05)
    async with aclosing(stream.messages()) as messages:
        await until(messages, AwaitingCredit)
        with pytest.raises(StreamIdleError) as caught:
            await anext(messages)
    assert caught.value.field == "credit"
    assert track.readers == 0


async def test_reads_are_bounded_and_small_for_small_credit(folder: Path) -> None:
    track = GrowingStems(folder, 400_000)
    await all_of(session(track.open, Open("track", credit=Credit(PLENTY))))
    assert track.reader.largest_read <= BLOCK_BYTES

    track.reader.largest_read = 0
    await all_of(session(track.open, Open("track", credit=Credit(20_000), chunk_bytes=4_096)))
    assert 0 < track.reader.largest_read <= 20_000

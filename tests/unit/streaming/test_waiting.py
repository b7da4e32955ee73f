"""Waiting for audio that is not final: which, why, until when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.audio.flac import BLOCK_FRAMES
from mismo_grpc.errors import StreamIdleError
from mismo_grpc.streaming.messages import Chunk, Credit, Info, NotReady, NotReadyReason, Open, ResumePoint
from mismo_grpc.streaming.reader import StemReader
from tests.unit.streaming.growing_stems import GrowingStems
from tests.unit.streaming.talking import PLENTY, session, until

QUEUED, DECODING = NotReadyReason.QUEUED, NotReadyReason.DECODING
SEPARATING, WAITING = NotReadyReason.SEPARATING, NotReadyReason.WAITING_FOR_DEVICE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


async def test_the_whole_range_that_is_missing_is_told_at_once_and_again(folder: Path) -> None:
    track = GrowingStems(folder, ready=[(0, 1_000), (7_000, 8_000)])
    track.expected_seconds = 2.5
    stream = session(track.open, Open("track", ("bass",), credit=Credit(PLENTY)), repeat_seconds=0.01)
    async with aclosing(stream.messages()) as messages:
        assert (await until(messages, Chunk)).frame_count == 1_000
        for _ in range(3):
            assert await anext(messages) == NotReady(0, 1_000, 7_000, WAITING, 2.5)
        track.grow(1_000, 5_000)
        chunk = await until(messages, Chunk)
        assert (chunk.start_frame, chunk.frame_count) == (1_000, 4_000)


async def test_it_is_told_again_when_the_reason_or_the_range_changes_and_only_then(folder: Path) -> None:
    track = GrowingStems(folder, ready=[(0, 1_000)])
    stream = session(track.open, Open("track", ("bass",), credit=Credit(PLENTY)))
    async with aclosing(stream.messages()) as messages:
        assert await until(messages, NotReady) == NotReady(0, 1_000, 20_000, WAITING)
        again = asyncio.ensure_future(anext(messages))
        await track.changed.in_vain(1)
        looks = track.changed.looks
        track.changed.notify()
        # Woken, and nothing to tell.
        await track.changed.in_vain(looks + 1)
        track.wait_for(SEPARATING)
        assert await again == NotReady(0, 1_000, 20_000, SEPARATING)
        again = asyncio.ensure_future(anext(messages))
        track.grow(9_000, 10_000)
        assert await again == NotReady(0, 1_000, 9_000, SEPARATING)


async def test_the_range_begins_where_the_stem_furthest_behind_goes_on(folder: Path) -> None:
    track = GrowingStems(folder, ready=[(5_000, 20_000)])
    points = (ResumePoint("drums", 4_000), ResumePoint("bass", 3_000), ResumePoint("other", 9_000))
    stream = session(track.open, Open("track", credit=Credit(PLENTY), resume_points=points))
    async with aclosing(stream.messages()) as messages:
        assert await until(messages, NotReady) == NotReady(0, 3_000, 5_000, WAITING)


async def test_flac_waits_for_whole_flac_frames(folder: Path) -> None:
    track = GrowingStems(folder, ready=[(0, BLOCK_FRAMES + 10)])
    stream = session(track.open, Open("track", ("bass",), encoding=Encoding.FLAC, credit=Credit(PLENTY)))
    async with aclosing(stream.messages()) as messages:
        assert (await until(messages, Chunk)).frame_count == BLOCK_FRAMES
        # The next frame is that of the next FLAC frame, though some of it is final.
        assert await until(messages, NotReady) == NotReady(0, BLOCK_FRAMES, 20_000, WAITING)
        track.grow(BLOCK_FRAMES + 10, 2 * BLOCK_FRAMES - 1)
        track.grow(0, 20_000)
        assert (await until(messages, Chunk)).start_frame == BLOCK_FRAMES


@asynccontextmanager
async def never(
    job_id: str, expected_run_id: str, on_waiting: Callable[[NotReadyReason], None]
) -> AsyncGenerator[StemReader, None]:
    on_waiting(QUEUED)
    await asyncio.Event().wait()
    raise AssertionError("unreachable")
    yield


async def test_before_the_decode_it_is_told_why_again_and_at_once_when_that_changes(folder: Path) -> None:
    track = GrowingStems(folder)
    taken, decoded = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def later(
        job_id: str, expected_run_id: str, on_waiting: Callable[[NotReadyReason], None]
    ) -> AsyncGenerator[StemReader, None]:
        on_waiting(QUEUED)
        await taken.wait()
        on_waiting(DECODING)
        await decoded.wait()
        async with track.open(job_id, expected_run_id, on_waiting) as reader:
            yield reader

    opened = Open("track", start=77, credit=Credit(PLENTY), generation=5)
    stream = session(later, opened, repeat_seconds=0.2)
    async with aclosing(stream.messages()) as messages:
        assert await anext(messages) == NotReady(5, None, None, QUEUED)
        assert await anext(messages) == NotReady(5, None, None, QUEUED)
        taken.set()
        assert await anext(messages) == NotReady(5, None, None, DECODING)
        decoded.set()
        await until(messages, Info)
    assert track.readers == 0


async def test_a_session_closed_while_it_waits_for_the_decode_lets_go() -> None:
    left: list[str] = []

    @asynccontextmanager
    async def held(
        job_id: str, expected_run_id: str, on_waiting: Callable[[NotReadyReason], None]
    ) -> AsyncGenerator[StemReader, None]:
        try:
            async with never(job_id, expected_run_id, on_waiting) as reader:
                yield reader
        finally:
            left.append(job_id)

    stream = session(held, Open("track"))
    async with aclosing(stream.messages()) as messages:
        assert isinstance(await anext(messages), NotReady)
    assert left == ["track"]


async def test_a_client_that_says_nothing_at_all_is_let_go_of() -> None:
    stream = session(never, idle_seconds=0.05)
    async with aclosing(stream.messages()) as messages:
        with pytest.raises(StreamIdleError):
            await anext(messages)

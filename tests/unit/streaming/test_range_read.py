"""Reading one stem: limits, waiting and its errors."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.audio.flac import BLOCK_FRAMES
from mismo_grpc.errors import (
    InvalidFieldError,
    JobFailedError,
    JobNotReadyError,
    MismoError,
    SeparationFailedError,
    StemNotFoundError,
)
from mismo_grpc.jobs.job import JobState
from mismo_grpc.streaming.blocks import AudioSlice
from mismo_grpc.streaming.interleaver import BLOCK_BYTES
from mismo_grpc.streaming.positions import Position, TimePosition, frame_at
from mismo_grpc.streaming.range_read import StemRangeRead
from tests.unit.streaming.growing_stems import GrowingStems


async def all_pieces(reading: StemRangeRead) -> list[AudioSlice]:
    async with aclosing(reading.slices()) as slices:
        return [audio async for audio in slices]


def joined(slices: list[AudioSlice], start: int) -> bytes:
    for audio in slices:
        assert audio.start_frame == start
        start += audio.frame_count
    return b"".join(audio.data for audio in slices)


@pytest.mark.parametrize(
    ("start", "limit", "end"),
    [
        (0, 0, 20_000),
        (123, 4_000, 4_123),
        (19_000, 9_000, 20_000),
        (20_000, 0, 20_000),
        # Where it begins a time is rounded down to a frame, how much it takes up: never to nothing, which is all.
        (TimePosition(1_000_187_499), TimePosition(1), 8_002),
        (TimePosition(2_500_000_000), TimePosition(0), 20_000),
    ],
)
async def test_the_frames_asked_for_come_and_no_others(
    tmp_path: Path, start: Position, limit: Position, end: int
) -> None:
    track = GrowingStems(tmp_path)
    reading = StemRangeRead(
        track.reader, "bass", Encoding.PCM_S24LE, start=start, limit=limit, chunk_bytes=4_096
    )
    slices = await all_pieces(reading)
    assert joined(slices, reading.start_frame) == track.pcm(
        "bass", Encoding.PCM_S24LE, reading.start_frame, end
    )
    assert reading.start_frame == frame_at(start, 8_000)
    assert all(len(audio.data) <= 4_096 for audio in slices)


async def test_flac_gives_the_flac_frames_that_hold_what_is_asked(tmp_path: Path) -> None:
    track = GrowingStems(tmp_path)
    reading = StemRangeRead(track.reader, "bass", Encoding.FLAC, start=BLOCK_FRAMES + 5, limit=BLOCK_FRAMES)
    assert reading.start_frame == BLOCK_FRAMES
    slices = await all_pieces(reading)
    assert sum(audio.frame_count for audio in slices) == 2 * BLOCK_FRAMES
    assert slices[0].start_frame == BLOCK_FRAMES


async def test_reads_are_bounded(tmp_path: Path) -> None:
    track = GrowingStems(tmp_path, 600_000)
    slices = await all_pieces(StemRangeRead(track.reader, "bass", Encoding.PCM_S16LE))
    assert joined(slices, 0) == track.pcm("bass")
    assert track.reader.largest_read <= BLOCK_BYTES


async def test_without_follow_it_stops_where_nothing_is_ready(tmp_path: Path) -> None:
    track = GrowingStems(tmp_path, ready=[(0, 700)])
    async with aclosing(StemRangeRead(track.reader, "bass", Encoding.PCM_S16LE).slices()) as slices:
        assert (await anext(slices)).frame_count == 700
        with pytest.raises(JobNotReadyError) as caught:
            await anext(slices)
    assert caught.value.metadata == {"frame": "700"}
    assert track.followed == []


async def test_with_follow_it_waits_and_tells_the_scheduler(tmp_path: Path) -> None:
    track = GrowingStems(tmp_path, ready=[(0, 700)])
    reading = StemRangeRead(track.reader, "bass", Encoding.PCM_S16LE, follow=True)
    got: list[AudioSlice] = []
    async with aclosing(reading.slices()) as slices:
        got.append(await anext(slices))
        track.grow(700, 20_000)
        got.extend([audio async for audio in slices])
    assert joined(got, 0) == track.pcm("bass")

    late = GrowingStems(tmp_path / "late", ready=[])
    async with aclosing(
        StemRangeRead(late.reader, "bass", Encoding.PCM_S16LE, follow=True).slices()
    ) as slices:
        late.end(JobState.FAILED, SeparationFailedError("no luck"))
        with pytest.raises(JobFailedError, match="no luck"):
            await anext(slices)
    assert late.followed == [0]
    assert late.players == set()


async def test_without_follow_a_failed_job_still_says_why(tmp_path: Path) -> None:
    track = GrowingStems(tmp_path, ready=[])
    track.end(JobState.FAILED, SeparationFailedError("no luck"))
    with pytest.raises(JobFailedError, match="no luck"):
        await all_pieces(StemRangeRead(track.reader, "bass", Encoding.PCM_S16LE))


@pytest.mark.parametrize(
    ("arguments", "error", "field"),
    [
        ({"stem_name": "piano"}, StemNotFoundError, "stem_name"),
        ({"stem_name": ""}, StemNotFoundError, "stem_name"),
        ({"start": -1}, InvalidFieldError, "start_frame"),
        ({"start": TimePosition(-1)}, InvalidFieldError, "start_time"),
        ({"start": TimePosition(3_000_000_000)}, InvalidFieldError, "start_time"),
        ({"start": 20_001}, InvalidFieldError, "start_frame"),
        ({"limit": -1}, InvalidFieldError, "frame_limit"),
        ({"limit": TimePosition(-1)}, InvalidFieldError, "time_limit"),
        ({"chunk_bytes": 10}, InvalidFieldError, "chunk_bytes"),
    ],
)
def test_a_wrong_argument_is_named(
    tmp_path: Path, arguments: dict[str, Any], error: type[MismoError], field: str
) -> None:
    track = GrowingStems(tmp_path)
    with pytest.raises(error) as caught:
        StemRangeRead(track.reader, **{"stem_name": "bass", "encoding": Encoding.PCM_S16LE, **arguments})
    assert caught.value.field == field

"""A growing waveform: every pixel once, as soon as all its frames are final, and in the end that of the samples."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mismo_grpc.audio.encode import Encoding, pcm_s16
from mismo_grpc.audio.peaks import Peaks
from mismo_grpc.broadcast import Broadcast
from mismo_grpc.errors import InvalidFieldError, JobNotReadyError, StemNotFoundError, StreamInterruptedError
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.stems import StemLayout, StemSet
from mismo_grpc.streaming.waveform_reader import (
    MAX_PART_BYTES,
    GrowingWaveform,
    PeakRange,
    PeakSource,
    WaveformReader,
    check_frames_per_pixel,
)
from tests.support.counted_broadcast import PATIENCE, CountedBroadcast

STEMS = ("drums", "bass", "other")
Part = tuple[PeakRange, ...]


class Growing:
    """Real stem files that a test writes piece by piece."""

    def __init__(self, folder: Path, frames: int, *, channels: int = 2) -> None:
        self.layout = StemLayout(STEMS, 8_000, channels, frames, Encoding.PCM_S16LE)
        self.stems = StemSet(folder / "stems", self.layout, folder / "peaks")
        self.stems.resume(RangeSet())
        noise = np.random.default_rng(frames).uniform(-1, 1, (len(STEMS), frames, channels))
        self.samples = noise.astype(np.float32)
        self.changed = CountedBroadcast()
        self.over = False
        self.replaced = False
        assert self.stems.peaks is not None
        self.peaks: PeakSource = self.stems.peaks

    def write(self, start: int, end: int) -> None:
        """As the engine writes what became final."""
        self.stems.write(start, self.samples[:, start:end])
        self.stems.publish([(start, end)])
        self.changed.notify()

    def finish(self) -> None:
        """No more will come."""
        self.over = True
        self.changed.notify()

    def waveform(self) -> GrowingWaveform:
        return GrowingWaveform(
            "track",
            "run",
            self.layout,
            self.peaks,
            lambda: self.stems.ready,
            self.changed,
            lambda: self.over,
            lambda: JobNotReadyError("the job was cancelled"),
            lambda: self.replaced,
        )

    def reader(self, *stem_names: str, frames_per_pixel: int = 256) -> WaveformReader:
        return WaveformReader(self.waveform(), stem_names, frames_per_pixel)

    def expected(self, stem: str, frames_per_pixel: int) -> list[list[int]]:
        """From the samples in the file, pixel by pixel."""
        frames, channels = self.layout.total_frames, self.layout.channels
        stored = self.stems.read(STEMS.index(stem), 0, frames)
        mono = np.trunc(pcm_s16(stored, Encoding.PCM_S16LE, channels).astype(np.int64).mean(axis=1))
        pixels = [mono[at : at + frames_per_pixel] for at in range(0, frames, frames_per_pixel)]
        return [[int(pixel.min()), int(pixel.max())] for pixel in pixels]


class Drawing:
    """Where a client draws what came; fails for a pixel that comes twice."""

    def __init__(self, reader: WaveformReader) -> None:
        self.stems: list[dict[int, list[int]]] = [{} for _ in reader.stem_names]
        self.parts = 0

    def add(self, part: Part) -> None:
        assert sum(len(each.peaks) for each in part) <= MAX_PART_BYTES
        self.parts += 1
        for each in part:
            pairs: npt.NDArray[np.int16] = np.frombuffer(each.peaks, "<i2").reshape(-1, 2)
            for pixel, pair in enumerate(pairs.tolist(), each.start_pixel):
                assert pixel not in self.stems[each.stem_index], "a pixel came twice"
                self.stems[each.stem_index][pixel] = pair

    def whole(self, stem_index: int = 0) -> list[list[int]]:
        drawn = self.stems[stem_index]
        assert sorted(drawn) == list(range(len(drawn)))
        return [drawn[pixel] for pixel in sorted(drawn)]

    def pixels(self, stem_index: int = 0) -> list[tuple[int, int]]:
        return list(RangeSet((pixel, pixel + 1) for pixel in self.stems[stem_index]))


async def drawn(parts: AsyncGenerator[Part], reader: WaveformReader) -> Drawing:
    drawing = Drawing(reader)
    async with aclosing(parts):
        async for part in parts:
            drawing.add(part)
    return drawing


# What is final


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_union_of_growing_answers_is_the_final_waveform(data: st.DataObject) -> None:
    frames = data.draw(st.integers(1, 12_000), "frames")
    size = 256 * data.draw(st.integers(1, 9), "multiple")
    cuts = data.draw(st.lists(st.integers(0, frames), max_size=12), "cuts")
    pieces = data.draw(st.permutations(list(itertools.pairwise(sorted({0, frames, *cuts})))), "pieces")
    asked = data.draw(st.lists(st.sampled_from(STEMS), unique=True), "asked")
    with TemporaryDirectory() as folder:
        growing = Growing(Path(folder), frames, channels=data.draw(st.integers(1, 2)))
        asyncio.run(_grow_and_compare(growing, pieces, asked, size))
        growing.stems.close()


async def _grow_and_compare(
    growing: Growing, pieces: Sequence[tuple[int, int]], asked: Sequence[str], size: int
) -> None:
    reader = growing.reader(*asked, frames_per_pixel=size)
    following = asyncio.ensure_future(drawn(reader.parts(follow=True), reader))
    polled = Drawing(reader)
    seen = RangeSet()
    for start, end in pieces:
        growing.write(start, end)
        ready, final = growing.stems.ready, reader.final()
        for pixel in range(reader.total_pixels):
            whole = ready.covers(pixel * size, min((pixel + 1) * size, growing.layout.total_frames))
            assert (pixel in final) is whole
        fresh = [gap for first, last in final for gap in seen.missing(first, last)]
        async for part in reader.read(fresh):
            polled.add(part)
        seen = seen.union(fresh)
    followed = await following
    assert reader.stem_names == (tuple(asked) or STEMS)
    for index, stem in enumerate(reader.stem_names):
        assert polled.whole(index) == followed.whole(index) == growing.expected(stem, size)


async def test_pixels_that_are_not_final_are_left_out(tmp_path: Path) -> None:
    growing = Growing(tmp_path, 10_000)
    growing.write(100, 1_100)
    growing.write(2_048, 3_072)
    growing.write(9_900, 10_000)
    reader = growing.reader("bass")
    drawing = await drawn(reader.parts(follow=False), reader)
    # The last pixel begins at frame 9984, and has 16 frames.
    assert drawing.pixels() == [(1, 4), (8, 12), (39, 40)]
    expected = growing.expected("bass", 256)
    assert drawing.stems[0] == {pixel: expected[pixel] for pixel in drawing.stems[0]}
    assert growing.reader(frames_per_pixel=4096).final() == RangeSet()
    growing.stems.close()


async def test_one_pixel_may_hold_the_whole_track(tmp_path: Path) -> None:
    growing = Growing(tmp_path, 5_000)
    growing.write(0, 4_999)
    reader = growing.reader(frames_per_pixel=1 << 20)
    assert (reader.total_pixels, reader.final()) == (1, RangeSet())
    growing.write(4_999, 5_000)
    drawing = await drawn(reader.parts(follow=False), reader)
    assert [drawing.whole(index) for index in range(3)] == [growing.expected(stem, 1 << 20) for stem in STEMS]
    growing.stems.close()


async def test_a_long_waveform_comes_in_parts_of_64_kib(tmp_path: Path) -> None:
    growing = Growing(tmp_path, 256 * 9_000, channels=1)
    growing.write(0, 256 * 9_000)
    reader = growing.reader("drums", "other")
    drawing = await drawn(reader.parts(follow=False), reader)
    assert drawing.parts == 2
    assert drawing.whole(1) == growing.expected("other", 256)
    growing.stems.close()


async def test_little_is_read_at_once_however_coarse_the_pixels() -> None:
    asked: list[int] = []

    class Silence:
        """Remembers how many pixels are read at once."""

        def read(self, track: int, first_pixel: int, pixel_count: int) -> Peaks:
            asked.append(pixel_count)
            return np.zeros((pixel_count, 2), np.int16)

    layout = StemLayout(STEMS, 44_100, 2, 256 * 1_000_000, Encoding.PCM_S16LE)
    whole = RangeSet([(0, layout.total_frames)])
    waveform = GrowingWaveform(
        "track",
        "run",
        layout,
        Silence(),
        lambda: whole,
        Broadcast(),
        lambda: True,
        lambda: JobNotReadyError(""),
    )
    reader = WaveformReader(waveform, ["drums"], 256 * 64)
    drawing = await drawn(reader.parts(follow=False), reader)
    assert len(drawing.whole()) == -(-1_000_000 // 64)
    assert max(asked) <= 1 << 18


# Following


async def test_a_slow_reader_gets_what_came_meanwhile_as_one_range(tmp_path: Path) -> None:
    growing = Growing(tmp_path, 256 * 100)
    reader = growing.reader("drums")
    growing.write(0, 256)
    async with aclosing(reader.parts(follow=True)) as parts:
        (first,) = await anext(parts)
        assert (first.start_pixel, len(first.peaks)) == (0, 4)
        for pixel in range(99, 0, -1):
            growing.write(256 * pixel, 256 * (pixel + 1))
        (rest,) = await anext(parts)
        assert (rest.start_pixel, len(rest.peaks)) == (1, 4 * 99)
        with pytest.raises(StopAsyncIteration):
            await anext(parts)
    growing.stems.close()


async def test_a_follower_waits_for_a_whole_pixel(tmp_path: Path) -> None:
    growing = Growing(tmp_path, 1_024)
    reader = growing.reader("drums", frames_per_pixel=512)
    async with aclosing(reader.parts(follow=True)) as parts:
        part = asyncio.ensure_future(anext(parts))
        await growing.changed.in_vain(1)
        growing.write(100, 612)
        # Woken, and nothing for it: it waits again.
        await growing.changed.in_vain(2)
        assert not part.done()
        growing.write(0, 100)
        (each,) = await part
        assert (each.start_pixel, len(each.peaks)) == (0, 4)
    growing.stems.close()


async def test_who_follows_hears_why_the_rest_will_not_come(tmp_path: Path) -> None:
    growing = Growing(tmp_path, 1_000)
    growing.write(0, 600)
    reader = growing.reader("drums")
    drawing = Drawing(reader)
    async with aclosing(reader.parts(follow=True)) as parts:
        drawing.add(await anext(parts))
        rest = asyncio.ensure_future(anext(parts))
        growing.finish()
        with pytest.raises(JobNotReadyError, match="was cancelled"):
            await rest
    assert drawing.pixels() == [(0, 2)]
    # Who does not follow gets what there is.
    assert (await drawn(reader.parts(follow=False), reader)).pixels() == [(0, 2)]
    growing.stems.close()


async def test_who_follows_a_job_that_begins_again_is_told_to_ask_again(tmp_path: Path) -> None:
    growing = Growing(tmp_path, 1_000)
    reader = growing.reader("drums")
    async with aclosing(reader.parts(follow=True)) as parts:
        part = asyncio.ensure_future(anext(parts))
        await growing.changed.in_vain(1)
        growing.replaced = True
        growing.changed.notify()
        with pytest.raises(StreamInterruptedError, match="ask again"):
            await part
    growing.stems.close()


async def test_a_reader_that_leaves_waits_for_its_read(tmp_path: Path) -> None:
    """The files are closed after that, and their numbers may be another file's."""

    class Held:
        """Reads once it may."""

        def __init__(self, peaks: PeakSource) -> None:
            self._peaks = peaks
            self.begun = threading.Event()
            self.may = threading.Event()
            self.done = False

        def read(self, track: int, first_pixel: int, pixel_count: int) -> Peaks:
            self.begun.set()
            assert self.may.wait(PATIENCE)
            peaks = self._peaks.read(track, first_pixel, pixel_count)
            self.done = True
            return peaks

    growing = Growing(tmp_path, 1_000)
    growing.write(0, 1_000)
    growing.peaks = held = Held(growing.peaks)
    reader = growing.reader("drums")
    reading = asyncio.ensure_future(drawn(reader.parts(follow=True), reader))
    await asyncio.to_thread(held.begun.wait, PATIENCE)
    reading.cancel()
    held.may.set()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert held.done
    growing.stems.close()


# What may be asked


@pytest.mark.parametrize("frames_per_pixel", [-256, 1, 255, 300, (1 << 20) + 256])
def test_other_numbers_of_frames_are_refused(frames_per_pixel: int) -> None:
    with pytest.raises(InvalidFieldError, match="multiple of 256 up to 1048576") as refused:
        check_frames_per_pixel(frames_per_pixel)
    assert refused.value.field == "frames_per_pixel"


def test_no_number_of_frames_means_256() -> None:
    assert [check_frames_per_pixel(each) for each in (0, 256, 1 << 20)] == [256, 256, 1 << 20]


def test_stems_that_there_are_not_are_refused(tmp_path: Path) -> None:
    growing = Growing(tmp_path, 1_000)
    with pytest.raises(StemNotFoundError, match="no stem 'flute'"):
        growing.reader("flute")
    with pytest.raises(InvalidFieldError, match="twice"):
        growing.reader("bass", "bass")
    growing.stems.close()

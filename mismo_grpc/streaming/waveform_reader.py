"""Reads the peaks of stems, finished or growing; only pixels whose frames are all final."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mismo_grpc.audio.peaks import FRAMES_PER_PIXEL, Peaks, Waveform
from mismo_grpc.broadcast import Broadcast
from mismo_grpc.completion import run_to_completion
from mismo_grpc.errors import InvalidFieldError, MismoError, StreamInterruptedError
from mismo_grpc.executors import InThread
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.streaming.wire_format import choose_stems

MAX_FRAMES_PER_PIXEL = 1 << 20
PIXEL_BYTES = 4
MAX_PART_BYTES = 64 << 10
"""The most bytes of peaks in one part, of all stems together."""
MAX_READ_PIXELS = 1 << 18
"""The most pixels of the finest level, of all stems together, that are read for one part."""


class PeakSource(Protocol):
    """Peaks of stems at 256 frames per pixel; `audio.peaks.PeakFile` has the peaks of growing stems."""

    def read(self, track: int, first_pixel: int, pixel_count: int, /) -> Peaks:
        """The lowest and highest sample of each pixel, [pixels, 2]; blocks."""
        ...


@dataclass(frozen=True, eq=False)
class GrowingWaveform:
    """The peaks of one run's stems, and the functions that report their growth; used on the event loop only.

    `ready` returns the final frames; `changed` is notified when there are more. `over` says whether no more will come,
    `over_without` gives the error if some are missing then, and `replaced` says whether the job continues in other
    files.
    """

    job_id: str
    run_id: str
    layout: StemLayout
    peaks: PeakSource
    ready: Callable[[], RangeSet]
    changed: Broadcast
    over: Callable[[], bool]
    over_without: Callable[[], MismoError]
    replaced: Callable[[], bool] = lambda: False
    in_thread: InThread = asyncio.to_thread


@dataclass(frozen=True, slots=True)
class PeakRange:
    """Consecutive pixels of one stem; `peaks` has the lowest and highest sample of each, int16 little-endian.

    `stem_index` is the position in the reader's `stem_names`.
    """

    stem_index: int
    start_pixel: int
    peaks: bytes


class WaveformReader:
    """Reads some stems of a waveform at one zoom level; `frames_per_pixel` 0 means 256.

    Raises StemNotFoundError, and InvalidFieldError for a stem that is named twice (`stems_field` is the name of the
    request field) or if `frames_per_pixel` is not a multiple of 256 up to 1048576.
    """

    def __init__(
        self,
        waveform: GrowingWaveform,
        stem_names: Sequence[str],
        frames_per_pixel: int,
        stems_field: str = "stem_names",
    ) -> None:
        layout = waveform.layout
        self.frames_per_pixel = check_frames_per_pixel(frames_per_pixel)
        self._tracks = choose_stems(layout, stem_names, stems_field)
        self.stem_names = tuple(layout.stem_names[track] for track in self._tracks)
        self.total_pixels = -(-layout.total_frames // self.frames_per_pixel)
        self._waveform = waveform
        self._factor = self.frames_per_pixel // FRAMES_PER_PIXEL
        self._finest_pixels = -(-layout.total_frames // FRAMES_PER_PIXEL)
        stems = max(1, len(self._tracks))
        self._part_pixels = max(
            1, min(MAX_PART_BYTES // PIXEL_BYTES, MAX_READ_PIXELS // self._factor) // stems
        )

    def final(self) -> RangeSet:
        """The pixels whose frames are all final. The last pixel may have fewer frames than the others."""
        total_frames = self._waveform.layout.total_frames
        size = self.frames_per_pixel
        return RangeSet(
            (-(-start // size), self.total_pixels if end >= total_frames else end // size)
            for start, end in self._waveform.ready()
        )

    async def parts(self, *, follow: bool) -> AsyncGenerator[tuple[PeakRange, ...]]:
        """The final pixels, each once, in parts of at most 64 KiB of peaks; adjacent pixels form one range.

        With `follow` it continues with pixels that become final, up to the last one; a slow reader gets more of them in
        one part. Raises the job's error if the job ended without some pixels, StreamInterruptedError if it was stopped
        and has begun again.
        """
        waveform, sent = self._waveform, RangeSet()
        if not follow:
            async for part in self.read(self.final()):
                yield part
            return
        while not sent.covers(0, self.total_pixels):
            fresh = [gap for start, end in self.final() for gap in sent.missing(start, end)]
            if fresh:
                ranges = self._first_of(fresh)
                yield await self._part(ranges)
                sent = sent.union(ranges)
            elif waveform.over():
                raise waveform.over_without()
            elif waveform.replaced():
                raise StreamInterruptedError("the job was stopped and has begun again; ask again")
            else:
                await self._news(sent)

    async def _news(self, sent: RangeSet) -> None:
        """Waits until a pixel that is not in `sent` is final, or no more will be."""
        waveform = self._waveform
        await waveform.changed.wait(
            lambda: self.final() != sent or waveform.over() or waveform.replaced(), None
        )

    async def read(self, pixels: Iterable[tuple[int, int]]) -> AsyncGenerator[tuple[PeakRange, ...]]:
        """The peaks of these final pixels, in parts of at most 64 KiB."""
        left = RangeSet(pixels)
        while left:
            ranges = self._first_of(left)
            yield await self._part(ranges)
            for start, end in ranges:
                left = left.remove(start, end)

    def _first_of(self, pixels: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        taken: list[tuple[int, int]] = []
        room = self._part_pixels
        for start, end in pixels:
            count = min(room, end - start)
            if count == 0:
                break
            taken.append((start, start + count))
            room -= count
        return taken

    async def _part(self, ranges: Sequence[tuple[int, int]]) -> tuple[PeakRange, ...]:
        # Completes even if the reader is cancelled, because the files are closed afterwards.
        return await run_to_completion(self._waveform.in_thread(self._read_now, ranges))

    def _read_now(self, ranges: Sequence[tuple[int, int]]) -> tuple[PeakRange, ...]:
        return tuple(
            PeakRange(index, start, self._peaks(track, start, end))
            for start, end in ranges
            for index, track in enumerate(self._tracks)
        )

    def _peaks(self, track: int, start: int, end: int) -> bytes:
        first, last = start * self._factor, min(end * self._factor, self._finest_pixels)
        finest = self._waveform.peaks.read(track, first, last - first)
        rate = self._waveform.layout.sample_rate
        return (
            Waveform(rate, FRAMES_PER_PIXEL, finest).at(self.frames_per_pixel).peaks.astype("<i2").tobytes()
        )


def check_frames_per_pixel(frames_per_pixel: int) -> int:
    """The frames of one pixel; 0 means 256. Raises InvalidFieldError."""
    if frames_per_pixel == 0:
        return FRAMES_PER_PIXEL
    if frames_per_pixel % FRAMES_PER_PIXEL or not 0 < frames_per_pixel <= MAX_FRAMES_PER_PIXEL:
        raise InvalidFieldError(
            f"frames_per_pixel must be 0 or a multiple of {FRAMES_PER_PIXEL} up to {MAX_FRAMES_PER_PIXEL}",
            field="frames_per_pixel",
        )
    return frames_per_pixel

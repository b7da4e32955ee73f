"""The segment grid: how a track is divided into overlapping segments, and which frames they make final.

Equal to `demucs.apply.apply_model` (demucs 4.1.0): segments start every `stride` frames, are weighted by a triangle,
added, and divided by the sum of the weights. With shifts there is one grid for each shift.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mismo_grpc.errors import InvalidFieldError

MAX_SHIFT_SECONDS = 0.5
"""The largest shift of demucs' shift trick, in seconds (`apply_model`)."""
MAX_SEGMENTS = 25_000
"""The most segments of one job, derived from the default longest track, six hours, at overlap 0.25.

mismo_lite has the shortest segments of all known models: 6 s, one every 4.5 s, so 4,800 for one pass over six hours
(htdemucs, 7.8 s: 3,693). The limit allows five such passes, or a song of five minutes with 20 shifts at overlap 0.95,
the largest values of both.
"""


@dataclass(frozen=True)
class Segment:
    """One segment of one grid, the unit of work, in frames of the track; `start` may be negative."""

    index: int
    grid: int
    start: int
    length: int

    @property
    def end(self) -> int:
        """The first frame after the segment."""
        return self.start + self.length


@dataclass(frozen=True)
class Grid:
    """Segments every `stride` frames from `origin` (<= 0) to the end of the track.

    `members` are the bag's models that run on this grid.
    """

    origin: int
    segment_frames: int
    stride: int
    members: tuple[int, ...] = (0,)

    def starts(self, total_frames: int) -> range:
        """The first frames of all segments that contain frames of the track."""
        before = max(0, -(self.origin + self.segment_frames) // self.stride + 1)
        return range(self.origin + before * self.stride, total_frames, self.stride)

    def weight(self, segment: Segment, start: int, end: int) -> npt.NDArray[np.float32]:
        """Returns a segment's triangular weight over frames [start, end), shape [end - start]; its peak is 1."""
        half = self.segment_frames // 2
        at = np.arange(start - segment.start, end - segment.start, dtype=np.int64)
        rising = at + 1
        falling = self.segment_frames - at
        peak = max(half, self.segment_frames - half)
        return (np.where(at < half, rising, falling) / peak).astype(np.float32)


class Plan:
    """All segments of a job. A frame is final when every segment that covers it is done."""

    def __init__(self, total_frames: int, grids: Sequence[Grid]) -> None:
        if total_frames <= 0:
            raise ValueError("a plan needs at least one frame")
        self.total_frames = total_frames
        self.grids = tuple(grids)
        cuts = sorted((start, g) for g, grid in enumerate(self.grids) for start in grid.starts(total_frames))
        self.segments = tuple(
            Segment(i, g, start, min(self.grids[g].segment_frames, total_frames - start))
            for i, (start, g) in enumerate(cuts)
        )

    @cached_property
    def _longest(self) -> int:
        return max(grid.segment_frames for grid in self.grids)

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.array([segment.start for segment in self.segments], dtype=np.int64)

    def covering(self, start: int, end: int) -> list[Segment]:
        """Returns the segments that contain any of the frames [start, end), in index order."""
        low = int(np.searchsorted(self._starts, start - self._longest, side="right"))
        high = int(np.searchsorted(self._starts, end, side="left"))
        return [segment for segment in self.segments[low:high] if segment.end > start]

    def pieces(self, segment: Segment) -> list[tuple[int, int]]:
        """Divides the segment's frames inside the track at every frame where another segment begins or ends."""
        low, high = max(0, segment.start), min(self.total_frames, segment.end)
        edges = {low, high}
        for other in self.covering(low, high):
            edges.update(edge for edge in (other.start, other.end) if low < edge < high)
        ordered = sorted(edges)
        return list(pairwise(ordered))


def plan_track(
    total_frames: int,
    sample_rate: int,
    segment_frames: Iterable[int],
    *,
    overlap: float = 0.25,
    shifts: int = 0,
    seed: int = 0,
) -> Plan:
    """Plans a track for a bag whose n-th model has segments of `segment_frames[n]` frames.

    `shifts` > 0 makes that many passes, each shifted by a random time below half a second. `seed` determines the
    shifts, so that a restart repeats them. As in demucs, the track is padded by half a second, and a pass starts at its
    shift and ends with the track.
    """
    return Plan(total_frames, _grids(sample_rate, segment_frames, overlap, shifts, seed))


def count_segments(
    total_frames: int,
    sample_rate: int,
    segment_frames: Iterable[int],
    *,
    overlap: float = 0.25,
    shifts: int = 0,
    seed: int = 0,
) -> int:
    """Returns how many segments `plan_track` would make, without making them."""
    grids = _grids(sample_rate, segment_frames, overlap, shifts, seed)
    return sum(len(grid.starts(total_frames)) for grid in grids)


def check_work(
    total_frames: int, sample_rate: int, segment_frames: Iterable[int], *, overlap: float, shifts: int
) -> None:
    """Raises InvalidFieldError if a track needs more than MAX_SEGMENTS segments; arguments as for `plan_track`.

    Segment lengths of 0 (not known yet) are ignored.
    """
    known = [frames for frames in segment_frames if frames > 0]
    count = count_segments(total_frames, sample_rate, known, overlap=overlap, shifts=shifts)
    if count > MAX_SEGMENTS:
        raise InvalidFieldError(
            f"options.stems.overlap: {overlap:g} with options.stems.shifts {shifts} divides this track into {count} "
            f"segments, more than the limit of {MAX_SEGMENTS}: use less overlap or fewer shifts, or send the track in "
            "parts",
            field="options.stems.overlap",
            metadata={"segments": str(count), "max_segments": str(MAX_SEGMENTS)},
        )


def _grids(
    sample_rate: int, segment_frames: Iterable[int], overlap: float, shifts: int, seed: int
) -> list[Grid]:
    by_length: dict[int, list[int]] = {}
    for member, frames in enumerate(segment_frames):
        by_length.setdefault(frames, []).append(member)
    max_shift = int(MAX_SHIFT_SECONDS * sample_rate)
    draw = random.Random(seed)
    origins = [draw.randint(0, max_shift) - max_shift for _ in range(shifts)] or [0]
    return [
        Grid(origin, frames, max(1, int((1 - overlap) * frames)), tuple(members))
        for origin in origins
        for frames, members in by_length.items()
    ]

"""Overlap-add whose result does not depend on the order of the segments, nor on interruptions.

Frames of a segment that wait for overlapping segments are stored in files, as *pieces*. Once the last segment over
the same frames is done, their pieces are summed in segment order. The sum is therefore always the same
floating-point expression, and a crash loses only the segments in progress.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mismo_grpc.audio.checksum import crc32c
from mismo_grpc.separation.grid import Plan, Segment
from mismo_grpc.separation.ranges import RangeSet

Samples = npt.NDArray[np.float32]

_CHECKSUM = struct.Struct("<I")


class PieceLostError(Exception):
    """A stored piece is missing or damaged; `segment` is the index of its segment."""

    def __init__(self, segment: int) -> None:
        super().__init__(segment)
        self.segment = segment


class PieceStore:
    """Stores pieces, parts of segments that wait for overlapping segments, as files of a folder.

    A file holds float32 [stems, frames, channels] after the CRC-32C of these bytes, so that a piece damaged by a crash
    or a bad disk is detected.
    """

    def __init__(self, folder: Path, stems: int, channels: int) -> None:
        self._folder = folder
        self._stems = stems
        self._channels = channels
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, segment: int, start: int, end: int) -> Path:
        return self._folder / f"{segment}-{start}-{end}.f32"

    def put(self, segment: int, start: int, end: int, samples: Samples) -> None:
        """Stores a piece atomically."""
        path = self._path(segment, start, end)
        temporary = path.with_suffix(".tmp")
        content = np.ascontiguousarray(samples, dtype="<f4").tobytes()
        # Not `tofile`: its error has no errno, so a full disk could not be recognised.
        temporary.write_bytes(_CHECKSUM.pack(crc32c(content)) + content)
        os.replace(temporary, path)

    def get(self, segment: int, start: int, end: int) -> Samples:
        """Reads a piece, shape [stems, end - start, channels]; raises PieceLostError."""
        try:
            content = self._path(segment, start, end).read_bytes()
        except FileNotFoundError:
            raise PieceLostError(segment) from None
        if len(content) != self._file_bytes(start, end):
            raise PieceLostError(segment)
        samples = content[_CHECKSUM.size :]
        if _CHECKSUM.unpack_from(content) != (crc32c(samples),):
            raise PieceLostError(segment)
        return np.frombuffer(samples, dtype="<f4").reshape(self._stems, end - start, self._channels)

    def has(self, segment: int, start: int, end: int) -> bool:
        """Whether the piece exists with its full size; its checksum is not verified."""
        try:
            return self._path(segment, start, end).stat().st_size == self._file_bytes(start, end)
        except FileNotFoundError:
            return False

    def _file_bytes(self, start: int, end: int) -> int:
        return _CHECKSUM.size + self._stems * (end - start) * self._channels * 4

    def drop(self, segment: int, start: int, end: int) -> None:
        """Removes a piece."""
        self._path(segment, start, end).unlink(missing_ok=True)


@dataclass(frozen=True)
class Added:
    """The result of adding a segment.

    `final` has (first frame, samples [stems, frames, channels]) for each range that became final. `lost` has the
    indexes of segments whose stored pieces are missing or damaged: they must be computed again.
    """

    final: list[tuple[int, Samples]]
    lost: frozenset[int]


class OverlapAdd:
    """Sums segments into final samples."""

    def __init__(self, plan: Plan, pieces: PieceStore) -> None:
        self._plan = plan
        self._pieces = pieces

    def add(self, segment: Segment, samples: Samples, done: RangeSet, final: RangeSet) -> Added:
        """Adds a segment's output, [stems, segment.length, channels], and sums the frames that become final.

        `done` holds the indexes of the segments that are done already, `final` the frames that are final already and
        are not produced again. Frames that must wait are stored as pieces. The caller writes the result, records the
        segment as done and the lost ones as not done, then calls `drop_used_pieces`. Raises OSError.
        """
        summed: list[tuple[int, Samples]] = []
        lost: set[int] = set()
        for start, end in self._plan.pieces(segment):
            if final.covers(start, end):
                continue
            own = samples[:, start - segment.start : end - segment.start]
            others = [t.index for t in self._plan.covering(start, end) if t.index != segment.index]
            if all(index in done for index in others):
                try:
                    summed.append((start, self._sum(start, end, segment, samples)))
                    continue
                except PieceLostError as error:
                    lost.add(error.segment)
                    self._pieces.drop(error.segment, start, end)
            self._pieces.put(segment.index, start, end, own)
        return Added(summed, frozenset(lost))

    def drop_used_pieces(self, segment: Segment, added: Added) -> None:
        """Removes the stored pieces of the frames that `add` made final."""
        for start, part in added.final:
            end = start + part.shape[1]
            for other in self._plan.covering(start, end):
                if other.index != segment.index:
                    self._pieces.drop(other.index, start, end)

    def recover(self, done: RangeSet, final: RangeSet) -> RangeSet:
        """Returns the segments of `done` whose every piece is final or still stored; the others must run again."""
        kept: list[tuple[int, int]] = []
        for segment in self._plan.segments:
            if segment.index in done and all(
                final.covers(start, end) or self._pieces.has(segment.index, start, end)
                for start, end in self._plan.pieces(segment)
            ):
                kept.append((segment.index, segment.index + 1))
        return RangeSet(kept)

    def _sum(self, start: int, end: int, segment: Segment, samples: Samples) -> Samples:
        parts = self._plan.covering(start, end)
        own = samples[:, start - segment.start : end - segment.start]
        if len(parts) == 1:
            return own
        total: Samples | None = None
        for number, grid in enumerate(self._plan.grids):
            mine = [part for part in parts if part.grid == number]
            if len(mine) == 1:
                value = self._part(mine[0], start, end, segment, own)
            else:
                weights = [grid.weight(part, start, end) for part in mine]
                scale = np.float32(1) / np.sum(weights, axis=0, dtype=np.float32)
                value = np.zeros_like(own)
                for part, weight in zip(mine, weights, strict=True):
                    value += self._part(part, start, end, segment, own) * (weight * scale)[None, :, None]
            total = value if total is None else total + value
        assert total is not None
        return total

    def _part(self, part: Segment, start: int, end: int, segment: Segment, own: Samples) -> Samples:
        return own if part.index == segment.index else self._pieces.get(part.index, start, end)

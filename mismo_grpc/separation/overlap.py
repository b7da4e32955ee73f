"""Overlap-add whose result does not depend on the order in which tiles come, nor on interruptions.

A tile's frames that other tiles still lack are kept as *pieces* in files; once the last tile of a piece
is done, all its parts are summed in tile order. So the sum is always the same floating-point
expression, and after a crash only the tile in work is lost.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mismo_grpc.separation.grid import Plan, Tile
from mismo_grpc.separation.ranges import RangeSet

Samples = npt.NDArray[np.float32]


class PieceStore:
    """Parts of tiles that wait for their neighbours: float32 [stems, frames, channels] in files of a folder."""

    def __init__(self, folder: Path, stems: int, channels: int) -> None:
        self._folder = folder
        self._stems = stems
        self._channels = channels
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, tile: int, start: int, end: int) -> Path:
        return self._folder / f"{tile}-{start}-{end}.f32"

    def put(self, tile: int, start: int, end: int, samples: Samples) -> None:
        """Keeps a piece; it is there whole or not at all."""
        path = self._path(tile, start, end)
        temporary = path.with_suffix(".tmp")
        # Not `tofile`: its error does not say that the disk is full.
        temporary.write_bytes(np.ascontiguousarray(samples, dtype="<f4").data)
        os.replace(temporary, path)

    def get(self, tile: int, start: int, end: int) -> Samples:
        """A kept piece, shape [stems, end - start, channels]."""
        flat = np.fromfile(self._path(tile, start, end), dtype="<f4")
        return flat.reshape(self._stems, end - start, self._channels)

    def has(self, tile: int, start: int, end: int) -> bool:
        """Whether the piece is there with its full size."""
        path = self._path(tile, start, end)
        return path.exists() and path.stat().st_size == self._stems * (end - start) * self._channels * 4

    def drop(self, tile: int, start: int, end: int) -> None:
        """Forgets a piece."""
        self._path(tile, start, end).unlink(missing_ok=True)


class OverlapAdd:
    """Sums tiles into final samples."""

    def __init__(self, plan: Plan, pieces: PieceStore) -> None:
        self._plan = plan
        self._pieces = pieces

    def add(self, tile: Tile, samples: Samples, done: RangeSet) -> list[tuple[int, Samples]]:
        """Takes a tile's output and answers what became final.

        `samples` is [stems, tile.length, channels]; `done` holds the indexes of the tiles done before.
        Answers (first frame, samples [stems, frames, channels]) for each final piece; the pieces that
        wait are stored. The caller writes the answer, records the tile as done, then calls `settle`.
        """
        is_done = done.add(tile.index, tile.index + 1).__contains__
        final = self._plan.final_pieces(tile, is_done)
        for start, end in self._plan.pieces(tile):
            if (start, end) not in final:
                self._pieces.put(tile.index, start, end, samples[:, start - tile.start : end - tile.start])
        return [(start, self._sum(start, end, tile, samples)) for start, end in final]

    def settle(self, tile: Tile, done: RangeSet) -> None:
        """Drops the pieces that a finished tile has used up; `done` includes the tile."""
        for start, end in self._plan.final_pieces(tile, done.__contains__):
            for other in self._plan.covering(start, end):
                if other.index != tile.index:
                    self._pieces.drop(other.index, start, end)

    def recover(self, done: RangeSet, ready: RangeSet) -> RangeSet:
        """The tiles of `done` whose every piece is ready or still kept; the others must run again."""
        kept: list[tuple[int, int]] = []
        for tile in self._plan.tiles:
            if tile.index in done and all(
                ready.covers(start, end) or self._pieces.has(tile.index, start, end)
                for start, end in self._plan.pieces(tile)
            ):
                kept.append((tile.index, tile.index + 1))
        return RangeSet(kept)

    def _sum(self, start: int, end: int, tile: Tile, samples: Samples) -> Samples:
        parts = self._plan.covering(start, end)
        own = samples[:, start - tile.start : end - tile.start]
        if len(parts) == 1:
            return own
        total: Samples | None = None
        for number, grid in enumerate(self._plan.grids):
            mine = [part for part in parts if part.grid == number]
            if len(mine) == 1:
                value = self._part(mine[0], start, end, tile, own)
            else:
                weights = [grid.weight(part, start, end) for part in mine]
                scale = np.float32(1) / np.sum(weights, axis=0, dtype=np.float32)
                value = np.zeros_like(own)
                for part, weight in zip(mine, weights, strict=True):
                    value += self._part(part, start, end, tile, own) * (weight * scale)[None, :, None]
            total = value if total is None else total + value
        assert total is not None
        return total

    def _part(self, part: Tile, start: int, end: int, tile: Tile, own: Samples) -> Samples:
        return own if part.index == tile.index else self._pieces.get(part.index, start, end)

"""Where final samples go: straight into the stem files, or through a rate converter."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mismo_grpc.separation.rates import RateConverter
from mismo_grpc.separation.stems import StemSet

Samples = npt.NDArray[np.float32]


class StemOutput:
    """Writes what became final and commits its tile; with a converter, what that makes ready.

    Converting needs neighbouring samples, so the final ones wait in `work / "final.f32"` at the model's rate.
    Raises OSError if there is no room for that.
    """

    def __init__(
        self, stems: StemSet, converter: RateConverter | None, work: Path, model_frames: int
    ) -> None:
        self._stems = stems
        self._converter = converter
        self._store: npt.NDArray[np.float32] | None = None
        if converter is not None:
            path = work / "final.f32"
            shape = (len(stems.layout.stem_names), model_frames, stems.layout.channels)
            _reserve(path, 4 * int(np.prod(shape)))
            self._store = np.memmap(path, dtype="<f4", mode="r+", shape=shape)

    def write(self, tile: int, parts: list[tuple[int, Samples]]) -> None:
        """Takes the (first frame, samples [stems, frames, channels]) that a tile made final."""
        final = [(start, start + part.shape[1]) for start, part in parts]
        if self._converter is None or self._store is None:
            for start, part in parts:
                self._stems.write(start, part)
            self._stems.commit(tile, final, final)
            return
        for start, part in parts:
            self._store[:, start : start + part.shape[1]] = part
        ready: list[tuple[int, int]] = []
        for group in self._converter.computable(self._stems.final.union(final), self._stems.ready):
            low, high = self._converter.needs(group)
            start, end = self._converter.span(group)
            self._stems.write(start, self._converter.convert(group, self._store[:, low:high]))
            ready.append((start, end))
        self._stems.commit(tile, final, ready)


def _reserve(path: Path, size: int) -> None:
    """A file of that many bytes, as it is if it is there. To write through a map what the disk has no room
    for would end the process.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if os.fstat(descriptor).st_size != size:
            os.ftruncate(descriptor, 0)
            os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)

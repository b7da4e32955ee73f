"""Mean and standard deviation of a track in one pass, block by block."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


class RunningStats:
    """Accumulates statistics over blocks [frames, channels] in float64 (Chan, Golub and LeVeque 1979).

    Mean and deviation are those of the mean over channels, as in `demucs.api.Separator`; the peak is the largest
    absolute sample of any channel.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.mean = 0.0
        self.peak = 0.0
        self._squares = 0.0

    @property
    def std(self) -> float:
        """The unbiased standard deviation, torch's default; 0 for fewer than two frames."""
        return math.sqrt(self._squares / (self.frames - 1)) if self.frames > 1 else 0.0

    def add(self, block: npt.NDArray[np.float32]) -> None:
        """Adds the next block; a block without frames changes nothing."""
        count = len(block)
        if count == 0:
            return
        reference = block[:, 0].astype(np.float64)
        for channel in range(1, block.shape[1]):
            reference += block[:, channel]
        reference /= block.shape[1]
        mean = float(reference.mean())
        reference -= mean
        # Not `reference @ reference`: BLAS splits it over threads and waits for them while a model uses all cores.
        squares = float(np.square(reference, out=reference).sum())
        total = self.frames + count
        apart = mean - self.mean
        self._squares += squares + apart * apart * self.frames * count / total
        self.mean += apart * count / total
        self.frames = total
        self.peak = max(self.peak, float(block.max()), -float(block.min()))

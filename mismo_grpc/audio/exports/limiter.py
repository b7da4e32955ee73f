"""A look-ahead peak limiter that works block by block."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
Gains = npt.NDArray[np.float64]


class Limiter:
    """Keeps every sample within `ceiling` without clipping; samples that need nothing stay as they are, bit for bit.

    The gain goes down over `look_ahead` frames before a peak, and up over as many after it. What is pushed comes out
    `look_ahead` frames later, and `finish` gives the rest; nothing is added or lost.
    """

    def __init__(self, channels: int, ceiling: float, look_ahead: int) -> None:
        self._ceiling = ceiling
        self._width = look_ahead
        self._waiting: Samples = np.zeros((0, channels), np.float32)
        # The gains that the frames before the waiting ones needed, then those that the waiting ones need.
        self._needed: Gains = np.ones(look_ahead - 1)

    def push(self, samples: Samples) -> Samples:
        """Takes samples [frames, channels]; returns the frames whose gain is known now."""
        peaks = np.abs(samples).max(axis=1, initial=0.0).astype(np.float64)
        needed = np.minimum(1.0, self._ceiling / np.maximum(peaks, self._ceiling))
        self._waiting = np.concatenate([self._waiting, samples])
        self._needed = np.concatenate([self._needed, needed])
        return self._release(max(0, len(self._waiting) - self._width))

    def finish(self) -> Samples:
        """The frames that are left."""
        self._needed = np.concatenate([self._needed, np.ones(self._width)])
        return self._release(len(self._waiting))

    def _release(self, count: int) -> Samples:
        width = self._width
        ready, self._waiting = self._waiting[:count], self._waiting[count:]
        needed, self._needed = self._needed[: count + 2 * (width - 1)], self._needed[count:]
        if count == 0 or needed.min() == 1.0:
            return ready
        # The lowest gain of the frames ahead, then its mean over as many: never above what the frame itself needs.
        lowest = _sliding_minimum(needed, width)
        sums = np.concatenate([[0.0], np.cumsum(1.0 - lowest)])
        reduction = (sums[width:] - sums[:-width]) / width
        # Rounding of the sums must not touch frames far from any peak.
        reduction[reduction < 1e-9] = 0.0
        gained = ready * (1.0 - reduction)[:, None]
        return np.clip(gained, -self._ceiling, self._ceiling).astype(np.float32)


def _sliding_minimum(values: Gains, width: int) -> Gains:
    """The minimum of each `width` consecutive values."""
    covered = 1
    while covered < width:
        step = min(covered, width - covered)
        values = np.minimum(values[:-step], values[step:])
        covered += step
    return values

"""The true peak of ITU-R BS.1770-5, Annex 2: the highest value of the continuous signal that the samples represent.

A polyphase filter interpolates the audio to at least 176.4 kHz. The highest sample of a row bounds the filter's output
for the row, so only rows that may exceed the peak so far are interpolated.
"""

from __future__ import annotations

import numpy as np

from mismo_grpc.analysis.arrays import Samples, Values

FULL_RATE = 176_400
"""Hz; from this rate on the samples are close enough without interpolation."""
TAPS = 48
"""The samples from which a value is interpolated, half of them on each side."""
KAISER_BETA = 5.0
"""The parameter of the filter's Kaiser window: with TAPS the response is flat to 0.03 dB up to 0.45 of the sample rate,
20 kHz at 44.1 kHz."""
ROW_FRAMES = 64
"""The sample positions that one row of a matrix product interpolates."""
_WIDTH = ROW_FRAMES + TAPS - 1
"""The samples that one row needs."""


def oversampling(sample_rate: int) -> int:
    """The number of values for each frame: 4 at 44.1 and 48 kHz, 2 at 88.2 and 96 kHz, 1 from 176.4 kHz on; more at
    lower rates."""
    factor = 1
    while sample_rate * factor < FULL_RATE:
        factor *= 2
    return factor


def interpolation_filter(factor: int) -> Values:
    """[factor - 1, TAPS]: the n-th row gives the value n / factor of the way from sample TAPS / 2 - 1 to the next one.

    A sinc under a Kaiser window; each phase has gain 1 at 0 Hz.
    """
    phases = np.arange(1, factor)[:, None] / factor
    at = phases - (np.arange(TAPS)[None, :] - (TAPS // 2 - 1))
    window = np.i0(KAISER_BETA * np.sqrt(np.maximum(0.0, 1.0 - np.square(at / (TAPS / 2))))) / np.i0(
        KAISER_BETA
    )
    taps: Values = np.sinc(at) * window
    return taps / taps.sum(axis=1, keepdims=True)


class TruePeak:
    """The highest absolute value of one channel, at the samples (`sample`) and between them (`true`).

    Values are amplitudes, 1.0 is full scale. Before the first and after the last frame there is silence.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample = 0.0
        self.true = 0.0
        phases = interpolation_filter(oversampling(sample_rate))
        self._gain = float(np.abs(phases).sum(axis=1).max(initial=0.0))
        # A row of samples times this matrix gives all phases at its first ROW_FRAMES positions, phase after phase.
        self._matrix = np.zeros((_WIDTH, len(phases) * ROW_FRAMES), np.float32)
        for phase, taps in enumerate(phases):
            for place in range(ROW_FRAMES):
                self._matrix[place : place + TAPS, phase * ROW_FRAMES + place] = taps
        self._held: Samples = np.zeros(TAPS - 1, np.float32)

    def add(self, block: Samples) -> None:
        """Adds the next frames, [frames]."""
        if len(block) == 0:
            return
        self.sample = max(self.sample, float(block.max()), -float(block.min()))
        self.true = max(self.true, self.sample)
        if self._matrix.shape[1] > 0:
            self._interpolate(np.concatenate([self._held, block]))

    def finish(self) -> None:
        """Adds the silence after the last frame."""
        self.add(np.zeros(_WIDTH, np.float32))

    def _interpolate(self, samples: Samples) -> None:
        """Interpolates the complete rows of `samples`; the rest is kept for the next call."""
        rows = (len(samples) - TAPS + 1) // ROW_FRAMES
        self._held = samples[max(0, rows) * ROW_FRAMES :]
        if rows <= 0:
            return
        windows = np.lib.stride_tricks.sliding_window_view(samples, _WIDTH)[::ROW_FRAMES]
        # No interpolated value exceeds the highest sample of its row times the filter's gain.
        windows = windows[np.abs(windows).max(axis=1) * self._gain > self.true]
        if len(windows):
            self.true = max(self.true, float(np.abs(windows @ self._matrix).max()))

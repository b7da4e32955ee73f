"""Danceability by detrended fluctuation analysis (Streich and Herrera 2005)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mismo_grpc.analysis.arrays import Values
from mismo_grpc.analysis.character.frames import ENVELOPE_PER_SECOND

SHORTEST_SECONDS, LONGEST_SECONDS = 0.31, 8.8
"""The scales of the analysis, from the shortest beat to a phrase (Streich and Herrera 2005: 310 ms to 10 s)."""
SCALE_RATIO = 1.1
OVERLAP = 4
"""Windows of one scale begin a quarter of their length apart."""
WINDOWS_AT_ONCE = 256


def mean_exponent(envelope: npt.NDArray[np.floating]) -> float | None:
    """The mean scaling exponent of an envelope with ENVELOPE_PER_SECOND; None if it is too short or constant.

    About 0 for a strict pulse, 0.5 for noise, 1.5 for slow drift without a pulse.
    """
    values = envelope.astype(np.float64)
    deviations = values - values.mean() if len(values) else values
    if len(values) == 0 or float(np.abs(deviations).max()) <= 1e-6 * max(float(values.max()), 1e-9):
        return None
    walk = np.cumsum(deviations / deviations.std())
    scales = _scales(len(walk))
    fluctuations = [_fluctuation(walk, scale) for scale in scales]
    exponents = [
        np.log(later / earlier) / np.log((longer + 3) / (shorter + 3))
        for earlier, later, shorter, longer in zip(
            fluctuations, fluctuations[1:], scales, scales[1:], strict=False
        )
        if earlier > 0.0 and later > 0.0
    ]
    return float(np.mean(exponents)) if exponents else None


def _scales(length: int) -> list[int]:
    """The lengths of the windows; a track must be at least twice as long as the longest."""
    scales: list[int] = []
    scale = SHORTEST_SECONDS * ENVELOPE_PER_SECOND
    while scale <= min(LONGEST_SECONDS * ENVELOPE_PER_SECOND, length / 2):
        scales.append(int(scale))
        scale *= SCALE_RATIO
    return scales


def _fluctuation(walk: Values, length: int) -> float:
    """The root of the mean squared residual of straight lines through windows of that length."""
    windows = np.lib.stride_tricks.sliding_window_view(walk, length)[:: max(1, length // OVERLAP)]
    time = np.arange(length) - (length - 1) / 2
    total = 0.0
    for begin in range(0, len(windows), WINDOWS_AT_ONCE):
        part = windows[begin : begin + WINDOWS_AT_ONCE]
        centred = part - part.mean(axis=1, keepdims=True)
        slopes = centred @ time / (time @ time)
        total += float((np.square(centred).sum(axis=1) - np.square(slopes) * (time @ time)).sum())
    return float(np.sqrt(max(total, 0.0) / (len(windows) * length)))

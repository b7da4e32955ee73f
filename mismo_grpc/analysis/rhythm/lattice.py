"""Finds the constant tempo of machine-made music: the lattice of pulses and offbeats that most pulses are on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mismo_grpc.analysis.arrays import Flags

Frames = npt.NDArray[np.float64]

DIVISIONS = 2
"""Pulses may have been tracked on the offbeats in some parts: they are on a lattice of half a pulse."""
ANCHOR_PULSES = 33
"""The pulses of the first line; the lattice grows from the steadiest such part of the track."""
TOLERANCE_FRAMES = 2.5
"""Pulses that are this close to the lattice are on it."""
LEAST_SHARE = 0.6
"""The share of the pulses on the lattice of a constant tempo; of pulses at random, a fifth to a third are."""
STEADY_FRAMES = 1.2
"""The greatest root mean square of the deviation, averaged over ANCHOR_PULSES; the tempo of people drifts more."""


def fit_lattice(pulses: Frames) -> tuple[Frames, Flags] | None:
    """Equally spaced pulses in place of the given ones, and which of those are on the lattice.

    Returns None if the tempo is not constant. A line is fitted to the steadiest part, and then by least squares to the
    pulses that are on the lattice in a part that doubles until it is the whole track.
    """
    width = min(len(pulses), ANCHOR_PULSES)
    if width < 8:
        return None
    start, offset, step = _anchor(pulses, width)
    reach = width
    while True:
        low, high = max(0, start - reach), min(len(pulses), start + reach)
        for _ in range(3):
            nearest, near = _on_lattice(pulses[low:high], offset, step)
            if near.sum() < 4:
                return None
            slope, intercept = np.polyfit(nearest[near], pulses[low:high][near], 1)
            offset, step = float(intercept), float(slope)
        if high - low == len(pulses):
            break
        reach *= 2
    nearest, near = _on_lattice(pulses, offset, step)
    deviation = (pulses - offset - nearest * step)[near]
    local = np.convolve(deviation, np.full(width, 1.0 / width), mode="valid")
    if near.mean() < LEAST_SHARE or np.square(local).mean() > STEADY_FRAMES**2:
        return None
    first, last = (round(float(place)) for place in (nearest[0], nearest[-1]))
    equal: Frames = offset + step * np.arange(first, last + 1, DIVISIONS, dtype=np.float64)
    return equal, near


def _anchor(pulses: Frames, width: int) -> tuple[int, float, float]:
    """The index of the middle of the steadiest part with the usual tempo, its time, and the step of its lattice."""
    windows = np.lib.stride_tricks.sliding_window_view(pulses, width)
    index = np.arange(width) - (width - 1) / 2
    slopes = windows @ index / np.square(index).sum()
    lines = windows.mean(axis=1, keepdims=True) + slopes[:, np.newaxis] * index
    residuals = np.abs(windows - lines).mean(axis=1)
    usual = np.abs(slopes / np.median(slopes) - 1.0) < 0.01
    start = int(np.where(usual, residuals, np.inf).argmin())
    return start + width // 2, float(windows[start].mean()), float(slopes[start]) / DIVISIONS


def _on_lattice(pulses: Frames, offset: float, step: float) -> tuple[Frames, Flags]:
    """The place of each pulse on the lattice, and whether it is close to it."""
    place = (pulses - offset) / step
    nearest: Frames = np.round(place)
    return nearest, np.abs(place - nearest) * step <= TOLERANCE_FRAMES

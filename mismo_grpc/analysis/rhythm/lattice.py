"""Finds the constant tempo of machine-made music: the lattice of pulses and offbeats that most pulses are on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mismo_grpc.analysis.arrays import Flags

Frames = npt.NDArray[np.float64]

DIVISIONS = 2
"""Pulses may have been tracked on the offbeats in some parts: they are on a lattice of half a pulse."""
LOCAL_PULSES = 33
"""Local tempi are the slopes of lines through so many pulses, and local deviations are means over as many."""
LEAST_PULSES = 8
TEMPO_RANGE = 0.01
"""The constant tempo is this close to the median of the local ones, relative to it."""
RESOLUTION = 0.25
"""The step of the tempi that are tried: between two of them, the lattice shifts by this share over the whole track."""
TOLERANCE_FRAMES = 2.5
"""Pulses that are this close to the lattice are on it."""
CLOSE_FRAMES = 1.5
"""In the end the lattice is fitted to the pulses that are this close."""
FITS = 3
"""How often it is fitted with each tolerance; more changes nothing."""
LEAST_SHARE = 0.6
"""The share of the pulses on the lattice of a constant tempo; of pulses at random, a fifth to a third are."""
STEADY_FRAMES = 1.2
"""The greatest root mean square of the local deviations; the tempo of people drifts more."""


def fit_lattice(pulses: Frames) -> tuple[Frames, Flags] | None:
    """Equally spaced pulses in place of the given ones, and which of those are on the lattice.

    Returns None if the tempo is not constant. The lattice is fitted to the pulses that are on it by least squares.
    """
    if len(pulses) < LEAST_PULSES:
        return None
    lattice = _fitted(pulses, _most_common(pulses), TOLERANCE_FRAMES)
    nearest, near = _on_lattice(pulses, lattice, TOLERANCE_FRAMES)
    deviation = (pulses - lattice[0] - nearest * lattice[1])[near]
    if near.mean() < LEAST_SHARE:
        return None
    width = min(len(deviation), LOCAL_PULSES)
    local = np.convolve(deviation, np.full(width, 1.0 / width), mode="valid")
    if np.square(local).mean() > STEADY_FRAMES**2:
        return None
    offset, step = lattice = _fitted(pulses, lattice, CLOSE_FRAMES)
    nearest, near = _on_lattice(pulses, lattice, TOLERANCE_FRAMES)
    first, last = (round(float(place)) for place in (nearest[0], nearest[-1]))
    equal: Frames = offset + step * np.arange(first, last + 1, DIVISIONS, dtype=np.float64)
    return equal, near


def _fitted(pulses: Frames, lattice: tuple[float, float], tolerance: float) -> tuple[float, float]:
    """The offset and the step of the lattice through the pulses that are at most `tolerance` frames from it."""
    for _ in range(FITS):
        nearest, near = _on_lattice(pulses, lattice, tolerance)
        if near.sum() < LEAST_PULSES // 2:
            break
        step, offset = np.polyfit(nearest[near], pulses[near], 1)
        lattice = (float(offset), float(step))
    return lattice


def _most_common(pulses: Frames) -> tuple[float, float]:
    """The offset and the step of the lattice on which the phases of the pulses are most concentrated.

    The concentration is the length of the mean of unit vectors (K. Mardia and P. Jupp, "Directional Statistics", 2000).
    """
    width = min(len(pulses), LOCAL_PULSES)
    windows = np.lib.stride_tricks.sliding_window_view(pulses, width)
    index = np.arange(width) - (width - 1) / 2
    usual = DIVISIONS / float(np.median(windows @ index / np.square(index).sum()))
    span = usual * TEMPO_RANGE
    times = pulses - pulses[0]
    tried = usual + np.arange(-span, span, RESOLUTION / max(times[-1], 1.0))
    means = [complex(np.exp(2j * np.pi * frequency * times).mean()) for frequency in tried]
    best = int(np.abs(means).argmax())
    step = 1.0 / float(tried[best])
    return float(pulses[0]) + float(np.angle(means[best])) / (2 * np.pi) * step, step


def _on_lattice(pulses: Frames, lattice: tuple[float, float], tolerance: float) -> tuple[Frames, Flags]:
    """The place of each pulse on the lattice, and whether it is at most `tolerance` frames from it."""
    offset, step = lattice
    place = (pulses - offset) / step
    nearest: Frames = np.round(place)
    return nearest, np.abs(place - nearest) * step <= tolerance

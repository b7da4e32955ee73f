"""Finds the phrases of a track: groups of bars whose starts agree with the starts of the sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mismo_grpc.analysis.results import Section

USUAL_BARS = 8
SHORT_BARS = 4
LONG_BARS = 16
"""Most dance music is built in phrases of 8 bars; 4 and 16 occur (Butler, "Unlocking the Groove", 2006)."""
MORE_AGREEMENT = 0.25
"""Phrases of 4 bars are taken if that much more of the boundaries' confidence agrees with them."""
LONG_AGREEMENT = 0.95
LONG_BOUNDARIES = 4
"""Phrases of 16 bars need this agreement of this many boundaries: of chance, one in eight tracks has it."""
CHANGE_COST = 1.0
"""The phrases begin anew, out of step, only if boundaries of more than this confidence in total agree with that."""
NEAR_BARS = 0.5
"""A section that starts further than this from a downbeat is not used to find the phrases."""


@dataclass(frozen=True)
class Phrases:
    """Phrases of `bars` bars; `starts` are their first bars by number, 0 for the first downbeat. 0 bars: none found."""

    bars: int
    starts: tuple[int, ...]


def find_phrases(downbeats: Sequence[float], sections: Sequence[Section]) -> Phrases:
    """The phrases of a track with these downbeats in seconds, in order.

    Each length is tried with all phases; the phase may change at a boundary at a cost (Viterbi). What a length leaves
    unexplained is the confidence of the boundaries that are not at phrase starts, and the changes.
    """
    count = len(downbeats)
    if count < SHORT_BARS:
        return Phrases(0, ())
    boundaries = _boundaries(downbeats, sections)
    total = sum(weight for _, weight in boundaries)
    short, usual, long = (
        _best_starts(count, boundaries, bars) for bars in (SHORT_BARS, USUAL_BARS, LONG_BARS)
    )
    if count < USUAL_BARS or usual[0] - short[0] > MORE_AGREEMENT * total:
        return Phrases(SHORT_BARS, short[1])
    if count >= LONG_BARS and len(boundaries) >= LONG_BOUNDARIES and long[0] <= (1 - LONG_AGREEMENT) * total:
        return Phrases(LONG_BARS, long[1])
    return Phrases(USUAL_BARS, usual[1])


def _boundaries(downbeats: Sequence[float], sections: Sequence[Section]) -> list[tuple[int, float]]:
    """(bar, confidence) of the sections that start at a downbeat, without the first section."""
    times = np.asarray(downbeats)
    near = NEAR_BARS * float(np.median(np.diff(times)))
    found: list[tuple[int, float]] = []
    for section in sections[1:]:
        bar = int(np.argmin(np.abs(times - section.start)))
        if abs(float(times[bar]) - section.start) <= near and section.confidence > 0.0:
            found.append((bar, section.confidence))
    return found


def _best_starts(count: int, boundaries: list[tuple[int, float]], bars: int) -> tuple[float, tuple[int, ...]]:
    """The least unexplained confidence for phrases of `bars` bars, and the phrase starts among `count` bars."""
    costs = np.zeros(bars)
    origins: list[list[int]] = []
    for bar, weight in boundaries:
        cheapest = int(np.argmin(costs))
        changes = costs[cheapest] + CHANGE_COST < costs
        origins.append([cheapest if change else phase for phase, change in enumerate(changes.tolist())])
        costs = np.where(changes, costs[cheapest] + CHANGE_COST, costs)
        costs = costs + weight * (np.arange(bars) != bar % bars)
    phase = int(np.argmin(costs))
    # From the last boundary back: the phase that holds from each boundary on.
    starts: list[int] = []
    end = count
    for (bar, _), origin in zip(reversed(boundaries), reversed(origins), strict=True):
        if origin[phase] != phase:
            starts += [place for place in range(bar, end) if place % bars == phase]
            end, phase = bar, origin[phase]
    starts += [place for place in range(end) if place % bars == phase]
    return float(costs.min()), tuple(sorted(starts))

"""The time units of a structure analysis: bars if they are known, else groups of beats, else equal steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mismo_grpc.analysis.arrays import Values

BEATS_PER_GROUP = 4
"""The usual bar, for beats without downbeats."""
STEP_SECONDS = 0.5
STEPS_PER_BAR = 4
"""Without beats four steps, 2 s, stand for a bar: its length at 120 BPM in common time."""
SHORTEST_UNIT_SECONDS = 0.25
SHORT_SHARE = 0.5
LONG_SHARE = 1.5
"""A unit below these shares of the median is joined to its neighbour; above, it is divided."""


@dataclass(frozen=True)
class Grid:
    """Consecutive units that cover the track: unit n lies between `edges` n and n + 1, in seconds.

    `units_per_bar` is 1 if the units are bars. `metrical` is False if the units do not follow beats.
    """

    edges: Values
    units_per_bar: int
    metrical: bool

    def __len__(self) -> int:
        """The number of units."""
        return len(self.edges) - 1


def make_grid(duration: float, beats: Sequence[float], downbeats: Sequence[float]) -> Grid:
    """The grid of a track of `duration` seconds, which must be above 0; times that are not in the track are ignored.

    Where beats are missing for longer than a bar and a half, bars of the median length fill the gap.
    """
    bars = usable_times(downbeats, duration)
    if len(bars) < 2:
        bars = usable_times(usable_times(beats, duration)[::BEATS_PER_GROUP], duration)
    if len(bars) >= 2:
        return Grid(_completed(bars, duration), 1, True)
    steps = max(1, math.floor(duration / STEP_SECONDS))
    edges: Values = np.arange(steps + 1, dtype=np.float64) * STEP_SECONDS
    edges[-1] = duration
    return Grid(edges, STEPS_PER_BAR, False)


def usable_times(times: Sequence[float] | Values, duration: float) -> Values:
    """Those of the times that lie in the track, in order and at least SHORTEST_UNIT_SECONDS apart."""
    values = np.asarray(times, np.float64)
    kept: list[float] = []
    for time in np.sort(values[np.isfinite(values) & (values >= 0.0) & (values < duration)]).tolist():
        if not kept or time - kept[-1] >= SHORTEST_UNIT_SECONDS:
            kept.append(time)
    return np.array(kept)


def _completed(bars: Values, duration: float) -> Values:
    """The bars' starts as edges from 0 to the duration, with gaps divided and remainders joined to their neighbours."""
    bar = float(np.median(np.diff(bars)))
    edges = bars.tolist()
    if edges[0] > SHORT_SHARE * bar:
        edges.insert(0, 0.0)
    edges[0] = 0.0
    if duration - edges[-1] > SHORT_SHARE * bar or len(edges) == 1:
        edges.append(duration)
    edges[-1] = duration
    complete: list[float] = []
    for begin, end in pairwise(edges):
        parts = max(1, round((end - begin) / bar)) if end - begin > LONG_SHARE * bar else 1
        # The bars before the first downbeat and after the last one keep the tempo; other gaps are divided equally.
        if begin == 0.0 and parts > 1:
            starts = [end - bar * n for n in range(math.floor((end - begin) / bar - SHORT_SHARE), 0, -1)]
            complete += [begin, *starts]
        elif end == duration and parts > 1:
            complete += [begin + bar * n for n in range(math.floor((end - begin) / bar - SHORT_SHARE) + 1)]
        else:
            complete += [begin + (end - begin) * n / parts for n in range(parts)]
    return np.array([*complete, duration])

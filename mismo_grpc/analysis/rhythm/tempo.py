"""The tempo of beats: its median, how steady it is, where it changes; and beat times that follow a steady tempo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mismo_grpc.analysis.results import TempoPoint

Times = npt.NDArray[np.float64]

LINE_BEATS = 17
"""Local tempi are the slopes of lines through so many beats."""
STEADY_SECONDS = 0.012
"""Beats whose local mean stays this close to one line have a constant tempo."""
CHANGE = 0.02
"""A new point of the tempo curve is set where the tempo has changed by this share."""
UNSTEADY = 0.08
"""The relative deviation of beat intervals at which the stability is 0."""
ONSET_SECONDS = 0.005
"""The usual error of an onset, half a frame of the onset strength."""
OUTLIER_SECONDS = 0.03
"""Beats that deviate more do not count when a line is fitted."""


@dataclass(frozen=True)
class TempoEstimate:
    """`beats` are the given ones, moved onto the line of a constant tempo if there is one."""

    tempo: float
    stability: float
    curve: tuple[TempoPoint, ...]
    beats: Times


def estimate_tempo(beats: Times, *, constant: bool = False) -> TempoEstimate:
    """The tempo of beats in seconds, of which there are at least 3; their intervals are positive.

    A machine plays at a constant tempo. If the beats scatter about one line, or if the tempo is known to be `constant`,
    the beats are put on that line, which is more precise than any one onset; it is fitted without outliers.
    """
    line = _robust_line(beats)
    smooth = _local_lines(beats)
    if constant or _is_steady(beats, smooth, line):
        on_line: Times = line[0] + line[1] * np.arange(len(beats), dtype=np.float64)
        return TempoEstimate(60.0 / line[1], _stability(beats, smooth, line[1]), (), on_line)
    intervals = np.diff(smooth)
    period = float(np.median(intervals))
    return TempoEstimate(60.0 / period, _stability(beats, smooth, period), _curve(smooth), beats)


def _robust_line(beats: Times) -> tuple[float, float]:
    """The offset and the slope of beat times over their index."""
    index = np.arange(len(beats))
    slope, offset = np.polyfit(index, beats, 1)
    for _ in range(5):
        residual = np.abs(beats - offset - slope * index)
        kept = residual <= max(OUTLIER_SECONDS, float(np.median(residual)))
        if kept.sum() < 3:
            break
        slope, offset = np.polyfit(index[kept], beats[kept], 1)
    return float(offset), float(slope)


def _local_lines(beats: Times) -> Times:
    """Each beat's place on the line through LINE_BEATS beats around it; near the ends on the first or last line."""
    width = min(len(beats), LINE_BEATS)
    windows = np.lib.stride_tricks.sliding_window_view(beats, width)
    offset = np.arange(width) - (width - 1) / 2
    slopes = windows @ offset / np.square(offset).sum()
    means = windows.mean(axis=1)
    place = np.clip(np.arange(len(beats)) - width // 2, 0, len(windows) - 1)
    smooth: Times = means[place] + slopes[place] * (np.arange(len(beats)) - place - (width - 1) / 2)
    return smooth


def _is_steady(beats: Times, smooth: Times, line: tuple[float, float]) -> bool:
    """Whether most beats scatter about the line, and their local means stay on it."""
    expected = line[0] + line[1] * np.arange(len(beats))
    drift = np.abs(smooth - expected)
    scatter = np.abs(beats - expected)
    return bool(np.quantile(drift, 0.9) < STEADY_SECONDS and np.quantile(scatter, 0.8) < 2 * STEADY_SECONDS)


def _stability(beats: Times, smooth: Times, period: float) -> float:
    """1 if all intervals are equal, falling to 0 at a deviation of UNSTEADY from the median tempo.

    The deviation of the local tempi counts, and that of single beats from their local line half: what exceeds the
    usual error of an onset.
    """
    # 1.4826 medians of the absolute deviation are a standard deviation if the errors are normal.
    deviation = 1.4826 * float(np.median(np.abs(beats - smooth)))
    scatter = max(0.0, deviation - ONSET_SECONDS) / period
    drift = 1.4826 * float(np.median(np.abs(np.diff(smooth) - period))) / period
    return max(0.0, 1.0 - (scatter / 2 + drift) / UNSTEADY)


def _curve(smooth: Times) -> tuple[TempoPoint, ...]:
    """The points at which the local tempo has changed by CHANGE; none if it never does."""
    tempi = 60.0 / np.maximum(np.diff(smooth), 1e-3)
    points: list[TempoPoint] = []
    begin = 0
    for index in range(1, len(tempi) + 1):
        # A part is as long as its tempi are within CHANGE of their middle.
        if index < len(tempi) and np.ptp(tempi[begin : index + 1]) <= 2 * CHANGE * tempi[begin]:
            continue
        tempo = float(np.median(tempi[begin:index]))
        if not points or abs(tempo / points[-1].tempo - 1.0) > CHANGE:
            points.append(TempoPoint(max(0.0, round(float(smooth[begin]), 4)), round(tempo, 2)))
        begin = index
    return tuple(points) if len(points) > 1 else ()

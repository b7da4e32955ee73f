"""The beat tracker that needs nothing but numpy: pulses by dynamic programming, then the most probable metre."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mismo_grpc.analysis.arrays import Audio, Features
from mismo_grpc.analysis.rhythm.lattice import fit_lattice
from mismo_grpc.analysis.rhythm.metre import REACH_FRAMES, Hypothesis, choose_metre
from mismo_grpc.analysis.rhythm.onsets import Onsets, measure_onsets
from mismo_grpc.analysis.rhythm.pulse import candidate_periods, periodicity, pulse_strength, track_pulse
from mismo_grpc.analysis.rhythm.tracked import NOTHING, Tracked

Frames = npt.NDArray[np.float64]

EQUAL_FRAMES = 1e-6
"""Intervals that differ less are equal."""
LEAST_SUPPORT = 0.36
"""Pulses of a constant tempo have at least this share of the strength of the pulses tracked elsewhere."""
SEARCH_FRAMES = 3
"""A beat is moved to the strongest onset that is at most this far away."""
ACTIVE = 0.5
"""The strength of an onset, relative to the local mean, before the first and after the last of which no beats are."""
PERIODICITY_RANGE = (0.08, 0.3)
"""The autocorrelation at the period of the beat for no and full evidence of beats; noise and speech are below."""


def track(audio: Audio, sample_rate: int) -> Tracked:
    """Finds beats and bars in audio [frames, channels] or [frames]; nothing if the audio has no steady pulse."""
    onsets = measure_onsets(audio, sample_rate)
    pulse, pulses = candidate_pulses(onsets)
    chosen = choose_metre(onsets, pulse, pulses)
    if chosen is None:
        return NOTHING
    hypothesis = chosen.hypothesis
    confidence = chosen.tempo_probability * _periodic(periodicity(pulse, onsets.frame_rate), hypothesis)
    if confidence <= 0.0:
        return NOTHING
    frames, first = _completed(hypothesis, pulse)
    return Tracked(
        beats=onsets.time_of(_refined(frames, pulse)),
        confidence=confidence,
        downbeats=tuple(range(first, len(frames), hypothesis.beats_per_bar)),
        beats_per_bar=hypothesis.beats_per_bar,
        metre_confidence=confidence * chosen.bars_probability,
        constant=bool(np.ptp(np.diff(hypothesis.beats)) < EQUAL_FRAMES),
    )


def candidate_pulses(onsets: Onsets) -> tuple[Features, list[Frames]]:
    """The strength of the onsets, and for each of the most salient periods the frames of its pulses.

    If some are equally spaced the tempo is constant, and the others, which do not keep to it, are left out.
    """
    pulse = pulse_strength(onsets.strength, onsets.frame_rate)
    periods = candidate_periods(periodicity(pulse, onsets.frame_rate), onsets.frame_rate)
    tracked = [_refined(track_pulse(pulse, period).astype(np.float64), pulse) for period in periods]
    equal = [_equal_pulses(frames, pulse) for frames in tracked]
    return pulse, [frames for frames in equal if frames is not None] or tracked


def _equal_pulses(tracked: Frames, pulse: Features) -> Frames | None:
    """Equally spaced pulses in place of the tracked ones; None if the tempo is not constant.

    Where nothing sounds on the pulses of a constant tempo, other onsets may have drawn the tracker away. But where the
    tracker has found much stronger onsets, the tempo does change.
    """
    fitted = fit_lattice(tracked)
    if fitted is None:
        return None
    equal, on = fitted
    equal = equal[(equal >= 0.0) & (equal <= len(pulse) - 1)]
    away = tracked[~on]
    if len(away) == 0:
        return equal
    is_better = _support(away, pulse) * LEAST_SUPPORT > _support(_nearest(equal, away), pulse)
    return None if is_better else equal


def _nearest(pulses: Frames, frames: Frames) -> Frames:
    """The pulse that is nearest to each frame; `pulses` are ascending, at least two."""
    after = np.clip(np.searchsorted(pulses, frames), 1, len(pulses) - 1)
    is_before = frames - pulses[after - 1] <= pulses[after] - frames
    return np.where(is_before, pulses[after - 1], pulses[after])


def _support(frames: Frames, pulse: Features) -> float:
    """The mean of the strongest onsets near the frames."""
    shifts = np.arange(-REACH_FRAMES, REACH_FRAMES + 1)
    near = np.clip(np.round(frames).astype(int)[:, np.newaxis] + shifts, 0, len(pulse) - 1)
    return float(pulse[near].max(axis=1).mean())


def _periodic(correlation: Features, hypothesis: Hypothesis) -> float:
    """How periodic the onsets are at the period of the beat or of the bar, from 0 to 1."""
    period = hypothesis.period
    lags = [round(period), round(period * 2), round(period * hypothesis.beats_per_bar)]
    highest = max(
        float(correlation[lag - SEARCH_FRAMES : lag + SEARCH_FRAMES + 1].max(initial=0.0)) for lag in lags
    )
    low, high = PERIODICITY_RANGE
    return min(1.0, max(0.0, (highest - low) / (high - low)))


def _completed(hypothesis: Hypothesis, pulse: Features) -> tuple[Frames, int]:
    """The beats while there is sound, a missing first and last one added, and the index of the first downbeat."""
    beats, metre = hypothesis.beats, hypothesis.beats_per_bar
    first = hypothesis.first_downbeat
    active = np.flatnonzero(pulse > ACTIVE)
    low, high = float(active[0]) - SEARCH_FRAMES, float(active[-1]) + SEARCH_FRAMES
    before, after = 2 * beats[0] - beats[1], 2 * beats[-1] - beats[-2]
    beats = np.concatenate([[before], beats, [after]])
    kept = (beats >= low) & (beats <= high)
    return beats[kept], (first + 1 - int(kept.argmax())) % metre


def _refined(beats: Frames, pulse: Features) -> Frames:
    """Moves each beat to the strongest onset nearby, with a fraction of a frame by a parabola through three values."""
    nearest = np.round(beats).astype(int)
    shifts = np.arange(-SEARCH_FRAMES, SEARCH_FRAMES + 1)
    padded = np.pad(pulse, SEARCH_FRAMES + 1)
    centre = nearest + SEARCH_FRAMES + 1
    centre += shifts[padded[centre[:, np.newaxis] + shifts].argmax(axis=1)]
    centre = np.clip(centre, 1, len(padded) - 2)
    left, middle, right = padded[centre - 1], padded[centre], padded[centre + 1]
    curvature = left - 2 * middle + right
    is_peak = (middle >= left) & (middle >= right) & (curvature < 0.0) & (middle > ACTIVE)
    offset = 0.5 * (left - right) / np.where(is_peak, curvature, 1.0)
    refined: Frames = np.where(is_peak, centre - (SEARCH_FRAMES + 1) + offset, beats)
    return np.maximum.accumulate(refined)

"""Chooses the metrical level, the metre and the bar lines by what sounds at each place of the bar.

Every candidate pulse, each level and phase of beats on it, and each metre and phase of bars is a hypothesis with a
vector of features; the one with the highest weighted sum is chosen. That notes begin, and harmonies change, more often
at strong places is the basis of metre models: F. Lerdahl and R. Jackendoff, "A Generative Theory of Tonal Music", 1983.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mismo_grpc.analysis.arrays import Features, Indices, Values
from mismo_grpc.analysis.rhythm.metre_weights import WEIGHTS
from mismo_grpc.analysis.rhythm.onsets import FRAMES_PER_CHROMA, RANGES, Onsets
from mismo_grpc.analysis.rhythm.pulse import level_out, periodicity

STEPS_PER_PULSE = 4
"""Each pulse is divided into so many steps: sixteenths if the pulse is the beat, thirty-seconds if it is the eighth."""
REACH_FRAMES = 2
"""An onset belongs to a step if it is at most this far from it."""
TEMPI = (54.0, 215.0)
"""Beats that are slower or faster are not considered."""
METRES = (3, 4)
FLOOR = 0.2
"""The least onset strength, relative to the mean of all frames, whose logarithm is taken."""
REFERENCE_TEMPO = 110.0
SAME_TEMPO = 0.04
"""Tempi that differ less are the same, as in the tempo accuracy of F. Gouyon et al., IEEE TASLP 14(5), 2006."""
CORRELATION_SCALE = 3.0
"""Brings the autocorrelations to about the variance of the other features."""
CORRELATION_LAGS = {3: (0.5, 1.0, 1.5, 3.0, 6.0), 4: (0.5, 1.0, 2.0, 4.0, 8.0)}
"""In beats, by metre: an eighth, a beat, half a bar, a bar and two bars."""


@dataclass(frozen=True)
class Hypothesis:
    """Beats, in frames, of which every `beats_per_bar`th from `first_downbeat` on begins a bar."""

    beats: Values
    beats_per_bar: int
    first_downbeat: int
    features: Values

    @property
    def period(self) -> float:
        """The median interval of the beats, in frames."""
        return float(np.median(np.diff(self.beats)))

    @property
    def score(self) -> float:
        """The logarithm of the hypothesis' relative probability."""
        return float(self.features @ WEIGHTS)


@dataclass(frozen=True)
class Choice:
    """A hypothesis, the probability of its tempo, and that of its bars if its beats are right."""

    hypothesis: Hypothesis
    tempo_probability: float
    bars_probability: float


def choose_metre(onsets: Onsets, pulse: Features, pulses: Sequence[Values]) -> Choice | None:
    """The most probable hypothesis over the candidate pulses, in frames.

    `pulse` is the strength that the pulses were tracked in. Returns None if no candidate fills a bar.
    """
    found = list(hypotheses(onsets, pulse, pulses))
    if not found:
        return None
    scores = np.array([hypothesis.score for hypothesis in found])
    best = found[int(scores.argmax())]
    likely = np.exp(scores - scores.max())
    same_beats = np.array([other.beats is best.beats for other in found])
    same_tempo = np.array([abs(other.period / best.period - 1.0) < SAME_TEMPO for other in found])
    return Choice(
        best,
        tempo_probability=float(likely[same_tempo].sum() / likely.sum()),
        bars_probability=1.0 / float(likely[same_beats].sum()),
    )


def hypotheses(onsets: Onsets, pulse: Features, pulses: Sequence[Values]) -> Iterator[Hypothesis]:
    """All levels, metres and phases over the candidate pulses."""
    strengths = [level_out(onsets.strength[:, index], onsets.frame_rate) for index in (0, 2, 3)]
    curves = [periodicity(strength, onsets.frame_rate) for strength in (*strengths, pulse)]
    correlations = np.array(curves, np.float64)
    for frames in pulses:
        if len(frames) < 2 * max(METRES):
            continue
        steps, observations = observe(onsets, frames)
        gain = float(pulse[np.round(frames).astype(int)].mean())
        for (level, phase), beats in _beat_grids(steps):
            period = float(np.median(np.diff(beats)))
            if not period or not TEMPI[0] <= 60.0 * onsets.frame_rate / period <= TEMPI[1]:
                continue
            tempo = np.log2(60.0 * onsets.frame_rate / period / REFERENCE_TEMPO)
            for metre in METRES:
                around = np.array([float(metre == 3), tempo, tempo * tempo, gain])
                correlated = _correlation_features(correlations, period, metre)
                for first in range(metre):
                    start = phase + first * level * STEPS_PER_PULSE
                    profile = _bar_profile(observations, start, level, metre)
                    features = np.concatenate([_place_features(profile, metre), correlated, around])
                    yield Hypothesis(beats, metre, first, features)


def _beat_grids(steps: Values) -> Iterator[tuple[tuple[int, int], Values]]:
    """The beats of each level and phase: a beat is `level` pulses long, and the first one is at step `phase`.

    The pulse may be the beat or the eighth, and the tracker may have followed the offbeats.
    """
    for level in (1, 2):
        per_beat = level * STEPS_PER_PULSE
        for phase in range(0, per_beat, STEPS_PER_PULSE // 2):
            beats = steps[phase::per_beat]
            if len(beats) > max(METRES):
                yield (level, phase), beats


def observe(onsets: Onsets, pulses: Values) -> tuple[Values, Values]:
    """Divides pulses, in frames, into steps; the strength of each range and the change of harmony at each step.

    The strength of each range has a mean of 1 over all frames, the change a mean of 1 over the steps.
    """
    count = (len(pulses) - 1) * STEPS_PER_PULSE + 1
    steps: Values = np.interp(np.arange(count) / STEPS_PER_PULSE, np.arange(len(pulses)), pulses)
    frames = np.round(steps).astype(int)
    strength = onsets.strength
    strongest = np.zeros((count, RANGES))
    for shift in range(-REACH_FRAMES, REACH_FRAMES + 1):
        np.maximum(strongest, strength[np.clip(frames + shift, 0, len(strength) - 1)], out=strongest)
    strongest /= np.maximum(strength.mean(axis=0), 1e-9)
    change = harmonic_change(onsets.chroma, frames, float(np.median(np.diff(pulses))))
    return steps, np.column_stack([strongest, change])


def harmonic_change(chroma: Features, frames: Indices, period: float) -> Values:
    """How much the chroma of the period after each frame differs from that before, by their cosine; the mean is 1."""
    sums = np.concatenate([np.zeros((1, 12)), np.cumsum(chroma, axis=0, dtype=np.float64)])
    centre = np.round(frames / FRAMES_PER_CHROMA).astype(int)
    width = max(1, round(period / FRAMES_PER_CHROMA))
    begin, middle, end = (
        sums[np.clip(centre + shift, 0, len(chroma)).astype(int)] for shift in (-width, 0, width)
    )
    before, after = middle - begin, end - middle
    scale = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cosine = (before * after).sum(axis=1) / np.maximum(scale, 1e-9)
    change: Values = np.where(scale > 0.0, np.maximum(1.0 - cosine, 0.0), 0.0)
    return change / max(float(change.mean()), 1e-9)


def _bar_profile(observations: Values, start: int, level: int, metre: int) -> Values:
    """The logarithm of the mean of the observations at each sixteenth of the bar, [sixteenths, observations]."""
    length = metre * level * STEPS_PER_PULSE
    bars = (len(observations) - start) // length
    if bars < 1:
        return np.zeros((metre * 4, observations.shape[1]))
    whole = observations[start : start + bars * length].reshape(bars, length, -1)
    return np.log(np.maximum(whole[:, ::level].mean(axis=0), FLOOR))


def _place_features(profile: Values, metre: int) -> Values:
    """Contrasts between kinds of places of the bar, for each observation; metre_weights names them."""
    beats = profile[::4]
    beat = beats.mean(axis=0)
    eighth = profile[2::4].mean(axis=0)
    sixteenth = profile[1::2].mean(axis=0)
    none = np.zeros(len(beat))
    if metre == 4:
        special = [(beats[1] + beats[3]) / 2 - beat, beats[2] - beat, none]
    else:
        special = [none, none, beats[1] - beats[2]]
    return np.concatenate([beat - eighth, eighth - sixteenth, beat, beats[0] - beat, *special])


def _correlation_features(correlations: Values, period: float, metre: int) -> Values:
    """The autocorrelation of the ranges at the lags of CORRELATION_LAGS, the highest of nearby frames."""
    features = np.zeros((len(correlations), len(CORRELATION_LAGS[metre])))
    for index, lag in enumerate(CORRELATION_LAGS[metre]):
        frame = round(lag * period)
        near = correlations[:, max(0, frame - REACH_FRAMES) : frame + REACH_FRAMES + 1]
        if near.shape[1]:
            features[:, index] = CORRELATION_SCALE * near.max(axis=1)
    return features.ravel()

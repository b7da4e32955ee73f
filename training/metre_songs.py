"""Songs whose beats and bars are known, and which metrical hypotheses about them are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mismo_grpc.analysis.arrays import Flags, Samples, Values
from mismo_grpc.analysis.rhythm.metre import Hypothesis, hypotheses
from mismo_grpc.analysis.rhythm.onsets import FRAMES_PER_CHROMA, Onsets, measure_onsets
from mismo_grpc.analysis.rhythm.pulse_tracker import candidate_pulses
from mismo_grpc.generation.annotation import annotate
from mismo_grpc.generation.composer import Brief, compose
from mismo_grpc.generation.synthetic import render
from training.rendering import render_composition
from training.songs import SAMPLE_RATE

SLOWEST, FASTEST = 60.0, 190.0
"""Tempi are drawn with equal probability for equal ratios."""
WALTZ_SHARE = 0.25
RAMP_SHARE = 0.15
RAMP = (0.8, 1.25)
"""The last tempo of a ramp relative to its first."""
OWN_VOICES_SHARE = 0.4
"""Of the songs, if there are sound fonts."""

SLOWEST_CLICKS, FASTEST_CLICKS = 75.0, 165.0
"""Equal clicks outside of this range could as well be halves or doubles of the beat."""
CLICK_SECONDS = 20.0
FIRST_CLICK_SECONDS = 0.3
ACCENTED_SHARE = 1 / 3
"""Of the click tracks: each fourth click of theirs is louder."""

TOLERANCE_SECONDS = 0.07
"""As in mir_eval.beat."""
BEATS_F, DOWNBEATS_F = 0.9, 0.85
"""The F-measures above which the beats and the downbeats of a hypothesis are right."""
LEAST_SECONDS = 15.0
"""Halves of songs that are shorter are not examples."""


@dataclass(frozen=True)
class Truth:
    """Times in seconds; `kind` names the sort of song in tables."""

    kind: str
    beats: Values
    downbeats: Values
    beats_per_bar: int

    def part(self, begin: float) -> Truth:
        """The truth of the audio from `begin` seconds on."""
        return replace(self, beats=self.beats - begin, downbeats=self.downbeats - begin)


@dataclass(frozen=True)
class Example:
    """The hypotheses of a song, or of half of it: `features` are [hypotheses, features].

    `beats` marks the hypotheses whose beats are right, `bars` those whose downbeats and metre are right too. Examples
    of the same `song` have the same music.
    """

    song: str
    kind: str
    features: Values
    beats: Flags
    bars: Flags


def render_song(seed: int, seconds: float, fonts: Sequence[Path]) -> tuple[Samples, Truth]:
    """Composes and renders a song: the mix [frames, 2] at SAMPLE_RATE. The seed decides all but the fonts."""
    random = np.random.default_rng([seed, 2])
    tempo = round(SLOWEST * (FASTEST / SLOWEST) ** random.random(), 1)
    metre = 3 if random.random() < WALTZ_SHARE else 4
    tempo_end = None
    if random.random() < RAMP_SHARE:
        tempo_end = round(min(FASTEST, max(SLOWEST, tempo * random.uniform(*RAMP))), 1)
    with_font = random.random() >= OWN_VOICES_SHARE and bool(fonts)
    song = compose(Brief(seconds, tempo=tempo, tempo_end=tempo_end, beats_per_bar=metre), seed)
    if with_font:
        stems = render_composition(song, round(song.seconds * SAMPLE_RATE), seed, list(fonts))
    else:
        stems = list(render(song, sample_rate=SAMPLE_RATE, seed=seed).values())
    truth = annotate(song)
    kind = "sound fonts" if with_font else "own voices"
    audio = sum(stems, np.zeros((1, 2), np.float32))
    return audio, Truth(kind, np.array(truth.beats), np.array(truth.downbeats), metre)


def click_track(seed: int) -> tuple[Samples, Truth]:
    """Clicks at a constant tempo, as mono [frames]; `beats_per_bar` is 0 if all clicks are equal."""
    random = np.random.default_rng([seed, 3])
    period = 60.0 / (SLOWEST_CLICKS * (FASTEST_CLICKS / SLOWEST_CLICKS) ** random.random())
    time = np.arange(round(0.05 * SAMPLE_RATE)) / SAMPLE_RATE
    tone = np.sin(2 * np.pi * random.choice((800.0, 1200.0, 2000.0)) * time)
    click = np.where(random.random() < 0.5, tone, random.standard_normal(len(time)))
    click = click * np.exp(-random.uniform(40.0, 100.0) * time)
    accented = random.random() < ACCENTED_SHARE
    beats = np.arange(FIRST_CLICK_SECONDS, CLICK_SECONDS - len(time) / SAMPLE_RATE, period)
    audio = 1e-3 * random.standard_normal(round(CLICK_SECONDS * SAMPLE_RATE))
    for index, beat in enumerate(beats):
        begin = round(beat * SAMPLE_RATE)
        audio[begin : begin + len(click)] += click * (0.8 if accented and index % 4 == 0 else 0.5)
    return audio.astype(np.float32), Truth("clicks", beats, beats[::4], 4 if accented else 0)


def cached_song(cache: Path, seed: int, seconds: float, fonts: Sequence[Path]) -> tuple[Onsets, Truth]:
    """The onsets and the truth of a song, which is rendered if `cache` does not have them.

    A cache is valid for one length, one set of fonts, and one version of `rhythm.onsets`.
    """
    path = cache / f"{seed}.npz"
    if not path.exists():
        audio, truth = render_song(seed, seconds, fonts)
        onsets = measure_onsets(audio, SAMPLE_RATE)
        partial = path.with_suffix(".partial.npz")
        np.savez(
            partial,
            strength=onsets.strength,
            chroma=onsets.chroma,
            frame_rate=onsets.frame_rate,
            kind=truth.kind,
            beats=truth.beats,
            downbeats=truth.downbeats,
            beats_per_bar=truth.beats_per_bar,
        )
        partial.rename(path)
    with np.load(path) as saved:
        onsets = Onsets(saved["strength"], saved["chroma"], float(saved["frame_rate"]))
        truth = Truth(str(saved["kind"]), saved["beats"], saved["downbeats"], int(saved["beats_per_bar"]))
    return onsets, truth


def examples(song: str, onsets: Onsets, truth: Truth) -> list[Example]:
    """The example of the whole song and those of its halves; none of a part without hypotheses."""
    frames = len(onsets.strength)
    parts = [(0, frames)]
    half = frames // (2 * FRAMES_PER_CHROMA) * FRAMES_PER_CHROMA
    if half >= LEAST_SECONDS * onsets.frame_rate:
        parts += [(0, half), (half, frames)]
    made: list[Example] = []
    for begin, end in parts:
        chroma = onsets.chroma[begin // FRAMES_PER_CHROMA : end // FRAMES_PER_CHROMA]
        part = Onsets(onsets.strength[begin:end], chroma, onsets.frame_rate)
        found = list(hypotheses(part, *candidate_pulses(part)))
        if found:
            made.append(_labelled(song, part, found, truth.part(begin / onsets.frame_rate)))
    return made


def _labelled(song: str, onsets: Onsets, found: Sequence[Hypothesis], truth: Truth) -> Example:
    beats = np.zeros(len(found), np.bool_)
    bars = np.zeros(len(found), np.bool_)
    for index, hypothesis in enumerate(found):
        times = onsets.time_of(hypothesis.beats)
        beats[index] = f_measure(truth.beats, times) > BEATS_F
        if truth.beats_per_bar:
            downbeats = times[hypothesis.first_downbeat :: hypothesis.beats_per_bar]
            is_metre = hypothesis.beats_per_bar == truth.beats_per_bar
            bars[index] = beats[index] and is_metre and f_measure(truth.downbeats, downbeats) > DOWNBEATS_F
        else:
            # Any bars are right where nothing marks them.
            bars[index] = beats[index]
    features = np.array([hypothesis.features for hypothesis in found])
    return Example(song, truth.kind, features, beats, bars)


def f_measure(truth: Values, found: Values) -> float:
    """The F-measure of ascending times within TOLERANCE_SECONDS; of the truth, only the stretch of `found` counts."""
    if not len(found):
        return 0.0
    low, high = found[0] - TOLERANCE_SECONDS, found[-1] + TOLERANCE_SECONDS
    truth = truth[(truth >= low) & (truth <= high)]
    if not len(truth):
        return 0.0
    after = np.clip(np.searchsorted(found, truth), 1, max(1, len(found) - 1))
    nearest = np.minimum(
        np.abs(truth - found[after - 1]), np.abs(truth - found[np.minimum(after, len(found) - 1)])
    )
    return 2.0 * float((nearest < TOLERANCE_SECONDS).sum()) / (len(truth) + len(found))

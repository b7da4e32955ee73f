"""Estimates the chords of a track: major, minor, the common sevenths, or none, from beat to beat."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from mismo_grpc.analysis.arrays import Features, Values
from mismo_grpc.analysis.audio_source import AudioSource
from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.results import Chord, ChordsResult
from mismo_grpc.analysis.tonal.chord_model import LABELS, chord_likelihoods, most_likely, probabilities
from mismo_grpc.analysis.tonal.chroma import Chromagram, chromagram
from mismo_grpc.analysis.tonal.drumless import without_drums
from mismo_grpc.analysis.tonal.spectrum import FRAMES_PER_SECOND

MIX = "mix"
STEMS = "stems"
GRID_SECONDS = 0.5
"""The spans where there are no beats: a beat at 120 BPM."""
SHORTEST_SECONDS = 0.2
"""Beats that follow sooner are left out: a span needs two frames."""
LONGEST_SECONDS = 1.5
"""Longer spans are divided: slower than 40 BPM there are no beats, but a part of the track in which none was found."""
QUIET = 10 ** (-50 / 20)
"""Spans whose level is below this part of the track's loudest are silent."""


def analyse_chords(inputs: AnalysisInputs) -> ChordsResult:
    """Estimates the chords of the track without its drums if its stems make that, else of the mix.

    Runs as a task of the pool. Takes the beats of `inputs.basic_features`, if there are any. Stems that are missing or
    cannot be read are not used.

    Raises ValueError as `MixFile.samples` and `estimate_chords` do; OSError if the mix cannot be opened.
    """
    mix, rate = inputs.mix.samples(), inputs.mix.sample_rate
    beats = inputs.basic_features.beats if inputs.basic_features else ()
    try:
        with without_drums(mix, rate, inputs.stems) as drumless:
            if drumless is not None:
                chroma = chromagram(*drumless)
                return _chords(chroma, beats, mix.shape[0] / rate, STEMS)
    except (OSError, ValueError):
        # The chords of the mix are nearly as good.
        pass
    return estimate_chords(mix, rate, beats)


def estimate_chords(audio: AudioSource, sample_rate: int, beats: Sequence[float] = ()) -> ChordsResult:
    """Estimates the chords of audio [frames, channels] or [frames], floating point.

    `beats` are in seconds; chords change on them only, or on a grid of half seconds where there are none. Labels are
    those of `chord_model.LABELS`; neighbours differ. The confidence of a chord is the mean probability of its label
    over its beats, given the whole track. NaN and infinite samples count as 0.

    Raises ValueError as `check_audio` does.
    """
    chroma = chromagram(audio, sample_rate)
    return _chords(chroma, beats, audio.shape[0] / sample_rate, MIX)


def _chords(chroma: Chromagram, beats: Sequence[float], duration: float, source: str) -> ChordsResult:
    edges = span_edges(beats, duration)
    if len(edges) < 2:
        return ChordsResult((), source)
    treble, bass = _means(chroma.treble, edges), _means(chroma.bass, edges)
    level = _means(chroma.level[:, np.newaxis].astype(np.float32), edges)[:, 0]
    silent = (level <= QUIET * level.max()) | ~(treble.any(axis=1) | bass.any(axis=1))
    # Noise and drums alone have no chords.
    silent |= chroma.tuning.clarity == 0.0
    likelihoods = chord_likelihoods(treble, bass, silent)
    labels = most_likely(likelihoods)
    certainty = probabilities(likelihoods)[np.arange(len(labels)), labels]
    chords: list[Chord] = []
    for label, group in groupby(range(len(labels)), key=labels.__getitem__):
        spans = list(group)
        begin, end = float(edges[spans[0]]), float(edges[spans[-1] + 1])
        confidence = float(np.average(certainty[spans], weights=np.diff(edges)[spans]))
        chords.append(Chord(round(begin, 4), round(end, 4), LABELS[label], round(confidence, 3)))
    return ChordsResult(tuple(chords), source)


def span_edges(beats: Sequence[float], duration: float) -> Values:
    """The times, ascending from 0 to the duration in seconds, between which a chord does not change.

    They are the beats within the track. Beats too close to the one before or to an end are left out, and long gaps are
    divided evenly. Empty if the duration rounds to 0.
    """
    end = round(duration, 4)
    if end <= 0.0:
        return np.zeros(0)
    edges = [0.0]
    inside = [*sorted(beat for beat in beats if SHORTEST_SECONDS <= beat <= end - SHORTEST_SECONDS), end]
    for edge in inside:
        begin = edges[-1]
        gap = edge - begin
        if gap < SHORTEST_SECONDS and edge < end:
            continue
        parts = max(1, round(gap / GRID_SECONDS)) if gap > LONGEST_SECONDS else 1
        edges.extend(begin + gap * part / parts for part in range(1, parts))
        edges.append(edge)
    return np.array(edges)


def _means(values: Features, edges: Values) -> Values:
    """The mean of the frames whose centres are in each span, [spans, values]; the nearest frame if there are none."""
    limits = np.ceil(edges * FRAMES_PER_SECOND - 0.5).astype(np.int64)
    begins = np.clip(limits[:-1], 0, len(values) - 1)
    ends = np.clip(limits[1:], begins + 1, len(values))
    sums = np.zeros((len(values) + 1, values.shape[1]))
    np.cumsum(values, axis=0, dtype=np.float64, out=sums[1:])
    means: Values = (sums[ends] - sums[begins]) / (ends - begins)[:, np.newaxis]
    # Differences of sums can be slightly below 0.
    return np.maximum(means, 0.0)

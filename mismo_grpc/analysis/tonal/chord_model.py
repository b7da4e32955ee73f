"""Which chord sounds in each of a row of time spans, given their chroma."""

from __future__ import annotations

import numpy as np

from mismo_grpc.analysis.arrays import Flags, Values
from mismo_grpc.analysis.results import PITCH_NAMES

QUALITIES: dict[str, tuple[int, ...]] = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
}
"""The intervals of the chords in semitones, by the name in Harte's syntax (Harte et al., Symbolic representation of
musical chords, ISMIR 2005)."""
NO_CHORD = "N"
LABELS = (*(f"{PITCH_NAMES[root]}:{quality}" for quality in QUALITIES for root in range(12)), NO_CHORD)

SEVENTH = 0.7
"""The strength of a seventh relative to the triad."""
SEVENTH_PENALTY = 0.03
"""Subtracted from the similarity with four notes, which are similar to more chroma vectors than three are."""
BASS_CHROMA = 0.5
"""The weight of the bass chroma within the chroma that is compared with the notes of a chord."""
ROOT_IN_BASS = 0.2
"""The similarity that a bass on the root adds."""
NO_CHORD_SIMILARITY = 0.62
"""A span whose chroma is less similar to all chords has none. A chroma of equal values has a similarity of 0.59 to
chords of four notes, the root's share of the bass included."""
SHARPNESS = 12.0
"""The factor that makes log likelihoods of similarities."""
CHANGE_COST = 2.0
"""The log likelihood that a change of chord from one span to the next costs."""


def chord_likelihoods(treble: Values, bass: Values, silent: Flags) -> Values:
    """The log likelihoods, [spans, LABELS], up to a constant for each span.

    `treble` and `bass` are chroma features, [spans, 12]; spans that are `silent`, [spans], have no chord.
    """
    similarity = _unit(treble + BASS_CHROMA * bass) @ _templates().T
    low = bass / np.maximum(bass.sum(axis=1, keepdims=True), 1e-9)
    similarity += ROOT_IN_BASS * np.tile(low, len(QUALITIES))
    likelihoods = np.empty((len(treble), len(LABELS)))
    likelihoods[:, :-1] = SHARPNESS * similarity
    likelihoods[:, -1] = SHARPNESS * NO_CHORD_SIMILARITY
    likelihoods[silent, :-1] = SHARPNESS * (NO_CHORD_SIMILARITY - 2.0)
    return likelihoods


def most_likely(likelihoods: Values) -> list[int]:
    """The most likely place in LABELS of each span (Viterbi's algorithm); all changes of chord cost the same."""
    if len(likelihoods) == 0:
        return []
    score = likelihoods[0].copy()
    before = np.zeros(likelihoods.shape, np.int64)
    stay = np.arange(likelihoods.shape[1], dtype=np.int64)
    for place in range(1, len(likelihoods)):
        best = int(np.argmax(score))
        changed = score[best] - CHANGE_COST
        before[place] = np.where(score >= changed, stay, best)
        score = np.maximum(score, changed) + likelihoods[place]
    path = [int(np.argmax(score))]
    for place in range(len(likelihoods) - 1, 0, -1):
        path.append(int(before[place, path[-1]]))
    return path[::-1]


def probabilities(likelihoods: Values) -> Values:
    """The probability of each label in each span given all spans, [spans, LABELS]: the forward-backward algorithm."""
    emission = np.exp(likelihoods - likelihoods.max(axis=1, keepdims=True, initial=-np.inf))
    change = np.exp(-CHANGE_COST)
    forward, backward = np.ones_like(emission), np.ones_like(emission)
    state = np.ones(emission.shape[1])
    for place in range(len(emission)):
        state = (state + change * state.sum()) * emission[place]
        state /= state.sum()
        forward[place] = state
    state = np.ones(emission.shape[1])
    for place in range(len(emission) - 1, 0, -1):
        weighted = state * emission[place]
        state = weighted + change * weighted.sum()
        state /= state.sum()
        backward[place - 1] = state
    product = forward * backward
    result: Values = product / product.sum(axis=1, keepdims=True)
    return result


def _templates() -> Values:
    """The notes of each chord of LABELS but the last, [LABELS - 1, 12], of unit length less the penalty of sevenths."""
    rows: list[Values] = []
    for intervals in QUALITIES.values():
        notes = np.zeros(12)
        notes[list(intervals[:3])] = 1.0
        notes[list(intervals[3:])] = SEVENTH
        notes *= (1.0 - SEVENTH_PENALTY * (len(intervals) - 3)) / np.linalg.norm(notes)
        rows.extend(np.roll(notes, root) for root in range(12))
    return np.array(rows)


def _unit(rows: Values) -> Values:
    result: Values = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return result

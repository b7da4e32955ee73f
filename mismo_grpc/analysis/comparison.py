"""Compares two analysed tracks: how well one follows the other in a DJ's mix."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mismo_grpc.analysis.results import (
    BasicFeaturesResult,
    CuePair,
    CuePoint,
    Key,
    KeyRelation,
    Mode,
    TrackComparison,
    TransitionResult,
)

UNKNOWN_SCORE = 0.5
"""The score of what cannot be compared, as one track lacks it: neither good nor bad."""

TEMPO_WEIGHT, KEY_WEIGHT, ENERGY_WEIGHT, CUE_WEIGHT = 0.35, 0.25, 0.15, 0.25
"""The shares of the scores in the total. Tempo counts most: beats that do not match disturb a whole transition."""

WIDEST_RATIO = 1.16
"""At this ratio of tempi the score is 0: ±16 % is a usual wide range of the pitch faders of DJ players."""
WIDEST_DIFFERENCE_LU = 12.0
"""At this difference in loudness its score is 0; it is about the usual gain range of a mixer's channel."""

FIFTH_SEMITONES = 7
WHEEL_STEPS = 12
SEMITONES = 12
FITTING_DISTANCE = 1
"""Keys fit if they are the same, relatives, or a fifth apart: at most one step on the Camelot wheel."""
RELATION_SCORES = {
    KeyRelation.SAME: 1.0,
    KeyRelation.RELATIVE: 0.9,
    KeyRelation.FIFTH_UP: 0.85,
    KeyRelation.FIFTH_DOWN: 0.85,
    KeyRelation.PARALLEL: 0.6,
    KeyRelation.TONE_UP: 0.6,
}
"""By how many pitches the scales share (7, 7, 6, 6, 4, 5), and by the practice of harmonic mixing."""
DISTANT_SCORE, DISTANT_STEP = 0.6, 0.1
"""The score of other relations: DISTANT_SCORE less DISTANT_STEP for each step of `camelot_distance`."""

PAIR_CUE_WEIGHT, PAIR_ENERGY_WEIGHT, PAIR_BARS_WEIGHT = 0.5, 0.25, 0.25
"""The shares of a cue pair's score: the mean of the cue points' scores, and how well their energies and bars match."""


@dataclass(frozen=True)
class AnalysedTrack:
    """The results of a track that a comparison needs."""

    features: BasicFeaturesResult
    transition: TransitionResult


def compare_tracks(
    outgoing: AnalysedTrack, incoming: AnalysedTrack, max_cue_pairs: int = 5
) -> TrackComparison:
    """Compares an incoming track with the outgoing one that it follows; see TrackComparison.

    The parts of the score, each 0 to 1, and UNKNOWN_SCORE for what a track lacks:

    - tempo: 1 at the same tempo, 0 at WIDEST_RATIO or more; linear in the logarithm of the ratio between;
    - key: RELATION_SCORES, as the keys are, without a shift;
    - energy: the mean of how well the loudness matches (linear, 0 at WIDEST_DIFFERENCE_LU) and 1 - the difference of
      the mean energies;
    - cue: the score of the best cue pair, 0 if there is none.

    `cue_pairs` has up to `max_cue_pairs`, the best first; their `bars` are bars of the outgoing track. `key_shift` is
    -6 to 6; of two equally large shifts it is the one to the closer key, then the one up.

    Raises ValueError for a negative `max_cue_pairs`.
    """
    if max_cue_pairs < 0:
        raise ValueError(f"max_cue_pairs must not be negative, got {max_cue_pairs}")
    octaves, ratio = _tempo_ratio(outgoing.features.tempo, incoming.features.tempo)
    tempo_score = _tempo_score(ratio)
    keys = outgoing.features.key, incoming.features.key
    relation = distance = shift = None
    key_score = UNKNOWN_SCORE
    if keys[0] is not None and keys[1] is not None:
        relation, distance = key_relation(keys[0], keys[1]), camelot_distance(keys[0], keys[1])
        shift = key_shift(keys[0], keys[1])
        key_score = RELATION_SCORES.get(relation, max(0.0, DISTANT_SCORE - DISTANT_STEP * distance))
    loudness = outgoing.features.integrated_lufs, incoming.features.integrated_lufs
    difference = loudness[1] - loudness[0] if loudness[0] is not None and loudness[1] is not None else None
    energy_score = _energy_score(difference, outgoing.transition, incoming.transition)
    pairs = _cue_pairs(outgoing, incoming, 2.0**octaves)
    cue_score = pairs[0].score if pairs else 0.0
    score = (
        TEMPO_WEIGHT * tempo_score
        + KEY_WEIGHT * key_score
        + ENERGY_WEIGHT * energy_score
        + CUE_WEIGHT * cue_score
    )
    return TrackComparison(
        tempo_ratio=None if ratio is None else round(ratio, 5),
        incoming_speed=None if ratio is None else round(1.0 / ratio, 5),
        key_relation=relation,
        camelot_distance=distance,
        key_shift=shift,
        loudness_difference_lu=None if difference is None else round(difference, 2),
        cue_pairs=pairs[:max_cue_pairs],
        score=round(min(1.0, score), 4),
        tempo_score=round(tempo_score, 4),
        key_score=round(key_score, 4),
        energy_score=round(energy_score, 4),
        cue_score=round(cue_score, 4),
    )


def key_relation(outgoing: Key, incoming: Key) -> KeyRelation:
    """How the incoming key relates to the outgoing one."""
    up = (incoming.tonic - outgoing.tonic) % SEMITONES
    if outgoing.mode is incoming.mode:
        by_interval = {
            0: KeyRelation.SAME,
            FIFTH_SEMITONES: KeyRelation.FIFTH_UP,
            SEMITONES - FIFTH_SEMITONES: KeyRelation.FIFTH_DOWN,
            2: KeyRelation.TONE_UP,
        }
        return by_interval.get(up, KeyRelation.DISTANT)
    if up == 0:
        return KeyRelation.PARALLEL
    relative = 9 if outgoing.mode is Mode.MAJOR else 3
    return KeyRelation.RELATIVE if up == relative else KeyRelation.DISTANT


def camelot_distance(first: Key, second: Key) -> int:
    """The steps between two keys on the Camelot wheel: fifths between their relative majors, and one for the mode."""
    steps = (_fifths(first) - _fifths(second)) % WHEEL_STEPS
    return min(steps, WHEEL_STEPS - steps) + (first.mode is not second.mode)


def key_shift(outgoing: Key, incoming: Key) -> int:
    """By how many semitones, -6 to 6, to shift the incoming track to the nearest key that fits the outgoing one."""

    def rank(shift: int) -> tuple[int, int, int]:
        shifted = Key((incoming.tonic + shift) % SEMITONES, incoming.mode)
        return abs(shift), camelot_distance(outgoing, shifted), -shift

    fitting = (
        shift
        for shift in range(-SEMITONES // 2, SEMITONES // 2 + 1)
        if camelot_distance(outgoing, Key((incoming.tonic + shift) % SEMITONES, incoming.mode))
        <= FITTING_DISTANCE
    )
    return min(fitting, key=rank)


def _fifths(key: Key) -> int:
    """The fifths from C major up to the relative major of a key, 0 to 11."""
    relative_major = key.tonic if key.mode is Mode.MAJOR else key.tonic + 3
    return relative_major * FIFTH_SEMITONES % WHEEL_STEPS


def _tempo_ratio(outgoing: float | None, incoming: float | None) -> tuple[int, float | None]:
    """(by how many octaves, -1 to 1, the incoming tempo is changed, incoming tempo / outgoing tempo after that)."""
    if outgoing is None or incoming is None or not (outgoing > 0.0 and incoming > 0.0):
        return 0, None
    ratio = incoming / outgoing
    # The unchanged tempo wins a tie.
    octaves = min((0, -1, 1), key=lambda change: abs(math.log2(ratio) + change))
    return octaves, ratio * 2.0**octaves


def _tempo_score(ratio: float | None) -> float:
    """1 for the same tempo, 0 for tempi that are too far apart."""
    if ratio is None:
        return UNKNOWN_SCORE
    return max(0.0, 1.0 - abs(math.log(ratio)) / math.log(WIDEST_RATIO))


def _energy_score(difference: float | None, outgoing: TransitionResult, incoming: TransitionResult) -> float:
    """How well loudness and mean energy match."""
    loudness = UNKNOWN_SCORE
    if difference is not None:
        loudness = max(0.0, 1.0 - abs(difference) / WIDEST_DIFFERENCE_LU)
    course = UNKNOWN_SCORE
    if outgoing.energy and incoming.energy:
        means = [math.fsum(track.energy) / len(track.energy) for track in (outgoing, incoming)]
        course = 1.0 - abs(means[0] - means[1])
    return (loudness + course) / 2.0


def _cue_pairs(outgoing: AnalysedTrack, incoming: AnalysedTrack, tempo_change: float) -> tuple[CuePair, ...]:
    """All pairs of cue points, the best first.

    At twice the tempo a bar is half as long; `tempo_change` is what the incoming tempo is multiplied by.
    """
    metres = outgoing.features.beats_per_bar, incoming.features.beats_per_bar
    bars_match = metres[0] == metres[1] or 0 in metres
    pairs = [
        _cue_pair(out, into, into.bars * tempo_change, bars_match)
        for out in outgoing.transition.mix_out
        for into in incoming.transition.mix_in
    ]
    return tuple(sorted(pairs, key=lambda pair: (-pair.score, pair.mix_out, pair.mix_in)))


def _cue_pair(out: CuePoint, into: CuePoint, into_bars: float, bars_match: bool) -> CuePair:
    """A pair; `into_bars` are the bars of `into` at the outgoing tempo, which match if the metres are the same."""
    shorter, longer = min(out.bars, into_bars), max(out.bars, into_bars)
    score = (
        PAIR_CUE_WEIGHT * (out.score + into.score) / 2.0
        + PAIR_ENERGY_WEIGHT * (1.0 - abs(out.energy - into.energy))
        + PAIR_BARS_WEIGHT * (shorter / longer if bars_match and longer > 0 else 0.0)
    )
    return CuePair(mix_out=out.time, mix_in=into.time, bars=max(1, int(shorter)), score=round(score, 4))

"""Compares estimates with the truth, by mir_eval (Raffel et al., "mir_eval", ISMIR 2014)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from benchmarks.music.estimate import Estimate, Spans
from benchmarks.music.songs import ComposedSong
from mismo_grpc.generation.annotation import Span

Floats = npt.NDArray[np.float64]

TEMPO_TOLERANCE = 0.04
"""Gouyon et al., "An experimental comparison of audio tempo induction algorithms", IEEE TASLP 14(5), 2006."""
OCTAVES = (1.0, 2.0, 3.0, 1 / 2, 1 / 3)
"""The factors that accuracy 2 of the same paper accepts."""
WINDOWS = (0.5, 3.0)
"""Of hits of boundaries, in seconds (Turnbull et al., ISMIR 2007; Levy and Sandler, IEEE TASLP 16(2), 2008)."""


def composed_scores(song: ComposedSong, found: Estimate) -> dict[str, float]:
    """The scores of all that was found, 0 to 1; without the scores of what has no analysis or no truth."""
    truth, scores = song.truth, dict[str, float]()
    with warnings.catch_warnings():
        # Of empty estimates, which have a score like others.
        warnings.simplefilter("ignore")
        if found.beats is not None:
            scores |= beat_scores(truth.beats, found.beats)
            scores |= tempo_scores(truth.tempo, found.tempo)
        if found.downbeats is not None:
            scores["downbeat_f"] = beat_scores(truth.downbeats, found.downbeats)["beat_f"]
            scores["metre"] = float(found.beats_per_bar == truth.beats_per_bar)
        if found.key is not None:
            scores["key"] = key_score(song.key, found.key)
        if found.chords is not None:
            scores |= chord_scores(truth.chords, found.chords)
        if found.sections is not None and len(truth.sections) > 1:
            scores |= section_scores(truth.sections, found.sections)
    return scores


def beat_scores(truth: Sequence[float], found: Sequence[float]) -> dict[str, float]:
    """F-measure within 70 ms and continuity (CMLt, and AMLt, which accepts other metrical levels) from second 5 on."""
    beat = _mir_eval().beat
    reference, estimate = (beat.trim_beats(np.asarray(times, dtype=np.float64)) for times in (truth, found))
    _, cmlt, _, amlt = beat.continuity(reference, estimate)
    return {
        "beat_f": float(beat.f_measure(reference, estimate)),
        "cmlt": float(cmlt),
        "amlt": float(amlt),
    }


def tempo_scores(truth: float, found: float | None) -> dict[str, float]:
    """Accuracy 1: within 4 %; accuracy 2: within 4 % of the tempo or of its double, triple, half or third."""
    return {
        "tempo_1": float(found is not None and _near(found, truth, TEMPO_TOLERANCE)),
        "tempo_2": float(
            found is not None and any(_near(found, truth * octave, TEMPO_TOLERANCE) for octave in OCTAVES)
        ),
    }


def key_score(truth: str, found: str, *, either_fifth: bool = False) -> float:
    """MIREX: 1 for the key, 0.5 for a fifth above it, 0.3 for its relative, 0.2 for its parallel key; "" has 0.

    With `either_fifth` also 0.5 for a fifth below.
    """
    if not found:
        return 0.0
    weighted = _mir_eval().key.weighted_score
    # All relations but the fifth are the same in both directions.
    return float(max(weighted(truth, found), weighted(found, truth) if either_fifth else 0.0))


def chord_scores(truth: Sequence[Span], found: Spans) -> dict[str, float]:
    """Weighted overlap of major and minor triads, and with sevenths (MIREX); by the clock."""
    scores = _mir_eval().chord.evaluate(
        _intervals([(s.start, s.end, s.label) for s in truth]),
        [s.label for s in truth],
        _intervals(found),
        [label for _, _, label in found],
    )
    return {"chord_majmin": float(scores["majmin"]), "chord_sevenths": float(scores["sevenths"])}


def section_scores(truth: Sequence[Span], found: Spans) -> dict[str, float]:
    """Hit rate (F) of the boundaries within 0.5 s and 3 s: of all (mir_eval's default), and of the inner ones.

    Beginning and end of a song are hits of every estimate, so the score of the inner ones tells estimates apart better.
    """
    reference = _intervals([(s.start, s.end, s.label) for s in truth])
    estimate = _intervals(found)
    segment = _mir_eval().segment
    return {
        f"{which}_{window:g}": float(segment.detection(reference, estimate, window=window, trim=trim)[2])
        for which, trim in (("boundary", False), ("inner", True))
        for window in WINDOWS
    }


def mean(values: Sequence[float]) -> float | None:
    """Their mean; None for no values."""
    return sum(values) / len(values) if values else None


def within(found: float, truth: float, tolerance: float, *, octaves: bool) -> bool:
    """Whether a tempo is the true one within a relative tolerance, or with `octaves` its double or half."""
    factors = (1.0, 2.0, 0.5) if octaves else (1.0,)
    return any(_near(found, truth * factor, tolerance) for factor in factors)


def _near(found: float, truth: float, tolerance: float) -> bool:
    return abs(found - truth) <= tolerance * truth


def _intervals(spans: Sequence[tuple[float, float, str]]) -> Floats:
    return np.array([(start, end) for start, end, _ in spans], dtype=np.float64).reshape(-1, 2)


def _mir_eval() -> Any:
    import mir_eval

    return cast("Any", mir_eval)

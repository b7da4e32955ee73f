"""Runs librosa on a song: its beat tracker, and the usual estimates of key, chords and sections from its features.

librosa has no downbeats. Its agglomerative segmentation must be given the number of sections; it gets the true one.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from benchmarks.music.estimate import Estimate, Spans
from benchmarks.process_memory import peak_rss
from mismo_grpc.analysis.mix import MixFile
from mismo_grpc.analysis.tonal.profiles import KRUMHANSL_KESSLER
from mismo_grpc.generation.theory import PITCH_NAMES

Floats = npt.NDArray[np.float64]

RATE = 22_050
"""librosa's default sample rate."""
HOP = 512
MODULES = ("librosa", "numba", "soxr", "sklearn.cluster", "scipy.signal")
STAY = 0.9
"""The probability that a chord lasts another beat."""

TRIADS = {"maj": (0, 4, 7), "min": (0, 3, 7)}
"""The intervals of the chords in semitones."""


def estimate_peer(mix: MixFile, sections: int | None) -> Estimate:
    """All that librosa finds in a song; a task of the analysis pool. Chords and `sections` only if that is given."""
    librosa = _librosa()
    found = Estimate(beat_tracker="librosa")
    audio = found.timed(
        "load",
        lambda: librosa.resample(
            np.asarray(mix.samples().mean(axis=1)), orig_sr=mix.sample_rate, target_sr=RATE
        ),
    )
    tempo, frames = found.timed("beats", lambda: librosa.beat.beat_track(y=audio, sr=RATE, hop_length=HOP))
    found.tempo = float(np.atleast_1d(tempo)[0])
    found.beats = tuple(librosa.frames_to_time(frames, sr=RATE, hop_length=HOP).tolist())
    chroma = found.timed("chroma", lambda: librosa.feature.chroma_cqt(y=audio, sr=RATE, hop_length=HOP))
    found.key = key_of(np.asarray(chroma.mean(axis=1), dtype=np.float64))
    if sections is not None:
        end = len(audio) / RATE
        found.chords = found.timed("chords", partial(_chords, chroma, frames, end))
        found.sections = found.timed("sections", partial(_sections, audio, chroma, frames, end, sections))
    found.peak_rss = peak_rss()
    return found


def key_of(chroma: Floats) -> str:
    """The key whose profile correlates best with the mean chroma (the Krumhansl-Schmuckler algorithm)."""
    minor, tonic = divmod(int(KRUMHANSL_KESSLER.correlations(chroma).argmax()), len(PITCH_NAMES))
    return f"{PITCH_NAMES[tonic]} {'minor' if minor else 'major'}"


def _chords(chroma: Floats, beats: npt.NDArray[np.int64], end: float) -> Spans:
    """Major and minor triads: template matching on chroma by beat, smoothed by Viterbi decoding."""
    librosa = _librosa()
    synchronous = np.asarray(librosa.util.sync(chroma, beats, aggregate=np.median))
    labels = [f"{name}:{quality}" for quality in TRIADS for name in PITCH_NAMES]
    templates = np.zeros((len(labels), 12))
    for row, (quality, tonic) in enumerate((q, t) for q in TRIADS for t in range(12)):
        templates[row, [(tonic + step) % 12 for step in TRIADS[quality]]] = 1 / np.sqrt(3)
    likeness = templates @ (synchronous / np.maximum(np.linalg.norm(synchronous, axis=0), 1e-9))
    # A softmax, so that the likenesses are the probabilities that the decoder takes.
    odds = np.exp(10 * likeness)
    path: list[int] = librosa.sequence.viterbi_discriminative(
        odds / odds.sum(axis=0), librosa.sequence.transition_loop(len(labels), STAY)
    ).tolist()
    times = _edges(beats, synchronous.shape[1], end)
    return tuple((times[i], times[i + 1], labels[state]) for i, state in enumerate(path))


def _sections(audio: Any, chroma: Floats, beats: npt.NDArray[np.int64], end: float, count: int) -> Spans:
    """Agglomerative clustering of chroma and timbre by beat."""
    librosa = _librosa()
    timbre = librosa.feature.mfcc(y=audio, sr=RATE, hop_length=HOP)
    rows = [
        np.asarray(librosa.util.sync(feature, beats, aggregate=np.mean))
        for feature in (chroma, timbre[:, : chroma.shape[1]])
    ]
    scaled = [
        (row - row.mean(axis=1, keepdims=True)) / (row.std(axis=1, keepdims=True) + 1e-9) for row in rows
    ]
    stacked = np.concatenate(scaled)
    times = _edges(beats, stacked.shape[1], end)
    firsts: list[int] = librosa.segment.agglomerative(stacked, min(count, stacked.shape[1])).tolist()
    starts = [times[first] for first in firsts]
    return tuple(
        (begin, stop, str(i)) for i, (begin, stop) in enumerate(zip(starts, [*starts[1:], end], strict=True))
    )


def _edges(beats: npt.NDArray[np.int64], columns: int, end: float) -> list[float]:
    """The times at which the columns of beat-synchronous features begin, and the end of the last."""
    times: list[float] = _librosa().frames_to_time(beats, sr=RATE, hop_length=HOP).tolist()
    edges = times if times and times[0] == 0.0 else [0.0, *times]
    return [*edges[:columns], end]


def _librosa() -> Any:
    import librosa

    return cast("Any", librosa)

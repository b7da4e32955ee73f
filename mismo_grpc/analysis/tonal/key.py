"""Estimates the key and the tuning of a track."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mismo_grpc.analysis.arrays import Features, Values
from mismo_grpc.analysis.audio_source import AudioSource
from mismo_grpc.analysis.results import Key, Mode
from mismo_grpc.analysis.tonal.chroma import Chromagram, chromagram
from mismo_grpc.analysis.tonal.profiles import ALBRECHT_SHANAHAN, KRUMHANSL_KESSLER
from mismo_grpc.analysis.tonal.spectrum import FRAMES_PER_SECOND

PROFILES = (KRUMHANSL_KESSLER, ALBRECHT_SHANAHAN)
"""The mean of their correlations decides: one follows listeners, the other scores."""
BASS_WEIGHT = 0.2
"""The share of the low notes relative to all others. The bass often plays the tonic, but in some tracks one note."""
QUIET = 0.01
"""Frames with an RMS below this part of the loudest frame's are ignored."""

FULL_CLARITY = 0.25
"""The clarity of the tuning from which it does not lower the confidence: that of dense, vocal or noisy music."""
FULL_SECONDS = 10.0
"""The duration of sound from which it does not lower the confidence."""
FULL_PITCH_CLASSES = 5.0
"""The effective number of pitch classes from which it does not lower the confidence; that of most music is over 6."""
SHARPNESS = 12.0
"""The factor of correlations in the softmax for the confidence."""


@dataclass(frozen=True)
class Tonality:
    """The key of a track and its tuning, the frequency of A4 in Hz; both None if it has no pitched sound."""

    key: Key | None
    tuning: float | None


def estimate_tonality(audio: AudioSource, sample_rate: int) -> Tonality:
    """Estimates key and tuning of audio [frames, channels] or [frames], floating point.

    The key is the one whose profile correlates best with the chroma of the track; modes other than major and minor
    count as the one with the same third (dorian is minor, mixolydian major). The confidence is the softmax of the
    correlations, lowered for unclear pitch, for few pitch classes and for less than 10 s of sound: for clear music
    about the probability that the key is right, for noise, drums and speech near 0. NaN and infinite samples count
    as 0.

    Raises ValueError as `check_audio` does.
    """
    return _tonality(chromagram(audio, sample_rate))


def _tonality(chroma: Chromagram) -> Tonality:
    loudest = float(chroma.level.max(initial=0.0))
    heard = (chroma.level > QUIET * loudest) & (chroma.treble.any(axis=1) | chroma.bass.any(axis=1))
    frames = int(np.count_nonzero(heard))
    if frames == 0 or chroma.tuning.clarity == 0.0:
        return Tonality(None, None)
    summary = _summary(chroma.treble[heard]) + BASS_WEIGHT * _summary(chroma.bass[heard])
    scores = np.mean([profile.correlations(summary) for profile in PROFILES], axis=0)
    best = int(np.argmax(scores))
    likelihoods = np.exp(SHARPNESS * (scores - scores[best]))
    confidence = (
        float(1 / likelihoods.sum())
        * min(1.0, chroma.tuning.clarity / FULL_CLARITY)
        * min(1.0, frames / FRAMES_PER_SECOND / FULL_SECONDS)
        * min(1.0, (_effective_number(summary) - 1.0) / (FULL_PITCH_CLASSES - 1.0))
    )
    mode = Mode.MAJOR if best < 12 else Mode.MINOR
    return Tonality(Key(best % 12, mode, round(max(confidence, 0.0), 3)), round(chroma.tuning.a4, 2))


def _effective_number(chroma: Values) -> float:
    """The number of pitch classes of equal strength that would have the same entropy."""
    shares = chroma[chroma > 0.0] / chroma.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def _summary(chroma: Features) -> Values:
    """The sum of the frames as a distribution, [12]; each frame weighs by the root of its length."""
    lengths = np.linalg.norm(chroma, axis=1, keepdims=True).astype(np.float64)
    floor = 0.1 * float(np.median(lengths)) + 1e-9
    total = np.sum(chroma / np.sqrt(np.maximum(lengths, floor)), axis=0)
    result: Values = total / max(float(total.sum()), 1e-9)
    return result

"""Estimates from the mix, without stems, in how much of a track somebody sings.

A voice glides and vibrates: its harmonics move together, for several frames in the same direction. Fixed instruments do
not. The movement of pitch in bands is the idea of the fluctogram (Sonnleitner et al. 2012; Lehner et al. 2014).
"""

from __future__ import annotations

import numpy as np

from mismo_grpc.analysis.arrays import Features, Flags, Values
from mismo_grpc.analysis.character.frames import (
    FRAMES_PER_SECOND,
    LAG_FRAMES,
    LARGEST_SHIFT,
    FrameFeatures,
    band_numbers,
    erb_number,
)

WINDOW_FRAMES = 3 * FRAMES_PER_SECOND
VOICE_HZ = (250.0, 4000.0)
MOVEMENT_WEIGHT, VOICE_BAND_WEIGHT, OFFSET = 1.31, 3.52, 3.29
"""A logistic regression on windows of 3 s of composed songs and of songs with known stems; both sets alone give nearly
the same weights. It recognises 7 of 10 windows."""
MOST_IN_BAND = 0.65
"""A share of the power in the range of voices above this is no further evidence: it may be any solo."""
FLATTEST = 0.68
"""Spectral flatness of the bands of the voice above which a window is noise; music has 0.1 to 0.6, pink noise 0.9."""
PROBABILITY_RANGE = (0.4, 0.8)
"""The probability of a window is mostly 0.2 to 0.5 without a voice, and 0.5 to 0.9 with one."""


def vocal_share_of_mix(features: FrameFeatures, sounding: Flags) -> float:
    """An estimate of the share of the sounding windows in which somebody sings; 0 if nothing sounds."""
    count = len(features.power) // WINDOW_FRAMES
    if count == 0:
        return 0.0
    voice = (band_numbers() > erb_number(VOICE_HZ[0])) & (band_numbers() < erb_number(VOICE_HZ[1]))
    total = features.bands.sum(axis=1, dtype=np.float64)
    inside = features.bands[:, voice].sum(axis=1, dtype=np.float64)
    band = np.minimum(_windows(inside / (total + 1e-9), count), MOST_IN_BAND)
    noisy = _windows(_flatness(features.bands[:, voice]), count) > FLATTEST
    evidence = MOVEMENT_WEIGHT * np.log(_windows(_moving(features), count) + 0.01)
    probabilities = 1 / (1 + np.exp(-(evidence + VOICE_BAND_WEIGHT * band + OFFSET)))
    low, high = PROBABILITY_RANGE
    shares = np.where(noisy, 0.0, np.clip((probabilities - low) / (high - low), 0.0, 1.0))
    heard = _windows(sounding.astype(np.float64), count) > 0.5
    return float(shares[heard].mean()) if heard.any() else 0.0


def _moving(features: FrameFeatures) -> Values:
    """1 for each frame in which two neighbouring bands move in the direction in which they moved 40 ms before."""
    moving = np.zeros(len(features.shifts))
    now, before = features.shifts[LAG_FRAMES:], features.shifts[:-LAG_FRAMES]
    # A shift by the largest amount is a limit of the search.
    same = (np.sign(now) * np.sign(before) > 0) & (np.abs(now) < LARGEST_SHIFT)
    together = same[:, :-1] & same[:, 1:] & (np.sign(now[:, :-1]) == np.sign(now[:, 1:]))
    moving[LAG_FRAMES:] = together.any(axis=1)
    return moving


def _flatness(bands: Features) -> Values:
    """The geometric mean of the bands divided by their arithmetic mean, [frames]."""
    powers = bands.astype(np.float64) + 1e-12
    flatness: Values = np.exp(np.log(powers).mean(axis=1)) / powers.mean(axis=1)
    return flatness


def _windows(values: Values, count: int) -> Values:
    means: Values = values[: count * WINDOW_FRAMES].reshape(count, WINDOW_FRAMES).mean(axis=1)
    return means

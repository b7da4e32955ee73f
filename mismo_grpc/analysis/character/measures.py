"""The measures of a track's character from its frames, each from 0 to 1; docs/analyses.md says what they mean."""

from __future__ import annotations

import numpy as np

from mismo_grpc.analysis.arrays import Flags, Values
from mismo_grpc.analysis.character.danceability import mean_exponent
from mismo_grpc.analysis.character.frames import (
    FRAMES_PER_SECOND,
    FrameFeatures,
    band_numbers,
    erb_number,
)

SILENCE = 1e-7
"""Mean square of -70 dBFS, the absolute gate of BS.1770; a track that is quieter has no character."""
ACTIVE_DB = -30.0
"""Frames that are further below the 95th percentile of the track are pauses."""

FLUCTUATION_RANGE = (0.6, 1.6)
"""1 / exponent of music without a beat and of strict dance music."""
PULSE_RANGE = (0.1, 0.6)
"""Autocorrelation of the onsets at the beat: of noise, and of a drum machine."""
PULSE_SECONDS = (0.3, 1.0)
"""Periods of a beat: 200 to 60 BPM."""
PULSE_WINDOW_SECONDS = 8
LEAST_RISE_DB = 0.05
"""Standard deviation of the rises of a steady tone; what is below has no pulse."""

LEVEL_RANGE_DB = (-40.0, -10.0)
"""dBFS (RMS) of the loud frames: of a quiet recording of a solo, and of a loud master."""
MOST_ONSETS = 6.0
"""Onsets a second of dense music."""
ONSET_RISE_DB = 1.5
"""An onset is at least so much above the mean rise of the second around it."""
ENERGY_WEIGHTS = (0.5, 0.3, 0.2)
"""Of level, onsets and brightness; loudness is the strongest cue of arousal (Gabrielsson and Lindström 2010)."""

BRIGHTNESS_RANGE = (123.0, 3500.0)
"""Hz; the centroid of a bass alone, and of cymbals alone."""

UNREST_DB = (1.1, 0.2, -0.9)
DECAY_DB = (-0.08, 0.06, -0.6)
SUB_BASS_DB = (-7.0, 3.0, -0.4)
"""Middle, spread and weight of each sign of acoustic instruments, from compositions whose notes were rendered twice."""
BODY_HZ = (150.0, 5000.0)
"""The range in which the unrest is measured: most instruments, without kicks and cymbals."""
DECAY_HZ = 600.0
"""The decay is measured below this, where the fundamentals are."""
SUB_BASS_HZ = 60.0
MOST_SPREADS = 2.5
"""One sign alone does not decide."""


def sounding_frames(features: FrameFeatures) -> Flags:
    """The frames that are not pauses; none of a silent track."""
    loud = float(np.percentile(features.power, 95))
    flags: Flags = features.power > max(loud * 10 ** (ACTIVE_DB / 10), SILENCE)
    return flags


def danceability(features: FrameFeatures, rises: Values) -> float:
    """The geometric mean of how little the level drifts (Streich and Herrera 2005) and how clear the pulse is."""
    exponent = mean_exponent(features.envelope)
    if exponent is None:
        return 0.0
    steadiness = _scaled(1.0 / max(exponent, 0.1), *FLUCTUATION_RANGE)
    return float(np.sqrt(steadiness * _scaled(pulse_clarity(rises), *PULSE_RANGE)))


def pulse_clarity(rises: Values) -> float:
    """The median, over windows of 8 s, of the highest autocorrelation of the rises at the periods of a beat."""
    length = PULSE_WINDOW_SECONDS * FRAMES_PER_SECOND
    shortest, longest = (round(seconds * FRAMES_PER_SECOND) for seconds in PULSE_SECONDS)
    peaks: list[float] = []
    for begin in range(0, max(1, len(rises) - length // 2), length // 2):
        window = rises[begin : begin + length]
        window = window - window.mean()
        energy = float(window @ window)
        if len(window) < 2 * longest or energy < len(window) * LEAST_RISE_DB**2:
            peaks.append(0.0)
            continue
        spectrum = np.fft.rfft(window, 2 * len(window))
        correlation = np.fft.irfft(np.square(np.abs(spectrum)), 2 * len(window))
        lags = np.arange(shortest, longest + 1)
        peaks.append(float((correlation[lags] / (1 - lags / len(window))).max() / energy))
    return float(np.median(peaks)) if peaks else 0.0


def level_rises(features: FrameFeatures) -> Values:
    """The mean rise of the bands since the frame before, in dB, [frames]; small sounds below -60 dB are ignored."""
    loud = float(np.percentile(features.power, 95))
    floor = np.float32(max(loud, SILENCE) * 1e-6)
    levels = 10.0 * np.log10(features.bands + floor)
    rises = np.zeros(len(levels))
    rises[1:] = np.maximum(np.diff(levels, axis=0), 0.0).mean(axis=1, dtype=np.float64)
    return rises


def onset_density(rises: Values) -> float:
    """Onsets a second: peaks of the rises above their mean in the second around."""
    half = FRAMES_PER_SECOND // 2
    sums = np.concatenate([[0.0], np.cumsum(rises)])
    index = np.arange(len(rises))
    begin, end = np.maximum(index - half, 0), np.minimum(index + half + 1, len(rises))
    mean = (sums[end] - sums[begin]) / (end - begin)
    padded = np.pad(rises, 2, constant_values=-1.0)
    around = np.lib.stride_tricks.sliding_window_view(padded, 5)
    peaks = (rises >= around.max(axis=1)) & (rises > mean + ONSET_RISE_DB) & (rises > padded[1:-3])
    return float(peaks.sum() * FRAMES_PER_SECOND / len(rises))


def energy(features: FrameFeatures, rises: Values, sounding: Flags, bright: float) -> float:
    """Perceived intensity: the weighted mean of level, onsets and brightness."""
    power = float(features.power[sounding].mean(dtype=np.float64))
    level = _scaled(10 * np.log10(power), *LEVEL_RANGE_DB)
    onsets = min(onset_density(rises) / MOST_ONSETS, 1.0)
    return float(np.dot(ENERGY_WEIGHTS, (level, onsets, bright)))


def brightness(features: FrameFeatures, sounding: Flags) -> float:
    """The centroid of the amplitudes on the ERB-rate scale (Glasberg and Moore 1990), weighted by the level."""
    amplitudes = np.sqrt(features.bands[sounding])
    total = float(amplitudes.sum(dtype=np.float64))
    if total <= 0.0:
        return 0.0
    centroid = float(amplitudes.sum(axis=0, dtype=np.float64) @ band_numbers()) / total
    low, high = (float(number) for number in erb_number(BRIGHTNESS_RANGE))
    return _scaled(centroid, low, high)


def acousticness(features: FrameFeatures, sounding: Flags) -> float:
    """An estimate from three signs, of which acoustic instruments have little, much and little.

    The unrest: the median change of a band between frames, because oscillators beat. The decay: the median change
    below DECAY_HZ, because struck and plucked strings decay all the time. The sub-bass: the share of the power below
    SUB_BASS_HZ.
    """
    bands = features.bands[sounding]
    shares = bands.sum(axis=0, dtype=np.float64)
    if float(shares.sum()) <= 0.0 or len(bands) < 2:
        return 0.0
    shares /= shares.sum()
    numbers = band_numbers()
    low, middle, high = (float(number) for number in erb_number([BODY_HZ[0], DECAY_HZ, BODY_HZ[1]]))
    body = (numbers > low) & (numbers < high)
    weights = shares[body] / max(float(shares[body].sum()), 1e-12)
    changes = np.diff(10 * np.log10(bands[:, body] + np.float32(1e-9)), axis=0)
    unrest = float(np.median(np.abs(changes), axis=0) @ weights)
    decay = float(np.median(changes[:, numbers[body] < middle]))
    sub = 10 * np.log10(float(shares[numbers < float(erb_number(SUB_BASS_HZ))].sum()) + 1e-9)
    evidence = 0.0
    for value, (centre, spread, weight) in zip(
        (unrest, decay, sub), (UNREST_DB, DECAY_DB, SUB_BASS_DB), strict=True
    ):
        evidence += weight * float(np.clip((value - centre) / spread, -MOST_SPREADS, MOST_SPREADS))
    return float(1.0 / (1.0 + np.exp(-evidence)))


def _scaled(value: float, low: float, high: float) -> float:
    """From 0 at `low` to 1 at `high`."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))

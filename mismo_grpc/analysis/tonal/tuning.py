"""The tuning of music: the frequency of A4."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mismo_grpc.analysis.arrays import Indices, Values
from mismo_grpc.analysis.audio_source import AudioSource
from mismo_grpc.analysis.tonal.spectrum import frame_count, spectral_peaks

A4_HZ = 440.0
"""The standard pitch of ISO 16."""
MOST_FRAMES = 400
"""Analysis frames that the tuning is measured on, spread evenly over the track."""
CENTS = 100
"""The bins of the histogram, one for each cent of a semitone."""
SMOOTHING_CENTS = 8.0
"""The standard deviation of the smoothing, about the width of a vibrato or of a chorus."""
NOISE = 0.06
NOISE_OF_ONE_FRAME = 0.3
"""The mean of the deviations of n frames of noise stays below NOISE + NOISE_OF_ONE_FRAME / sqrt(n): the mean of m
random angles has a length of about 1 / sqrt(m), and a frame has ten peaks or more."""
RANGE_HZ = (80.0, 2500.0)
"""Below, peaks are too inaccurate; above, partials of strings are sharp and those of voices spread."""


@dataclass(frozen=True)
class Tuning:
    """`a4` is in Hz, within half a semitone of 440.

    `clarity` is from 0 to 1: how closely the partials keep to the semitones of equal temperament. It is 0 if they do
    so no more than those of noise.
    """

    a4: float
    clarity: float


def estimate_tuning(audio: AudioSource, sample_rate: int) -> Tuning:
    """Estimates the tuning of audio [frames, channels] or [frames].

    The tuning is the most frequent deviation of spectral peaks from the nearest semitone. A mean would be too low,
    because the fifth and seventh harmonics are 14 and 31 cents below a semitone. The clarity is the length of the mean
    of the deviations as angles, a semitone being a full circle (Dressler and Streich, Tuning frequency estimation
    using circular statistics, ISMIR 2007), as far as it is above that of noise. Peaks weigh by the square root of
    their amplitude, all frames equally.
    """
    total = frame_count(audio.shape[0], sample_rate)
    frames = np.unique(np.linspace(0, max(total - 1, 0), min(total, MOST_FRAMES)).round().astype(np.int64))
    histogram = np.zeros(CENTS)
    for peaks in spectral_peaks(audio, sample_rate, frames):
        used = (peaks.frequency >= RANGE_HZ[0]) & (peaks.frequency <= RANGE_HZ[1])
        cents = np.round(12 * CENTS * np.log2(peaks.frequency[used] / A4_HZ)).astype(np.int64) % CENTS
        weights = _weights(peaks.frame[used], peaks.amplitude[used], len(peaks.level))
        histogram += np.bincount(cents, weights, CENTS)
    if not histogram.any():
        return Tuning(A4_HZ, 0.0)
    circle = np.exp(2j * np.pi * np.arange(CENTS) / CENTS)
    length = float(abs(histogram @ circle) / histogram.sum())
    # The weights of each frame with peaks add up to at most 1.
    noise = NOISE + NOISE_OF_ONE_FRAME / np.sqrt(histogram.sum())
    clarity = float(max(0.0, (length - noise) / max(1.0 - noise, 0.1)))
    return Tuning(A4_HZ * 2 ** (_mode(histogram) / (12 * CENTS)), clarity)


def _mode(histogram: Values) -> float:
    """The place of the maximum of the smoothed circular histogram, from -CENTS / 2 to CENTS / 2."""
    distance = np.minimum(np.arange(CENTS), CENTS - np.arange(CENTS))
    kernel = np.exp(-0.5 * np.square(distance / SMOOTHING_CENTS))
    smoothed = np.fft.irfft(np.fft.rfft(histogram) * np.fft.rfft(kernel), CENTS)
    best = int(np.argmax(smoothed))
    left, top, right = (float(smoothed[(best + step) % CENTS]) for step in (-1, 0, 1))
    curvature = left - 2 * top + right
    place = best + (0.5 * (left - right) / curvature if curvature < 0 else 0.0)
    return place - CENTS if place > CENTS / 2 else place


def _weights(frame: Indices, amplitude: Values, frames: int) -> Values:
    """The weights of peaks; those of a frame add up to 1."""
    weights = np.sqrt(amplitude)
    sums = np.bincount(frame, weights, frames)
    result: Values = weights / np.maximum(sums[frame], 1e-12)
    return result

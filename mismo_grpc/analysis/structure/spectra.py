"""Short-time spectra of a track, reduced to bands, pitch classes and loudness, in one pass over the audio."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mismo_grpc.analysis.arrays import Audio, Features, Values
from mismo_grpc.analysis.audio_source import by_channel, check_audio, excerpt
from mismo_grpc.analysis.k_weighting import k_weighting_gain

WINDOW_SECONDS = 0.186
"""The window is the power of two nearest to this: 8192 frames at 44.1 kHz, long enough to separate bass notes."""
HOPS_PER_WINDOW = 4
BLOCK_HOPS = 64
"""The hops that are transformed at once; bounds the memory."""

BANDS = 36
LOWEST_BAND_HZ, HIGHEST_BAND_HZ = 30.0, 16_000.0
PITCH_CLASSES = 12
LOWEST_PITCH_HZ, HIGHEST_PITCH_HZ = 110.0, 2_000.0
"""Below, a semitone is narrower than a bin of the spectrum; above, partials and percussion prevail."""
C0_HZ = 440.0 * 2.0 ** (-57 / 12)

SILENCE = 1e-10
"""The mean square of a sine at -97 dBFS; levels of bands are not measured below it."""


@dataclass(frozen=True)
class Spectra:
    """Features of each hop; hop n covers the seconds from n · `hop_seconds` on.

    `bands` [hops, BANDS] is the level of each mel band in dB; `chroma` [hops, PITCH_CLASSES] the magnitude of each
    pitch class, C first; `power` [hops] the K-weighted mean square, summed over the channels (ITU-R BS.1770-5).
    """

    duration: float
    hop_seconds: float
    bands: Features
    chroma: Features
    power: Values


def measure_spectra(audio: Audio, sample_rate: int) -> Spectra:
    """Measures audio [frames, channels], or [frames] for mono, in which 1.0 is full scale.

    The powers of the channels are added, so a channel in antiphase cancels nothing. NaN and infinite samples count as
    0. Uses about 4 KB of memory for each second of audio.

    Raises ValueError as `check_audio` does.
    """
    check_audio(audio, sample_rate)
    frames = len(audio)
    channels = by_channel(audio)
    length = 1 << round(math.log2(WINDOW_SECONDS * sample_rate))
    hop = length // HOPS_PER_WINDOW
    hops = -(-frames // hop)
    window = np.hanning(length + 1)[:-1].astype(np.float32)
    frequencies: Values = np.arange(length // 2 + 1, dtype=np.float64) * (sample_rate / length)
    # A sine of mean square m gives the band that contains it a power of m, apart from the filter's slope.
    scale = 2.0 / float(np.square(window, dtype=np.float64).sum()) / length
    mel = (_mel_filters(frequencies) * scale).astype(np.float32)
    pitches = (_pitch_filters(frequencies) * math.sqrt(scale)).astype(np.float32)
    pitched = slice(*np.searchsorted(frequencies, (LOWEST_PITCH_HZ, HIGHEST_PITCH_HZ)).tolist())
    weighting = (k_weighting_gain(frequencies) * scale).astype(np.float32)

    bands = np.zeros((hops, BANDS), np.float32)
    chroma = np.zeros((hops, PITCH_CLASSES), np.float32)
    power = np.zeros(hops)
    # The middle of a window is the middle of its hop.
    before = (length - hop) // 2
    for first in range(0, hops, BLOCK_HOPS):
        count = min(BLOCK_HOPS, hops - first)
        begin = first * hop - before
        samples = excerpt(channels, begin, begin + (count - 1) * hop + length)
        spectrum = np.zeros((count, len(frequencies)), np.float32)
        for channel in np.ascontiguousarray(samples.T):
            windows = np.lib.stride_tricks.sliding_window_view(channel, length)[::hop] * window
            transform = np.fft.rfft(windows, axis=1)
            spectrum += np.square(transform.real) + np.square(transform.imag)
        here = slice(first, first + count)
        bands[here] = spectrum @ mel
        power[here] = spectrum @ weighting
        chroma[here] = np.sqrt(spectrum[:, pitched]) @ pitches[pitched]
    levels: Features = np.float32(10.0) * np.log10(np.maximum(bands, np.float32(SILENCE)))
    return Spectra(
        duration=frames / sample_rate,
        hop_seconds=hop / sample_rate,
        bands=levels,
        chroma=chroma,
        power=power,
    )


def _mel_filters(frequencies: Values) -> Values:
    """Triangles [bins, BANDS], equally spaced on the mel scale m = 2595 · log10(1 + f / 700) (O'Shaughnessy 1987)."""
    highest = min(HIGHEST_BAND_HZ, float(frequencies[-1]))
    low, high = (2595.0 * math.log10(1.0 + hz / 700.0) for hz in (LOWEST_BAND_HZ, highest))
    corners = 700.0 * (10.0 ** (np.linspace(low, high, BANDS + 2) / 2595.0) - 1.0)
    left, middle, right = corners[:-2], corners[1:-1], corners[2:]
    column = frequencies[:, np.newaxis]
    rising, falling = (column - left) / (middle - left), (right - column) / (right - middle)
    filters: Values = np.maximum(0.0, np.minimum(rising, falling))
    return filters


def _pitch_filters(frequencies: Values) -> Values:
    """Weights [bins, PITCH_CLASSES]: each bin is divided between the two nearest pitches (A4 = 440 Hz)."""
    pitch = 12.0 * np.log2(np.maximum(frequencies, 1.0) / C0_HZ)
    distance = np.abs((pitch[:, np.newaxis] - np.arange(PITCH_CLASSES) + 6.0) % 12.0 - 6.0)
    filters: Values = np.maximum(0.0, 1.0 - distance)
    return filters

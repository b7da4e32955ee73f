"""Measures how strongly sound begins: log-magnitude spectral flux in four frequency ranges, and changes of harmony.

Spectral flux as onset strength: S. Dixon, "Onset Detection Revisited", DAFx 2006; logarithmic compression: A. Klapuri
et al., "Analysis of the Meter of Acoustic Musical Signals", IEEE TASLP 14(1), 2006.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mismo_grpc.analysis.arrays import Audio, Features, Indices, Samples, Values
from mismo_grpc.analysis.audio_source import mono_excerpt

FRAMES_PER_SECOND = 100
WINDOW_SECONDS = 0.04
LEAD_FRAMES = 4
"""The first frame is centred this many hops before the audio begins, so that an onset at 0 s has a rising edge."""
LAG_FRAMES = 2
"""The flux is the increase over two hops, which is the time in which the window passes half of a sudden onset."""
COMPRESSION = 10.0
"""The factor of the magnitude, relative to the mean of the track, in log(1 + factor * magnitude)."""

LOWEST_HZ = 30.0
HIGHEST_HZ = 16_000.0
BANDS_PER_OCTAVE = 3
RANGE_EDGES_HZ = (160.0, 1000.0, 4500.0)
"""Kicks and basses; bodies of snares, chords; snares and claps; hi-hats."""
RANGES = len(RANGE_EDGES_HZ) + 1

CHROMA_RATE = 11_025
"""The mix is decimated to about this rate before the chroma is measured."""
CHROMA_WINDOW_SECONDS = 0.185
"""Tells semitones apart from about 200 Hz up."""
FRAMES_PER_CHROMA = 5
CHROMA_HZ = (110.0, 1760.0)
"""A2 to A6."""

BLOCK_SECONDS = 4


@dataclass(frozen=True)
class Onsets:
    """`strength` is [frames, RANGES], `chroma` [frames / FRAMES_PER_CHROMA, 12]; `frame_rate` is frames a second.

    Frame i is centred at (i - LEAD_FRAMES) / frame_rate seconds.
    """

    strength: Features
    chroma: Features
    frame_rate: float

    def frame_of(self, time: Values) -> Values:
        """The frame, with its fraction, that is centred at a time in seconds."""
        return time * self.frame_rate + LEAD_FRAMES

    def time_of(self, frame: Values) -> Values:
        """The time in seconds at which a frame is centred."""
        return (frame - LEAD_FRAMES) / self.frame_rate


def measure_onsets(audio: Audio, sample_rate: int, *, block_seconds: int = BLOCK_SECONDS) -> Onsets:
    """Measures audio [frames, channels] or [frames]; NaN and infinite samples count as 0.

    Takes 14 kB of memory for each second of audio, beside that of a block. `block_seconds` does not change the result.
    """
    hop = max(1, round(sample_rate / FRAMES_PER_SECOND))
    window = _hann(WINDOW_SECONDS, sample_rate)
    decimation = max(1, round(sample_rate / CHROMA_RATE))
    long_window = _hann(CHROMA_WINDOW_SECONDS, sample_rate / decimation)
    bands, centres = _band_weights(sample_rate, _fft_size(window))
    pitches = _chroma_weights(sample_rate / decimation, _fft_size(long_window))
    # Whole chroma frames, so that each block begins with one.
    count = -(-(len(audio) // hop + 1 + 2 * LEAD_FRAMES) // FRAMES_PER_CHROMA) * FRAMES_PER_CHROMA
    step = max(1, block_seconds * FRAMES_PER_SECOND // FRAMES_PER_CHROMA) * FRAMES_PER_CHROMA
    magnitudes = np.empty((count, bands.shape[1]), np.float32)
    chroma = np.empty((count // FRAMES_PER_CHROMA, 12), np.float32)
    # A chroma window is centred on the middle one of its frames.
    origin = (FRAMES_PER_CHROMA // 2 - LEAD_FRAMES) * hop - decimation * len(long_window) // 2
    for begin in range(0, count, step):
        end = min(begin + step, count)
        places = (np.arange(begin, end) - LEAD_FRAMES) * hop
        first, last = int(places[0]) - len(window) // 2, int(places[-1]) - len(window) // 2
        mono = mono_excerpt(audio, first, last + len(window))
        magnitudes[begin:end] = _spectra(mono, places - places[0], window) @ bands
        # The windows of all blocks begin on one grid of decimated samples, of which sample 0 is at `origin`.
        starts = (places[::FRAMES_PER_CHROMA] + LEAD_FRAMES * hop) // decimation
        first, last = (origin + decimation * int(start) for start in (starts[0], starts[-1]))
        mono = mono_excerpt(audio, first, last + decimation * len(long_window))
        mono = mono.reshape(-1, decimation).mean(axis=1)
        part = slice(begin // FRAMES_PER_CHROMA, end // FRAMES_PER_CHROMA)
        chroma[part] = _spectra(mono, starts - starts[0], long_window) @ pitches
    return Onsets(_flux(magnitudes, centres), _compressed(chroma), sample_rate / hop)


def _fft_size(window: Features) -> int:
    return 1 << (len(window) - 1).bit_length()


def _hann(seconds: float, sample_rate: float) -> Features:
    length = max(8, round(seconds * sample_rate))
    return (0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(length) + 0.5) / length)).astype(np.float32)


def _spectra(mono: Samples, starts: Indices, window: Features) -> Features:
    """The magnitude spectra of the windows that begin at `starts`, [starts, bins]."""
    frames = np.lib.stride_tricks.sliding_window_view(mono, len(window))[starts]
    spectra: Features = np.abs(np.fft.rfft(frames * window, _fft_size(window), axis=1))
    return spectra / np.float32(window.sum())


def _band_weights(sample_rate: int, size: int) -> tuple[Features, Values]:
    """The weights of third-octave bands, triangular over the logarithm of frequency, [bins, bands], and the centres."""
    highest = min(HIGHEST_HZ, 0.45 * sample_rate)
    octaves = np.log2(highest / LOWEST_HZ)
    centres = LOWEST_HZ * 2 ** (np.arange(int(octaves * BANDS_PER_OCTAVE) + 1) / BANDS_PER_OCTAVE)
    frequencies = np.arange(size // 2 + 1) * sample_rate / size
    distance = np.abs(np.log2(np.maximum(frequencies, 1.0)[:, np.newaxis] / centres)) * BANDS_PER_OCTAVE
    weights = np.maximum(0.0, 1.0 - distance)
    # A low band that is narrower than a bin takes the nearest.
    weights[np.abs(frequencies[:, np.newaxis] - centres).argmin(axis=0), np.arange(len(centres))] += 1e-3
    return (weights / weights.sum(axis=0)).astype(np.float32), centres


def _chroma_weights(sample_rate: float, size: int) -> Features:
    """The weights of the pitch classes, [bins, 12], of the bins from CHROMA_HZ."""
    frequencies = np.arange(size // 2 + 1) * sample_rate / size
    pitch = 69 + 12 * np.log2(np.maximum(frequencies, 1.0) / 440.0)
    nearness = np.maximum(0.0, 1.0 - 2 * np.abs(pitch - np.round(pitch)))
    inside = (frequencies >= CHROMA_HZ[0]) & (frequencies <= CHROMA_HZ[1])
    weights = np.zeros((len(frequencies), 12), np.float32)
    weights[np.arange(len(frequencies)), np.round(pitch).astype(int) % 12] = nearness * inside
    return weights


def _compressed(magnitudes: Features) -> Features:
    mean = float(magnitudes.mean()) if magnitudes.size else 0.0
    return np.log1p(magnitudes * np.float32(COMPRESSION / max(mean, 1e-9)))


def _flux(magnitudes: Features, centres: Values) -> Features:
    """The increase of each band's level over LAG_FRAMES, [frames, RANGES]: the mean over the bands of a range."""
    level = _compressed(magnitudes)
    level[LAG_FRAMES:] = np.maximum(level[LAG_FRAMES:] - level[:-LAG_FRAMES], 0.0)
    which = np.searchsorted(RANGE_EDGES_HZ, centres)
    flux = np.zeros((len(level), RANGES), np.float32)
    for index in range(RANGES):
        if (which == index).any():
            flux[:, index] = level[:, which == index].mean(axis=1)
    return flux

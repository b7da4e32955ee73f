"""Measures a track frame by frame: power in auditory bands, movement of pitch, amplitude envelope."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mismo_grpc.analysis.arrays import Audio, Features, Samples, Values
from mismo_grpc.analysis.audio_source import downmix, excerpt

FRAMES_PER_SECOND = 50
ENVELOPE_PER_SECOND = 100
"""Streich and Herrera (2005) take the standard deviation of blocks of 10 ms."""
WINDOW_SECONDS = 0.093
"""Nearly the 4096 samples at 44.1 kHz that separate the harmonics of low voices."""
BLOCK_FRAMES = 250
"""Frames that are transformed at once: 5 s."""

LOWEST_HZ = 27.5
BANDS = 40
"""Bands of equal width on the ERB-rate scale from 27.5 Hz to 16 kHz, about 1 ERB wide."""
HIGHEST_HZ = 16_000.0

PITCH_HZ = (300.0, 4200.0)
"""The range in which voices have their strongest harmonics."""
CENTS = 20
"""The resolution of the movement of pitch."""
PITCH_BANDS = 5
LARGEST_SHIFT = 4
LAG_FRAMES = 2
"""A frame is compared with the one 40 ms before: a vibrato of 100 cents at 6 Hz moves by at most 70 cents meanwhile."""


@dataclass(frozen=True)
class FrameFeatures:
    """The features of a track; all arrays have a row for each frame of 20 ms, `envelope` for each 10 ms.

    `bands` is the power of the mid signal in each band [frames, BANDS], 0 above half the sample rate;
    `shifts` how far the partials moved in 40 ms, in bins of CENTS [frames, PITCH_BANDS];
    `power` the mean square of all channels [frames]; `envelope` the standard deviation of the mid signal.
    """

    bands: Features
    shifts: npt.NDArray[np.int8]
    power: Features
    envelope: Features


def erb_number(hz: npt.ArrayLike) -> Values:
    """The number of ERBs below a frequency (Glasberg and Moore 1990, equation 4)."""
    numbers: Values = 21.4 * np.log10(1.0 + 0.00437 * np.asarray(hz, np.float64))
    return numbers


def erb_frequency(number: npt.ArrayLike) -> Values:
    """The inverse of `erb_number`, in Hz."""
    hz: Values = (10.0 ** (np.asarray(number, np.float64) / 21.4) - 1.0) / 0.00437
    return hz


def band_edges() -> Values:
    """The limits of the bands in Hz, [BANDS + 1]."""
    return erb_frequency(_edge_numbers())


def band_numbers() -> Values:
    """The ERB numbers of the middles of the bands, [BANDS]."""
    edges = _edge_numbers()
    middles: Values = (edges[1:] + edges[:-1]) / 2
    return middles


def _edge_numbers() -> Values:
    low, high = (float(number) for number in erb_number([LOWEST_HZ, HIGHEST_HZ]))
    edges: Values = np.linspace(low, high, BANDS + 1, dtype=np.float64)
    return edges


class FrameMeter:
    """Measures frames of audio [frames, channels] at `sample_rate` Hz.

    A frame is centred on its place; the audio is continued by silence on both sides.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._length = 1 << round(np.log2(WINDOW_SECONDS * sample_rate))
        self._window = np.hanning(self._length + 1)[:-1].astype(np.float32)
        self._scale = np.float32(2.0 / (self._length * float(np.square(self._window).sum())))
        spacing = sample_rate / self._length
        bins = self._length // 2 + 1
        self._weights = _overlaps(band_edges(), spacing, bins)
        low, high = PITCH_HZ
        high = min(high, 0.45 * sample_rate)
        count = int(1200 / CENTS * np.log2(high / low)) // PITCH_BANDS * PITCH_BANDS
        positions = low * 2 ** (np.arange(count + 2 * LARGEST_SHIFT) * CENTS / 1200) / spacing
        self._below = np.minimum(positions.astype(np.int64), bins - 2)
        self._above = (positions - self._below).astype(np.float32)

    def measure(self, audio: Audio) -> FrameFeatures:
        """The features of the whole audio."""
        count = max(1, -(-len(audio) * FRAMES_PER_SECOND // self._rate))
        features = FrameFeatures(
            bands=np.zeros((count, BANDS), np.float32),
            shifts=np.zeros((count, PITCH_BANDS), np.int8),
            power=np.zeros(count, np.float32),
            envelope=np.zeros(max(1, len(audio) * ENVELOPE_PER_SECOND // self._rate), np.float32),
        )
        previous: Features | None = None
        half = self._length // 2
        for begin in range(0, count, BLOCK_FRAMES):
            end = min(count, begin + BLOCK_FRAMES)
            starts = np.arange(begin, end + 1, dtype=np.int64) * self._rate // FRAMES_PER_SECOND
            first = int(starts[0])
            samples = excerpt(audio, first - half, int(starts[-1]) + half)
            mid = downmix(samples)
            windows = np.lib.stride_tricks.sliding_window_view(mid, self._length)[starts[:-1] - first]
            magnitudes = np.abs(np.fft.rfft(windows * self._window, axis=1))
            features.bands[begin:end] = (np.square(magnitudes) * self._scale) @ self._weights
            previous = self._follow(magnitudes, previous, features, begin, end)
            inside = slice(half, len(mid) - half)
            squares = np.square(samples[inside]).mean(axis=1)
            features.power[begin:end] = np.add.reduceat(squares, starts[:-1] - first) / np.diff(starts)
            _add_envelope(mid[inside], self._rate, first, features.envelope, 2 * begin)
        return features

    def _follow(
        self, magnitudes: Features, previous: Features | None, features: FrameFeatures, begin: int, end: int
    ) -> Features:
        """Finds how the partials moved; returns the last frames on the scale of pitch."""
        raw = np.sqrt(magnitudes)
        log = raw[:, self._below] * (1 - self._above) + raw[:, self._below + 1] * self._above
        log -= log.mean(axis=1, keepdims=True)
        first = np.repeat(log[:1], LAG_FRAMES, axis=0) if previous is None else previous
        extended = np.concatenate([first, log])
        before = extended[: len(log)]
        core = before[:, LARGEST_SHIFT:-LARGEST_SHIFT]
        width = core.shape[1] // PITCH_BANDS
        shape = (len(log), PITCH_BANDS, width)
        products = np.stack(
            [
                (core * log[:, shift : shift + core.shape[1]]).reshape(shape).sum(axis=2)
                for shift in range(2 * LARGEST_SHIFT + 1)
            ]
        )
        features.shifts[begin:end] = products.argmax(axis=0) - LARGEST_SHIFT
        return extended[-LAG_FRAMES:]


def _overlaps(edges: Values, spacing: float, bins: int) -> Features:
    """The share of each bin of a spectrum in each band, [bins, bands]."""
    lower = (np.arange(bins)[:, np.newaxis] - 0.5) * spacing
    overlap = np.minimum(lower + spacing, edges[1:]) - np.maximum(lower, edges[:-1])
    return (np.maximum(overlap, 0.0) / spacing).astype(np.float32)


def _add_envelope(mid: Samples, rate: int, first: int, envelope: Features, index: int) -> None:
    """Measures the standard deviation of each 10 ms; `first` is the place of the first sample, at row `index`."""
    places = np.arange(index, len(envelope) + 1, dtype=np.int64) * rate // ENVELOPE_PER_SECOND - first
    cuts = places[places <= len(mid)]
    if len(cuts) < 2:
        return
    lengths = np.diff(cuts)
    used = mid[: cuts[-1]].astype(np.float64)
    means = np.add.reduceat(used, cuts[:-1]) / lengths
    variances = np.add.reduceat(np.square(used), cuts[:-1]) / lengths - np.square(means)
    envelope[index : index + len(lengths)] = np.sqrt(np.maximum(variances, 0.0))

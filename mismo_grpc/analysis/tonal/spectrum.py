"""Spectral peaks of audio, block by block: the frequencies and amplitudes of its partials."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mismo_grpc.analysis.arrays import Features, Indices, Values
from mismo_grpc.analysis.audio_source import AudioSource, mono_excerpt

FRAMES_PER_SECOND = 10
WINDOW_SECONDS = 0.37
"""About the length of the Hann window, so that notes a semitone apart are separate from 130 Hz up."""
LOWEST_HZ = 30.0
HIGHEST_HZ = 4500.0
PROMINENCE = 2.0
"""A peak has at least this many times the mean amplitude around it; peaks of noise and of drums mostly have less."""
NEIGHBOURHOOD_HZ = 110.0
"""The distance to each side over which that mean is taken."""
SILENCE = 1e-5
"""Frames with an RMS below this (-100 dBFS) have no peaks: rounding errors of silence would have some."""
BLOCK_FRAMES = 64
"""Frames that are transformed at once; this takes about 20 MB at 48 kHz."""


@dataclass(frozen=True)
class Peaks:
    """The spectral peaks of some analysis frames.

    `frame` (from 0), `frequency` (Hz) and `amplitude` have one value for each peak. `level` is the RMS of each frame's
    middle, 1 / FRAMES_PER_SECOND long, so that the levels of a track do not overlap.
    """

    frame: Indices
    frequency: Values
    amplitude: Values
    level: Values


def frame_count(samples: int, sample_rate: int) -> int:
    """The analysis frames of that many samples, rounded up; the n-th is centred at (n + 0.5) / FRAMES_PER_SECOND s."""
    return -(-samples * FRAMES_PER_SECOND // sample_rate)


def window_length(sample_rate: int) -> int:
    """The samples of the window: the power of two nearest to WINDOW_SECONDS."""
    return 2 ** round(math.log2(WINDOW_SECONDS * sample_rate))


def spectral_peaks(audio: AudioSource, sample_rate: int, frames: Indices | None = None) -> Iterator[Peaks]:
    """Yields the peaks of the given analysis frames (in ascending order; by default all), BLOCK_FRAMES at a time.

    `Peaks.frame` counts within the block. Channels are averaged; NaN and infinite samples count as 0.
    """
    chosen = np.arange(frame_count(audio.shape[0], sample_rate)) if frames is None else frames
    length = window_length(sample_rate)
    window = np.hanning(length + 1)[:length].astype(np.float32)
    # A sine of amplitude 1 has a peak of 1.
    window /= np.float32(window.sum() / 2)
    for begin in range(0, len(chosen), BLOCK_FRAMES):
        segments = _segments(audio, sample_rate, chosen[begin : begin + BLOCK_FRAMES], length)
        half = sample_rate // (2 * FRAMES_PER_SECOND)
        level = _rms(segments[:, length // 2 - half : length // 2 + half])
        last = min(length // 2, int(HIGHEST_HZ * length / sample_rate))
        amplitudes = np.abs(np.fft.rfft(segments * window, axis=1)[:, : last + 1])
        amplitudes[_rms(segments) < SILENCE] = 0.0
        yield _peaks(amplitudes, level, sample_rate / length)


def _segments(audio: AudioSource, rate: int, frames: Indices, length: int) -> Features:
    """The windows of mono samples around the centres of the frames; beyond the ends there is silence."""
    starts = (2 * frames + 1) * rate // (2 * FRAMES_PER_SECOND) - length // 2
    segments = np.zeros((len(frames), length), np.float32)
    if starts[-1] - starts[0] < 2 * len(frames) * rate // FRAMES_PER_SECOND:
        low, high = int(starts[0]), int(starts[-1]) + length
        padded = mono_excerpt(audio, low, high)
        for segment, start in zip(segments, starts - low, strict=True):
            segment[:] = padded[start : start + length]
    else:
        for segment, start in zip(segments, starts, strict=True):
            segment[:] = mono_excerpt(audio, int(start), int(start) + length)
    return segments


def _peaks(amplitudes: Features, level: Values, spacing: float) -> Peaks:
    """The local maxima of amplitudes [frames, bins], with bins `spacing` Hz apart.

    A parabola through the logarithms of three bins gives a peak's frequency and amplitude (Smith and Serra, PARSHL,
    1987).
    """
    reach = max(2, round(NEIGHBOURHOOD_HZ / spacing))
    middle = amplitudes[:, 1:-1]
    found = (middle > amplitudes[:, :-2]) & (middle >= amplitudes[:, 2:])
    found &= middle > PROMINENCE * _local_mean(amplitudes, reach)[:, 1:-1]
    found[:, : max(0, math.ceil(LOWEST_HZ / spacing) - 1)] = False
    frame, place = np.nonzero(found)
    bins = place + 1
    left, top, right = (
        np.log(np.maximum(amplitudes[frame, bins + step], 1e-12)).astype(np.float64) for step in (-1, 0, 1)
    )
    offset = 0.5 * (left - right) / np.minimum(left - 2 * top + right, -1e-9)
    offset = np.clip(offset, -0.5, 0.5)
    amplitude = np.exp(top - 0.25 * (left - right) * offset)
    return Peaks(frame, (bins + offset) * spacing, amplitude, level)


def _rms(rows: Features) -> Values:
    """The root of the mean square of each row."""
    result: Values = np.sqrt(np.einsum("ft,ft->f", rows, rows) / np.float64(rows.shape[1]))
    return result


def _local_mean(values: Features, reach: int) -> Values:
    """The mean over each bin and up to `reach` bins on each side of it."""
    count = values.shape[1]
    sums = np.zeros((values.shape[0], count + 1))
    np.cumsum(values, axis=1, dtype=np.float64, out=sums[:, 1:])
    places = np.arange(count, dtype=np.int64)
    low, high = np.maximum(places - reach, 0), np.minimum(places + reach + 1, count)
    means: Values = (sums[:, high] - sums[:, low]) / (high - low)
    return means

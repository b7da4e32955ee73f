"""Spectral peaks of audio, block by block: the frequencies and amplitudes of its partials."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

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
LARGEST = 1e6
"""The largest sample, so that squares do not overflow."""
BLOCK_FRAMES = 64
"""Frames that are transformed at once; this takes about 20 MB at 48 kHz."""


class AudioSource(Protocol):
    """Audio that is read by slices of frames, such as an array or a file: [frames, channels] or [frames]."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of frames, and of channels if there are two dimensions."""
        ...

    def __getitem__(self, frames: slice, /) -> npt.NDArray[np.floating]:
        """The samples of a slice of frames."""
        ...


@dataclass(frozen=True)
class Peaks:
    """The spectral peaks of some analysis frames.

    `frame` (from 0), `frequency` (Hz) and `amplitude` have one value for each peak. `level` is the RMS of each frame's
    middle, 1 / FRAMES_PER_SECOND long, so that the levels of a track do not overlap.
    """

    frame: npt.NDArray[np.int64]
    frequency: npt.NDArray[np.float64]
    amplitude: npt.NDArray[np.float64]
    level: npt.NDArray[np.float64]


def check_audio(audio: AudioSource, sample_rate: int) -> None:
    """Raises ValueError unless audio is [frames, channels] or [frames] of floating point, at 8 kHz or more."""
    dtype = getattr(audio, "dtype", np.dtype(np.float32))
    if len(audio.shape) not in (1, 2) or not np.issubdtype(dtype, np.floating):
        raise ValueError(f"audio is floating point, [frames, channels]; got {dtype} of shape {audio.shape}")
    if len(audio.shape) == 2 and audio.shape[1] == 0:
        raise ValueError("audio has no channels")
    if sample_rate < 8000:
        raise ValueError(f"sample_rate must be 8000 Hz or more; got {sample_rate}")


def frame_count(samples: int, sample_rate: int) -> int:
    """The analysis frames of that many samples, rounded up; the n-th is centred at (n + 0.5) / FRAMES_PER_SECOND s."""
    return -(-samples * FRAMES_PER_SECOND // sample_rate)


def window_length(sample_rate: int) -> int:
    """The samples of the window: the power of two nearest to WINDOW_SECONDS."""
    return 2 ** round(math.log2(WINDOW_SECONDS * sample_rate))


def spectral_peaks(
    audio: AudioSource, sample_rate: int, frames: npt.NDArray[np.int64] | None = None
) -> Iterator[Peaks]:
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


def _segments(
    audio: AudioSource, rate: int, frames: npt.NDArray[np.int64], length: int
) -> npt.NDArray[np.float32]:
    """The windows of mono samples around the centres of the frames; beyond the ends there is silence."""
    starts = (2 * frames + 1) * rate // (2 * FRAMES_PER_SECOND) - length // 2
    segments = np.zeros((len(frames), length), np.float32)
    if starts[-1] - starts[0] < 2 * len(frames) * rate // FRAMES_PER_SECOND:
        low, high = int(starts[0]), int(starts[-1]) + length
        padded = _mono(audio, low, high)
        for segment, start in zip(segments, starts - low, strict=True):
            segment[:] = padded[start : start + length]
    else:
        for segment, start in zip(segments, starts, strict=True):
            segment[:] = _mono(audio, int(start), int(start) + length)
    return segments


def _mono(audio: AudioSource, low: int, high: int) -> npt.NDArray[np.float32]:
    """The mean of the channels from sample `low` to `high`; 0 outside of the audio."""
    mono = np.zeros(high - low, np.float32)
    begin, end = max(low, 0), min(high, audio.shape[0])
    if begin < end:
        mono[begin - low : end - low] = downmix(np.asarray(audio[begin:end]))
    return mono


def downmix(block: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """The mean of the channels; samples that are not finite count as 0, others are limited to LARGEST."""
    by_channel = block if block.ndim == 2 else block[:, np.newaxis]
    # NaN fails the comparison, too.
    if not np.abs(by_channel).max(initial=0.0) <= LARGEST:
        by_channel = np.where(np.isfinite(by_channel), np.clip(by_channel, -LARGEST, LARGEST), 0.0)
    # Faster than a mean over the second axis.
    mono = by_channel[:, 0].copy()
    for channel in range(1, by_channel.shape[1]):
        mono += by_channel[:, channel]
    mono /= by_channel.shape[1]
    return mono


def _peaks(amplitudes: npt.NDArray[np.float32], level: npt.NDArray[np.float64], spacing: float) -> Peaks:
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


def _rms(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The root of the mean square of each row."""
    result: npt.NDArray[np.float64] = np.sqrt(np.einsum("ft,ft->f", rows, rows) / np.float64(rows.shape[1]))
    return result


def _local_mean(values: npt.NDArray[np.float32], reach: int) -> npt.NDArray[np.float64]:
    """The mean over each bin and up to `reach` bins on each side of it."""
    count = values.shape[1]
    sums = np.zeros((values.shape[0], count + 1))
    np.cumsum(values, axis=1, dtype=np.float64, out=sums[:, 1:])
    places = np.arange(count, dtype=np.int64)
    low, high = np.maximum(places - reach, 0), np.minimum(places + reach + 1, count)
    means: npt.NDArray[np.float64] = (sums[:, high] - sums[:, low]) / (high - low)
    return means

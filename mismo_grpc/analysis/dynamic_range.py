"""Measures the dynamic range of a track as the DR meter of the Pleasurize Music Foundation does (2009).

DR is the difference between the second highest block peak and the level of the loudest fifth of the blocks, averaged
over the channels.
"""

from __future__ import annotations

import numpy as np

from mismo_grpc.analysis.arrays import Audio, Values
from mismo_grpc.analysis.audio_source import by_channel, check_audio, finite

BLOCK_SECONDS = 3.0
LOUDEST_SHARE = 0.2
SINE_FACTOR = 2.0
"""The meter multiplies the mean square by 2, so that a sine has the same level as its peak."""


def measure_dynamic_range(audio: Audio, sample_rate: int) -> float | None:
    """The dynamic range in dB of audio [frames, channels], or [frames] for mono; None for silence.

    The last block may be shorter than 3 s. NaN and infinite samples count as 0. A channel that is silent is ignored.

    Raises ValueError as `check_audio` does.
    """
    check_audio(audio, sample_rate)
    channels = by_channel(audio)
    length = max(1, round(BLOCK_SECONDS * sample_rate))
    powers: list[Values] = []
    peaks: list[Values] = []
    for begin in range(0, len(channels), length):
        block = finite(channels[begin : begin + length])
        powers.append(SINE_FACTOR * np.mean(np.square(block, dtype=np.float64), axis=0))
        peaks.append(np.abs(block).max(axis=0).astype(np.float64))
    if not powers:
        return None
    ranges = [
        _dynamic_range(np.sort(power)[::-1], np.sort(peak)[::-1])
        for power, peak in zip(np.stack(powers, axis=1), np.stack(peaks, axis=1), strict=True)
        if peak.max() > 0 and power.max() > 0
    ]
    return round(float(np.mean(ranges)), 2) if ranges else None


def _dynamic_range(powers: Values, peaks: Values) -> float:
    """The range of one channel in dB; both arrays have a value for each block, the highest first."""
    loudest = powers[: max(1, int(LOUDEST_SHARE * len(powers)))]
    peak = peaks[min(1, len(peaks) - 1)] or peaks[0]
    return max(0.0, float(20 * np.log10(peak) - 10 * np.log10(loudest.mean())))

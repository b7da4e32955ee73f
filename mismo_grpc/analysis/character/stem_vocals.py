"""Finds the time in which somebody sings, from the separated vocals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from mismo_grpc.analysis.arrays import Samples, Values
from mismo_grpc.analysis.audio_source import AudioSource, finite

WINDOWS_PER_SECOND = 10
JOIN_WINDOWS = 4
"""Powers are averaged over 0.4 s, the momentary window of EBU Tech 3341, so that pauses between syllables count."""
GATE_DB = -20.0
"""Vocals that are further below the mix are masked by it; what a separation leaves of instruments is mostly below."""
BLEED_DB = -25.0
"""Below the loudest vocals of the track, and below the track's loudness: what a separation leaves in pauses."""
SILENCE = 1e-6
"""Mean square of -60 dBFS; quieter windows of the mix are not counted."""
BLOCK_SECONDS = 5


def blocks_of(audio: AudioSource, sample_rate: int) -> Iterator[Samples]:
    """The audio [frames, channels] in blocks of BLOCK_SECONDS, NaN and infinite samples as 0."""
    length = BLOCK_SECONDS * sample_rate
    for begin in range(0, audio.shape[0], length):
        yield finite(audio[begin : begin + length])


def window_powers(blocks: Iterable[Samples], sample_rate: int) -> Values:
    """The mean square of each window of 100 ms; every block but the last has BLOCK_SECONDS."""
    powers: list[Values] = []
    for block in blocks:
        squares = np.square(block, dtype=np.float64).mean(axis=1)
        count = -(-len(squares) * WINDOWS_PER_SECOND // sample_rate)
        cuts = np.arange(count, dtype=np.int64) * sample_rate // WINDOWS_PER_SECOND
        lengths = np.diff(np.append(cuts, len(squares)))
        powers.append(np.add.reduceat(squares, cuts) / lengths if count else np.zeros(0))
    return np.concatenate(powers) if powers else np.zeros(0)


def vocal_share(vocals: Values, mix: Values) -> float:
    """The share of the mix's time that is not silent in which the vocals are audible, from powers of 100 ms windows.

    A stem in which nothing comes within 25 dB of the track's mean power holds only what the separation left of the
    instruments: 0.
    """
    count = min(len(vocals), len(mix))
    vocals, mix = _smoothed(vocals[:count]), _smoothed(mix)
    sounding = mix > SILENCE
    if count == 0 or not sounding.any():
        return 0.0
    loudest = float(np.percentile(vocals, 95))
    floor = max(10 ** (BLEED_DB / 10) * max(loudest, float(mix[sounding].mean())), SILENCE)
    audible = (vocals > 10 ** (GATE_DB / 10) * mix[:count]) & (vocals > floor) & sounding[:count]
    return float(audible.sum() / sounding.sum())


def _smoothed(powers: Values) -> Values:
    """The mean over JOIN_WINDOWS windows around each."""
    if len(powers) == 0:
        return powers
    sums = np.concatenate([[0.0], np.cumsum(powers)])
    index = np.arange(len(powers))
    begin = np.maximum(index - JOIN_WINDOWS // 2, 0)
    end = np.minimum(index + JOIN_WINDOWS - JOIN_WINDOWS // 2, len(powers))
    means: Values = np.maximum(sums[end] - sums[begin], 0.0) / (end - begin)
    return means

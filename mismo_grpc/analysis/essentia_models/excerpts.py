"""Cuts a track into the excerpts that the models take: mono at 16 kHz, about a minute each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mismo_grpc.analysis.arrays import Audio, Samples
from mismo_grpc.analysis.audio_source import check_audio, downmix

MODEL_RATE = 16_000
FRAME, HOP = 512, 256
"""Samples of a frame of the models' mel spectrogram, and from one frame to the next."""
PATCH_FRAMES, PATCH_HOP_FRAMES = 128, 62
"""Frames of a patch, for which the model makes one prediction, and from one patch to the next: about 1 s."""
BATCH = 64
"""Patches that the graph takes at once; fewer take as long."""
STEP = BATCH * PATCH_HOP_FRAMES * HOP
LENGTH = ((BATCH - 1) * PATCH_HOP_FRAMES + PATCH_FRAMES - 1) * HOP + FRAME
"""Samples at 16 kHz that a batch uses, 64.5 s."""
SHORTEST = (PATCH_FRAMES - 1) * HOP + FRAME
"""Samples of a patch, 2.06 s."""
MOST = 10
"""Excerpts of a track; those of a longer track are spread over it, so that a mix of two hours takes no longer."""
SILENCE = 1e-4
"""An excerpt whose samples are all smaller (-80 dBFS) is left out."""


def excerpts(audio: Audio, sample_rate: int) -> Iterator[Samples]:
    """The excerpts of audio [frames, channels] or [frames], mono at MODEL_RATE; none if shorter than a patch.

    NaN and infinite samples count as 0.

    Raises ValueError as `check_audio` does.
    """
    check_audio(audio, sample_rate)
    for start in _starts(len(audio) * MODEL_RATE // sample_rate):
        begin = start * sample_rate // MODEL_RATE
        end = begin + -(-LENGTH * sample_rate // MODEL_RATE)
        mono = downmix(audio[begin:end])
        if len(mono) and float(np.abs(mono).max()) >= SILENCE:
            resampled = _resampled(mono, sample_rate)[:LENGTH]
            if len(resampled) >= SHORTEST:
                yield resampled


def _starts(length: int) -> list[int]:
    """Where the excerpts of a track begin; both are samples at MODEL_RATE."""
    # The last excerpt begins only if it has a patch that the one before does not.
    count = (length - SHORTEST) // STEP + 1 if length >= SHORTEST else 0
    if count <= MOST:
        return [index * STEP for index in range(count)]
    return [index * (length - LENGTH) // (MOST - 1) for index in range(MOST)]


def _resampled(mono: Samples, sample_rate: int) -> Samples:
    if sample_rate == MODEL_RATE:
        return mono
    import soxr

    resampled: Samples = soxr.resample(mono, sample_rate, MODEL_RATE)
    return np.ascontiguousarray(resampled, np.float32)

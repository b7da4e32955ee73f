"""The samples of one finished stem, read block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mismo_grpc.audio.encode import Encoding, from_pcm

BLOCK_FRAMES = 1 << 16
"""Frames of one block: an encoder holds a few of them, however long the track is."""


@dataclass(frozen=True)
class PcmSource:
    """One stem; `read` returns interleaved PCM of a number of frames from a frame on. `sample_rate` in Hz."""

    read: Callable[[int, int], bytes]
    total_frames: int
    sample_rate: int
    channels: int
    encoding: Encoding

    def blocks(self, check: Callable[[], None] = lambda: None) -> Iterator[bytes]:
        """The PCM of all frames in blocks of BLOCK_FRAMES; calls `check` before each, which may raise to stop."""
        for first in range(0, self.total_frames, BLOCK_FRAMES):
            check()
            yield self.read(first, min(BLOCK_FRAMES, self.total_frames - first))

    def samples(self, first: int, count: int) -> npt.NDArray[np.float32]:
        """Samples [frames, channels] of `count` frames from a frame on."""
        return from_pcm(self.read(first, count), self.encoding, self.channels)

"""Maps the decoded mix from its file into a worker process, so that no audio is copied between processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mismo_grpc.analysis.arrays import Features

BYTES_PER_SAMPLE = 4


@dataclass(frozen=True)
class MixFile:
    """A decoded mix: `path` holds raw little-endian float32 [frames, channels] at `sample_rate` Hz."""

    path: Path
    frames: int
    channels: int
    sample_rate: int

    def samples(self) -> Features:
        """The samples, [frames, channels], read-only.

        Only pages that are read use memory, which is the kernel's file cache.

        Raises ValueError if the file is not of that size; OSError if it cannot be opened.
        """
        expected = self.frames * self.channels * BYTES_PER_SAMPLE
        actual = self.path.stat().st_size
        if self.frames < 1 or actual != expected:
            raise ValueError(f"the decoded mix has {actual} bytes; {self.frames} frames have {expected}")
        return np.memmap(self.path, "<f4", "r", shape=(self.frames, self.channels))

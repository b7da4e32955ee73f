"""Maps the decoded mix from its file into a worker process, so that no audio is copied between processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

BYTES_PER_SAMPLE = 4


def mapped_mix(path: Path, frames: int, channels: int) -> np.memmap[tuple[int, int], np.dtype[np.float32]]:
    """The samples of a file of raw little-endian float32, [frames, channels], read-only.

    Only pages that are read use memory, which is the kernel's file cache.

    Raises ValueError if the file is not of that size; OSError if it cannot be opened.
    """
    expected = frames * channels * BYTES_PER_SAMPLE
    actual = path.stat().st_size
    if frames < 1 or actual != expected:
        raise ValueError(f"the decoded mix has {actual} bytes; {frames} frames have {expected}")
    return np.memmap(path, "<f4", "r", shape=(frames, channels))

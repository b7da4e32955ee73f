"""The array types of the analyses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Audio = npt.NDArray[np.floating]
"""Audio as a caller gives it, [frames, channels], or [frames] for mono; 1.0 is full scale."""
Samples = npt.NDArray[np.float32]
"""Audio with finite samples, in the same shapes."""
Features = npt.NDArray[np.float32]
"""Measures for each frame of a track; in single precision, because there are many."""
Values = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

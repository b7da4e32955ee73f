"""Frames for FFmpeg's encoders."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt


def audio_frame(samples: npt.NDArray[np.float32], position: int, sample_rate: int) -> av.AudioFrame:
    """A frame of samples [frames, channels], one or two channels; `position` is that of the first, in frames."""
    planes: Any = np.ascontiguousarray(samples.T)
    frame = av.AudioFrame.from_ndarray(planes, "fltp", "mono" if len(planes) == 1 else "stereo")
    frame.sample_rate = sample_rate
    frame.pts = position
    frame.time_base = Fraction(1, sample_rate)
    return frame

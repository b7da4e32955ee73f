"""Measures loudness with the ffmpeg command: the reference of the tests and of the benchmark."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_VALUE = re.compile(r"^lavfi\.r128\.(\w+)=(\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Ebur128:
    """The results of ffmpeg's filter `ebur128`; loudness to 0.001, peaks as amplitudes to 0.001."""

    integrated_lufs: float
    loudness_range_lu: float
    max_momentary_lufs: float
    max_short_term_lufs: float
    sample_peak: float
    true_peak: float


def ebur128(audio: npt.NDArray[np.float32], sample_rate: int, program: str = "ffmpeg") -> Ebur128:
    """Measures audio [frames, channels]; raises subprocess.CalledProcessError if ffmpeg fails."""
    command = [program, "-v", "error", "-nostats"]
    command += ["-f", "f32le", "-ar", str(sample_rate), "-ac", str(audio.shape[1]), "-i", "-"]
    command += ["-af", "ebur128=peak=true+sample:metadata=1,ametadata=print:file=-", "-f", "null", "-"]
    done = subprocess.run(command, input=audio.astype("<f4").tobytes(), capture_output=True, check=True)
    series: dict[str, list[float]] = {}
    for name, value in _VALUE.findall(done.stdout.decode()):
        series.setdefault(name, []).append(float(value))
    return Ebur128(
        integrated_lufs=series["I"][-1],
        loudness_range_lu=series["LRA"][-1],
        max_momentary_lufs=max(series["M"]),
        max_short_term_lufs=max(series["S"]),
        sample_peak=series["sample_peak"][-1],
        true_peak=series["true_peak"][-1],
    )

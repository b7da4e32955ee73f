"""Analyses that end their process, run by its workers in place of the loudness."""

from __future__ import annotations

import os
import signal

from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.loudness import LoudnessResult, analyse_loudness


def crash(inputs: AnalysisInputs) -> LoudnessResult:
    """Never comes back."""
    os.kill(os.getpid(), signal.SIGKILL)
    return analyse_loudness(inputs)


def crash_once(inputs: AnalysisInputs) -> LoudnessResult:
    """Crashes the first time on each mix."""
    seen = inputs.mix.path.with_name("seen")
    if not seen.exists():
        seen.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return analyse_loudness(inputs)

"""Analyses for tests; workers import this module."""

from __future__ import annotations

import os
from pathlib import Path

from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.loudness import LoudnessResult


def crash(inputs: AnalysisInputs) -> LoudnessResult:
    """Dies as a process does that the system ends for want of memory."""
    os.kill(os.getpid(), 9)
    raise AssertionError("it still runs")


def wait_for(gate: Path) -> str:
    """What is written to a named pipe."""
    return gate.read_text()

"""The nearest pulses, for tracks of any length."""

from __future__ import annotations

import numpy as np

from mismo_grpc.analysis.rhythm.pulse_tracker import _nearest
from tests.unit.analysis.memory import peak_bytes


def test_the_nearest_pulses_are_those_of_the_whole_table() -> None:
    random = np.random.default_rng(4)
    pulses = np.cumsum(random.uniform(20, 40, 200))
    frames = np.sort(random.uniform(-50, pulses[-1] + 50, 300))
    expected = pulses[np.abs(pulses - frames[:, np.newaxis]).argmin(axis=1)]
    np.testing.assert_array_equal(_nearest(pulses, frames), expected)


def test_the_pulses_of_two_hours_need_little_memory() -> None:
    # 190 a minute, and a third of them elsewhere; a table of all distances would have 1.4 GB.
    pulses = 31.6 * np.arange(22_800, dtype=np.float64)
    frames = pulses[::3] + 11.0
    np.testing.assert_array_equal(_nearest(pulses, frames), pulses[::3])
    assert peak_bytes(lambda: _nearest(pulses, frames)) < 5e6

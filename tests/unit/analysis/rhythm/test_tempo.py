"""Tempo and its changes from given beats, and the lattice of a constant tempo."""

from __future__ import annotations

import numpy as np
import pytest

from mismo_grpc.analysis.rhythm.lattice import fit_lattice
from mismo_grpc.analysis.rhythm.tempo import estimate_tempo


def test_scattered_beats_are_put_on_their_line() -> None:
    line = 0.4 + 60 / 123.4 * np.arange(200, dtype=np.float64)
    beats = line + 0.005 * np.random.default_rng(1).standard_normal(200)
    beats[50:54] += 0.06
    found = estimate_tempo(beats)
    assert found.tempo == pytest.approx(123.4, abs=0.01)
    assert np.abs(found.beats - line).max() < 0.002
    assert found.curve == ()
    assert found.stability > 0.9


def test_a_steady_ramp_has_few_rising_points() -> None:
    tempi = np.linspace(100, 140, 240)
    beats = np.cumsum(60 / tempi)
    found = estimate_tempo(beats)
    assert found.tempo == pytest.approx(120, rel=0.02)
    points = [point.tempo for point in found.curve]
    assert points == sorted(points)
    assert 5 <= len(points) <= 12
    np.testing.assert_array_equal(found.beats, beats)
    assert found.stability < 0.5


def test_three_beats_have_a_tempo() -> None:
    assert estimate_tempo(np.array([1.0, 1.5, 2.0])).tempo == pytest.approx(120)


def test_a_lattice_joins_beats_and_offbeats() -> None:
    random = np.random.default_rng(2)
    pulses = 20 + 46.7 * np.arange(300, dtype=np.float64) + 0.5 * random.standard_normal(300)
    pulses[120:180] += 46.7 / 2
    pulses[250:258] += 9.0
    fitted = fit_lattice(np.asarray(pulses, np.float64))
    assert fitted is not None
    equal, on = fitted
    assert np.diff(equal) == pytest.approx(46.7, abs=0.01)
    assert abs(equal[0] - 20) < 0.5
    assert on.sum() == pytest.approx(292, abs=2)


def test_a_lattice_is_found_where_parts_are_displaced_and_others_have_another_pulse() -> None:
    random = np.random.default_rng(12)
    pulses = 20 + 45.4 * np.arange(600, dtype=np.float64) + 0.6 * random.standard_normal(600)
    for begin in range(0, 600, 100):
        pulses[begin : begin + 40] += 2.4
    dotted = 20 + 45.4 * (200 + 0.75 * np.arange(1, 160))
    pulses = np.concatenate([pulses[:200], dotted, pulses[pulses > dotted[-1] + 30]])
    fitted = fit_lattice(np.asarray(pulses, np.float64))
    assert fitted is not None
    equal, _ = fitted
    assert np.diff(equal) == pytest.approx(45.4, rel=2e-4)


def test_a_drifting_tempo_has_no_lattice() -> None:
    random = np.random.default_rng(3)
    steps = 46.7 + np.cumsum(0.15 * random.standard_normal(300))
    assert fit_lattice(np.cumsum(steps)) is None
    assert fit_lattice(np.cumsum(46.7 * np.linspace(0.9, 1.1, 300))) is None

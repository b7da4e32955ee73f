"""Detrended fluctuation analysis: signals whose exponent is known, and essentia's Danceability as the oracle."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from mismo_grpc.analysis.character.danceability import mean_exponent
from mismo_grpc.analysis.character.frames import FrameMeter
from tests.support.packages import optional
from tests.unit.analysis.character.songs import RATE, mix, stems


def test_white_noise_has_an_exponent_of_one_half_and_its_sum_one_and_a_half() -> None:
    noise = np.random.default_rng(2).standard_normal(30_000)
    assert mean_exponent(noise) == pytest.approx(0.5, abs=0.05)
    assert mean_exponent(np.cumsum(noise)) == pytest.approx(1.5, abs=0.1)


def test_a_strict_pulse_has_a_small_exponent() -> None:
    pulse = np.zeros(6_000)
    pulse[::50] = 1.0
    exponent = mean_exponent(pulse)
    assert exponent is not None
    assert exponent < 0.2


def test_the_exponent_does_not_depend_on_the_level() -> None:
    noise = np.random.default_rng(2).standard_normal(5_000)
    assert mean_exponent(1e-4 * noise) == pytest.approx(mean_exponent(noise))


@pytest.mark.parametrize("length", [0, 1, 30, 70])
def test_a_short_or_constant_envelope_has_none(length: int) -> None:
    assert mean_exponent(np.ones(length)) is None
    assert mean_exponent(np.random.default_rng(2).standard_normal(min(length, 30))) is None


def test_agrees_with_essentia() -> None:
    optional("essentia")
    standard = importlib.import_module("essentia.standard")
    audio = mix(stems(3))
    expected, _ = standard.Danceability()(audio.mean(axis=1).astype(np.float32))
    exponent = mean_exponent(FrameMeter(RATE).measure(audio).envelope)
    assert exponent is not None
    assert 1 / exponent == pytest.approx(expected, rel=0.05)

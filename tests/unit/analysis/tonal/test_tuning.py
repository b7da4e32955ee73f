"""The tuning of chords, of voices and of noise."""

from __future__ import annotations

import numpy as np
import pytest

from mismo_grpc.analysis.tonal.key import estimate_tonality
from mismo_grpc.analysis.tonal.tuning import estimate_tuning
from tests.support.songs import song
from tests.unit.analysis.tonal.tones import RATE, cadence, noise, progression


@pytest.mark.parametrize("a4", [430.0, 432.0, 436.5, 440.0, 443.0, 446.0, 450.0])
def test_tuning_of_chords(a4: float) -> None:
    assert estimate_tonality(cadence(5, "major", a4=a4), RATE).tuning == pytest.approx(a4, abs=1.0)


@pytest.mark.parametrize("a4", [432.0, 440.0, 446.0])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_tuning_at_other_rates(a4: float, rate: int) -> None:
    audio = progression(["C", "F", "G7", "C"], 1.0, rate, a4)
    assert estimate_tuning(audio, rate).a4 == pytest.approx(a4, abs=1.0)


@pytest.mark.parametrize("a4", [432.0, 446.0])
def test_tuning_of_a_song_that_is_played_at_another_speed(a4: float) -> None:
    mix, rate, _, _ = song(12.0, key="D major", seed=4)
    places = np.arange(0, len(mix) - 1, a4 / 440.0)
    varied = np.interp(places, np.arange(len(mix)), mix[:, 0]).astype(np.float32)
    assert estimate_tuning(varied, rate).a4 == pytest.approx(a4, abs=1.0)


def test_clarity_is_high_for_chords_and_low_for_noise() -> None:
    assert estimate_tuning(cadence(0, "major"), RATE).clarity > 0.6
    assert estimate_tuning(noise(20.0), RATE).clarity == 0.0


def test_silence_has_the_standard_tuning_without_clarity() -> None:
    tuning = estimate_tuning(np.zeros(RATE, np.float32), RATE)
    assert (tuning.a4, tuning.clarity) == (440.0, 0.0)

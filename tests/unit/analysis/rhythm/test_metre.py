"""The probabilities of the chosen metrical hypothesis."""

from __future__ import annotations

import numpy as np
import pytest

from mismo_grpc.analysis.rhythm import metre
from mismo_grpc.analysis.rhythm.metre import Choice, choose_metre, hypotheses
from mismo_grpc.analysis.rhythm.onsets import Onsets, measure_onsets
from mismo_grpc.analysis.rhythm.pulse_tracker import candidate_pulses
from tests.unit.analysis.rhythm.songs import RATE, drum_loop

ONSETS = measure_onsets(drum_loop(0.25 + 0.5 * np.arange(40), 20.0), RATE)


def chosen(onsets: Onsets) -> Choice:
    choice = choose_metre(onsets, *candidate_pulses(onsets))
    assert choice is not None
    return choice


def test_without_weights_all_tempi_and_bars_are_equally_probable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metre, "WEIGHTS", np.zeros_like(metre.WEIGHTS))
    choice = chosen(ONSETS)
    found = list(hypotheses(ONSETS, *candidate_pulses(ONSETS)))
    period = choice.hypothesis.period
    same = [other for other in found if 0.95 < other.period / period < 1.05]
    assert 0 < len(same) < len(found)
    assert choice.tempo_probability == pytest.approx(len(same) / len(found))
    assert choice.bars_probability == pytest.approx(1 / 7), "three bars of 3/4 and four of 4/4"


def test_the_doubt_grows_if_the_evidence_is_weaker(monkeypatch: pytest.MonkeyPatch) -> None:
    sure = chosen(ONSETS)
    assert sure.tempo_probability > 0.8
    assert 60 * ONSETS.frame_rate / sure.hypothesis.period == pytest.approx(120, rel=0.01)
    monkeypatch.setattr(metre, "WEIGHTS", 0.1 * metre.WEIGHTS)
    doubtful = chosen(ONSETS)
    assert doubtful.hypothesis.period == sure.hypothesis.period
    assert doubtful.tempo_probability < 0.8 * sure.tempo_probability

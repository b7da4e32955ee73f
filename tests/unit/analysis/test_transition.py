"""Cue points, phrases and energy of tracks whose form is known."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mismo_grpc.analysis import transition
from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.mix import MixFile
from mismo_grpc.analysis.results import Section, SectionsResult, TransitionResult
from mismo_grpc.analysis.transition import MOST_CUES, PASSAGE_BARS, analyse_transition, find_transitions
from tests.unit.analysis.signals import Samples, music, sequence, silence

RATE = 8_000
BAR = 2.0
NO_SECTIONS = SectionsResult(())


def downbeats_of(seconds: float, first: float = 0.0) -> list[float]:
    """Downbeats at 120 BPM."""
    return [first + BAR * n for n in range(round((seconds - first) / BAR))]


def sections_of(*parts: tuple[float, float]) -> SectionsResult:
    """Sections of (seconds, energy), in sequence."""
    edges = np.concatenate([[0.0], np.cumsum([seconds for seconds, _ in parts])]).tolist()
    return SectionsResult(
        tuple(
            Section(begin, end, "A", None, 0.8, energy)
            for (begin, end), (_, energy) in zip(pairwise(edges), parts, strict=True)
        )
    )


def check(result: TransitionResult, downbeats: list[float], duration: float) -> None:
    """What holds for every track."""
    assert set(result.phrases) <= set(downbeats)
    assert list(result.phrases) == sorted(set(result.phrases))
    assert bool(result.phrases) == bool(result.phrase_bars)
    allowed = {*result.phrases, min(downbeats, default=0.0)}
    for cues in (result.mix_in, result.mix_out):
        assert len(cues) <= MOST_CUES
        assert [cue.score for cue in cues] == sorted((cue.score for cue in cues), reverse=True)
        for cue in cues:
            assert cue.time in allowed
            assert cue.bars in PASSAGE_BARS
            assert 0.0 <= cue.energy <= 1.0
            assert 0.0 <= cue.score <= 1.0
    assert all(cue.time <= duration / 2 for cue in result.mix_in)
    assert all(cue.time > duration / 2 for cue in result.mix_out)
    assert all(0.0 <= value <= 1.0 for value in result.energy)
    assert len(result.energy) == -(-duration // result.energy_interval)


@pytest.fixture(scope="module")
def club_track() -> TransitionResult:
    """16 bars of intro, 32 full, 16 of breakdown, 32 full, 16 of outro; 6 dB are 0.66 of the energy."""
    audio = sequence((-16, 32), (-10, 64), (-16, 32), (-10, 64), (-16, 32), rate=RATE)
    sections = sections_of((32, 0.66), (64, 1.0), (32, 0.66), (64, 1.0), (32, 0.66))
    result = find_transitions(audio, RATE, downbeats_of(224), sections)
    check(result, downbeats_of(224), 224.0)
    return result


def test_the_best_places_are_the_intro_and_the_outro(club_track: TransitionResult) -> None:
    assert (club_track.mix_in[0].time, club_track.mix_in[0].bars) == (0.0, 16)
    assert (club_track.mix_out[0].time, club_track.mix_out[0].bars) == (192.0, 16)
    assert club_track.mix_in[0].energy == pytest.approx(0.66, abs=0.02)


def test_no_passage_goes_on_into_a_full_part(club_track: TransitionResult) -> None:
    changes = (32.0, 96.0, 128.0, 192.0, 224.0)
    for cue in (*club_track.mix_in, *club_track.mix_out):
        assert not any(cue.time < change < cue.time + cue.bars * BAR for change in changes)


def test_phrases_and_energy_of_the_club_track(club_track: TransitionResult) -> None:
    assert club_track.phrase_bars == 16
    assert club_track.phrases == tuple(32.0 * n for n in range(7))
    assert club_track.energy_interval == 0.5
    energy = np.array(club_track.energy)
    assert energy[[2, 60, 220, 400]] == pytest.approx(0.66, abs=0.02)
    assert energy[[70, 180, 270, 380]] == pytest.approx(1.0, abs=0.02)


def test_the_track_ends_with_its_last_audible_moment() -> None:
    """The outro of 8 bars is followed by 16 s of near silence: no cue point counts on them."""
    audio = sequence((-10, 64), (-18, 16), (-70, 16), rate=RATE)
    result = find_transitions(audio, RATE, downbeats_of(96), sections_of((64, 1.0), (16, 0.57), (16, 0.02)))
    check(result, downbeats_of(96), 96.0)
    assert max(cue.time + cue.bars * BAR for cue in result.mix_out) <= 80.0
    assert (result.mix_out[0].time, result.mix_out[0].bars) == (64.0, 8)


def test_an_upbeat_comes_before_the_first_cue_point() -> None:
    downbeats = downbeats_of(97, first=1.0)
    sections = sections_of((17, 0.6), (64, 1.0), (16, 0.6))
    result = find_transitions(sequence((-16, 17), (-10, 64), (-16, 16), rate=RATE), RATE, downbeats, sections)
    check(result, downbeats, 97.0)
    assert (result.mix_in[0].time, result.mix_in[0].bars) == (1.0, 8)
    assert 17.0 in result.phrases


def test_a_steady_passage_is_better_than_an_unsteady_one() -> None:
    steady = sequence((-13, 64), rate=RATE)
    unsteady = sequence((-10, 4), (-22, 4), rate=RATE, repeat=8)
    first, second = (
        find_transitions(audio, RATE, downbeats_of(64), NO_SECTIONS).mix_in[0] for audio in (steady, unsteady)
    )
    # Length, place and boundary are the same.
    calm = transition.CALM_WEIGHT * (second.energy - first.energy)
    assert first.score - second.score - calm > 0.03


def test_without_downbeats_there_are_no_cue_points() -> None:
    result = find_transitions(music(20, RATE), RATE, [], sections_of((20, 1.0)))
    check(result, [], 20.0)
    assert (result.mix_in, result.mix_out, result.phrase_bars) == ((), (), 0)
    assert len(result.energy) == 40


def test_the_number_of_energy_values_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transition, "MOST_ENERGY_VALUES", 16)
    result = find_transitions(sequence((-10, 16), (-20, 14), rate=RATE), RATE, [], NO_SECTIONS)
    assert result.energy_interval == 2.0
    assert len(result.energy) == 15
    assert result.energy[12] == pytest.approx(0.5, abs=0.01)


CLICK = silence(20, RATE)
CLICK[RATE] = 1.0
BROKEN = music(20, RATE)
BROKEN[RATE : 2 * RATE] = np.nan
BROKEN[5 * RATE : 6 * RATE, 0] = np.inf


@pytest.mark.parametrize(
    "audio",
    [
        music(0.5, RATE),
        silence(40, RATE),
        np.random.default_rng(1).standard_normal((40 * RATE, 1)),
        CLICK,
        music(20, RATE, channels=1)[:, 0],
        BROKEN,
        np.full((RATE, 2), np.nan, np.float32),
        np.zeros((1, 2), np.float32),
        np.zeros((0, 2), np.float32),
    ],
    ids=["0.5 s", "silence", "noise", "click", "mono", "nan", "all nan", "one frame", "no frames"],
)
def test_audio_without_a_form(audio: Samples) -> None:
    duration = len(audio) / RATE
    for downbeats in (downbeats_of(duration), []):
        for sections in (NO_SECTIONS, sections_of((duration / 2, 0.0), (duration / 2, 0.0))):
            check(find_transitions(audio, RATE, downbeats, sections), downbeats, duration)


def test_silence_has_no_cue_points() -> None:
    result = find_transitions(silence(40, RATE), RATE, downbeats_of(40), NO_SECTIONS)
    assert (result.mix_in, result.mix_out) == ((), ())
    assert set(result.energy) == {0.0}


NOISY = music(30, RATE, channels=1)


@settings(max_examples=25, deadline=None)
@given(
    first=st.floats(0, 3),
    bar=st.floats(0.3, 4),
    parts=st.lists(st.tuples(st.floats(0.5, 20), st.floats(0, 1)), max_size=8),
)
def test_cue_points_are_at_downbeats_and_phrases(
    first: float, bar: float, parts: list[tuple[float, float]]
) -> None:
    audio = NOISY
    downbeats = [first + bar * n for n in range(int((30 - first) / bar))]
    check(find_transitions(audio, RATE, downbeats, sections_of(*parts)), downbeats, 30.0)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(allow_nan=True), max_size=20))
def test_any_downbeats(downbeats: list[float]) -> None:
    result = find_transitions(music(6, RATE, channels=1), RATE, downbeats, NO_SECTIONS)
    assert set(result.phrases) <= set(downbeats)


def test_wrong_audio_is_refused() -> None:
    wrong: Any = np.zeros((100, 2), np.int16)
    with pytest.raises(ValueError, match="floating point"):
        find_transitions(wrong, RATE, [], NO_SECTIONS)


def test_the_task_works_without_earlier_results(tmp_path: Path) -> None:
    audio = music(10, RATE)
    mix = MixFile(tmp_path / "mix", len(audio), 2, RATE)
    mix.path.write_bytes(audio.astype("<f4").tobytes())
    assert analyse_transition(AnalysisInputs(mix)) == find_transitions(audio, RATE, [], NO_SECTIONS)

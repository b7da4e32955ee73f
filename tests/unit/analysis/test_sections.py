"""Sections of songs whose form is known: textures in sequence, compositions, and what has no form."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.mix import MixFile
from mismo_grpc.analysis.results import BasicFeaturesResult, SectionRole, SectionsResult
from mismo_grpc.analysis.sections import analyse_sections, find_sections, section_roles
from mismo_grpc.analysis.transition import find_transitions
from tests.support.packages import optional
from tests.support.songs import song
from tests.unit.analysis.memory import LONG_MINUTES, growth_a_second
from tests.unit.analysis.signals import Samples, music, silence, tone

RATE = 22_050
BAR = 2.0
INTRO, OUTRO, BREAKDOWN, DROP = (
    SectionRole.INTRO,
    SectionRole.OUTRO,
    SectionRole.BREAKDOWN,
    SectionRole.DROP,
)


def texture(name: str, seconds: float, gain: float = 1.0, seed: int = 1) -> Samples:
    """A chord, a bass and a pulse of noise, different for each name, mono [frames, 1]."""
    notes, pulse, dark = {
        "quiet": ((57, 60, 64), 0.02, True),
        "full": ((45, 57, 60, 64), 0.5, False),
        "other": ((41, 53, 57, 65), 0.25, False),
    }[name]
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    wave = np.sum([np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * time) for note in notes], axis=0)
    noise = random.standard_normal(len(time))
    if dark:
        noise = np.convolve(noise, np.ones(20) / 20, "same")
    hits = np.exp(-12 * (time % 0.5))
    return (gain * (0.05 * wave + pulse * 0.3 * noise * hits)).astype(np.float32)[:, np.newaxis]


def bars_of(seconds: float) -> tuple[list[float], list[float]]:
    """Beats and downbeats at 120 BPM."""
    return [0.5 * n for n in range(round(seconds * 2))], [BAR * n for n in range(round(seconds / BAR))]


def labels(result: SectionsResult) -> str:
    return "".join(section.label for section in result.sections)


def starts(result: SectionsResult) -> list[float]:
    return [section.start for section in result.sections]


def check(result: SectionsResult, duration: float) -> None:
    """The sections cover the track; all values are in their ranges."""
    assert starts(result)[0] == 0.0
    assert result.sections[-1].end == pytest.approx(duration)
    for before, after in pairwise(result.sections):
        assert before.end == after.start
    for section in result.sections:
        assert section.start < section.end
        assert 0.0 <= section.confidence <= 1.0
        assert 0.0 <= section.energy <= 1.0


@pytest.fixture(scope="module")
def club_track() -> Samples:
    """Intro, drop, breakdown, drop, outro: 16, 32, 16, 32 and 16 s."""
    forms = (("quiet", 16, 0.7), ("full", 32, 1.0), ("quiet", 16, 0.7), ("full", 32, 1.0), ("quiet", 16, 0.6))
    return np.concatenate(
        [texture(name, seconds, gain, seed) for seed, (name, seconds, gain) in enumerate(forms)]
    )


def test_boundaries_labels_and_roles_of_a_club_track(club_track: Samples) -> None:
    result = find_sections(club_track, RATE, *bars_of(112))
    check(result, 112.0)
    assert starts(result) == [0.0, 16.0, 48.0, 64.0, 96.0]
    assert labels(result) == "ABABA"
    assert [section.role for section in result.sections] == [INTRO, DROP, BREAKDOWN, DROP, OUTRO]
    assert min(section.confidence for section in result.sections) > 0.7
    quiet, full = result.sections[0].energy, result.sections[1].energy
    assert full > 0.9
    assert quiet < 0.7


def test_the_same_track_without_downbeats_or_beats(club_track: Samples) -> None:
    beats, _ = bars_of(112)
    assert starts(find_sections(club_track, RATE, beats, [])) == [0.0, 16.0, 48.0, 64.0, 96.0]
    alone = find_sections(club_track, RATE, [], [])
    check(alone, 112.0)
    assert starts(alone) == pytest.approx([0.0, 16.0, 48.0, 64.0, 96.0], abs=0.5)
    assert labels(alone) == "ABABA"


def test_a_different_sound_has_another_label() -> None:
    parts = [texture("full", 16), texture("other", 16), texture("full", 16, seed=2)]
    result = find_sections(np.concatenate(parts), RATE, *bars_of(48))
    assert starts(result) == [0.0, 16.0, 32.0]
    assert labels(result) == "ABA"


def test_boundaries_are_at_downbeats_that_the_beats_do_not_share() -> None:
    """The bars begin on the third beat; the change is in the middle of a bar of four beats from the first one."""
    audio = np.concatenate([texture("full", 17), texture("quiet", 16)])
    beats, _ = bars_of(33)
    result = find_sections(audio, RATE, beats, beats[2::4])
    assert starts(result) == [0.0, 17.0]


@pytest.mark.parametrize("seed", [9, 12])
def test_the_sections_of_compositions(seed: int) -> None:
    """By mir_eval: the hit rate within 3 s and 0.5 s and the pairwise agreement of the labels."""
    mir_eval = optional("mir_eval")
    audio, _, truth, _ = song(80.0, seed=seed, sample_rate=RATE)
    result = find_sections(audio, RATE, truth.beats, truth.downbeats)
    duration = len(audio) / RATE
    check(result, duration)
    assert set(starts(result)) <= set(truth.downbeats) | {0.0}
    reference = np.array([[span.start, span.end] for span in truth.sections])
    reference[-1, 1] = duration
    found = np.array([[section.start, section.end] for section in result.sections])
    for window, least in ((3.0, 0.7), (0.5, 0.6)):
        hit_rate = mir_eval.segment.detection(reference, found, window=window, trim=True)[2]
        assert hit_rate >= least
    expected = [span.label for span in truth.sections]
    agreement = mir_eval.segment.pairwise(reference, expected, found, list(labels(result)))[2]
    assert agreement >= 0.65


@pytest.mark.parametrize(
    ("energies", "roles"),
    [
        ((0.4, 0.9, 0.5, 1.0, 0.4), (INTRO, DROP, BREAKDOWN, DROP, OUTRO)),
        ((0.4, 0.6, 1.0, 1.0, 0.9), (INTRO, None, DROP, None, None)),
        ((0.9, 0.95, 1.0, 0.9, 0.9), (None, None, None, None, None)),
        ((0.9, 0.8, 1.0, 0.8, 0.9), (None, None, None, None, None)),
        ((0.0, 0.0, 0.0, 0.0, 0.0), (None, None, None, None, None)),
        ((1.0, 0.5, 0.6, 0.5, 1.0), (None, BREAKDOWN, BREAKDOWN, BREAKDOWN, DROP)),
    ],
    ids=["club", "long intro", "even", "small changes", "silence", "long breakdown"],
)
def test_roles_come_from_clear_energies(
    energies: tuple[float, ...], roles: tuple[SectionRole | None, ...]
) -> None:
    edges = [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    assert section_roles(edges, energies) == list(roles)


@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 1)), min_size=1, max_size=20))
def test_roles_have_their_places(sections: list[tuple[float, float]]) -> None:
    edges = np.concatenate([[0.0], np.cumsum([length for length, _ in sections])]).tolist()
    roles = section_roles(edges, [energy for _, energy in sections])
    assert len(roles) == len(sections)
    known = [role for role in roles if role is not None]
    # In order: intro, then the middle, then the outro.
    order = [{INTRO: 0, OUTRO: 2}.get(role, 1) for role in known]
    assert order == sorted(order)
    assert roles[0] not in (BREAKDOWN, DROP, OUTRO)


CLICK = silence(5, RATE)
CLICK[RATE] = 1.0
BROKEN = music(20, RATE)
BROKEN[RATE : 2 * RATE] = np.nan
BROKEN[5 * RATE : 6 * RATE, 0] = np.inf


@pytest.mark.parametrize(
    ("audio", "rate"),
    [
        (music(0.5, RATE), RATE),
        (silence(10, RATE), RATE),
        (np.random.default_rng(1).standard_normal((20 * RATE, 1)), RATE),
        (CLICK, RATE),
        (tone(-10, 10, RATE), RATE),
        (music(20, 8_000, channels=1)[:, 0], 8_000),
        (BROKEN, RATE),
        (np.full((RATE, 2), np.nan, np.float32), RATE),
        (np.zeros((1, 2), np.float32), RATE),
        (music(5, RATE, channels=6), RATE),
    ],
    ids=[
        "0.5 s",
        "silence",
        "noise",
        "click",
        "tone",
        "mono 8 kHz",
        "nan",
        "all nan",
        "one frame",
        "surround",
    ],
)
@pytest.mark.parametrize("beats", [True, False])
def test_audio_without_a_form(audio: Samples, rate: int, beats: bool) -> None:
    duration = len(audio) / rate
    result = find_sections(audio, rate, *(bars_of(duration) if beats else ([], [])))
    check(result, duration)


@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_a_short_track_is_one_section(seconds: float) -> None:
    (section,) = find_sections(music(seconds, RATE), RATE, *bars_of(seconds)).sections
    assert (section.label, section.role, section.confidence) == ("A", None, 0.0)


def test_silence_and_noise_are_one_section() -> None:
    noise = np.random.default_rng(1).standard_normal((60 * RATE, 1))
    for audio in (noise, silence(60, RATE)):
        for times in (bars_of(60), ([], [])):
            assert labels(find_sections(audio, RATE, *times)) == "A"


def test_no_frames_are_no_sections() -> None:
    assert find_sections(np.zeros((0, 2), np.float32), RATE, [], []) == SectionsResult(())


@settings(max_examples=25, deadline=None)
@given(
    beats=st.lists(st.floats(allow_nan=True), max_size=20),
    downbeats=st.lists(st.floats(min_value=-1, max_value=12), max_size=20),
)
def test_any_beats(beats: list[float], downbeats: list[float]) -> None:
    check(find_sections(music(6, 8_000, channels=1), 8_000, beats, downbeats), 6.0)


def test_wrong_audio_is_refused() -> None:
    wrong: Any = np.zeros((100, 2), np.int16)
    with pytest.raises(ValueError, match="floating point"):
        find_sections(wrong, RATE, [], [])


def test_the_task_uses_the_beats_of_the_basic_features(tmp_path: Path, club_track: Samples) -> None:
    beats, downbeats = bars_of(112)
    mix = MixFile(tmp_path / "mix", len(club_track), 1, RATE)
    mix.path.write_bytes(club_track.astype("<f4").tobytes())
    features = BasicFeaturesResult(
        duration=112.0,
        tempo=120.0,
        tempo_confidence=1.0,
        tempo_stability=1.0,
        tempo_curve=(),
        beats=tuple(beats),
        downbeats=tuple(downbeats),
        beats_per_bar=4,
        metre_confidence=1.0,
        key=None,
        tuning=None,
        integrated_lufs=None,
        loudness_range_lu=None,
        true_peak_dbtp=None,
        dynamic_range_db=None,
        beat_tracker="pulse",
    )
    expected = find_sections(club_track, RATE, beats, downbeats)
    assert analyse_sections(AnalysisInputs(mix, basic_features=features)) == expected
    assert analyse_sections(AnalysisInputs(mix)) == find_sections(club_track, RATE, [], [])


def test_memory_grows_by_the_features_only(tmp_path: Path) -> None:
    """A second of the audio has 64 kB; a table of all pairs of beats would grow by 31 kB a second."""
    rate = 8_000  # The number of features, and so the memory, is about the same at any rate.
    minute = music(60, rate)
    # A quiet half gives the track sections.
    minute[: len(minute) // 2] *= 0.1
    results: list[SectionsResult] = []

    def analyse(mix: MixFile) -> None:
        beats, downbeats = bars_of(mix.frames / rate)
        results.append(find_sections(mix.samples(), rate, beats, downbeats))
        find_transitions(mix.samples(), rate, downbeats, results[-1])

    assert growth_a_second(analyse, minute, rate, tmp_path) < 20e3
    short, long = results
    check(long, LONG_MINUTES * 60.0)
    assert len(long.sections) > len(short.sections) > 1

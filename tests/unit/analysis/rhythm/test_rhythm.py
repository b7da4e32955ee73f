"""The rhythm of composed songs against their truth, moving tempi, and audio without a beat."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import pytest

from mismo_grpc.analysis.rhythm.rhythm import Rhythm, estimate_rhythm
from tests.unit.analysis.rhythm.songs import (
    RATE,
    Samples,
    Song,
    drum_loop,
    f_measure,
    song,
    warped,
)

NOTHING = Rhythm(None, 0.0, 0.0, (), (), (), 0, 0.0, "pulse")


@pytest.fixture(autouse=True)
def _no_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """These tests are about the tracker of this package."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def check_beats(truth: Song, found: Rhythm) -> None:
    assert f_measure(truth.beats, found.beats) >= 0.95
    assert f_measure(truth.downbeats, found.downbeats) >= 0.9
    assert found.beats_per_bar == truth.beats_per_bar
    nearest = np.abs(truth.beats[:, np.newaxis] - found.beats).argmin(axis=1)
    errors = np.array(found.beats)[nearest] - truth.beats
    assert abs(np.median(errors)) < 0.01
    assert set(found.downbeats) <= set(found.beats)
    assert list(found.beats) == sorted(set(found.beats))


@pytest.mark.parametrize("tempo", [72.0, 128.0, 174.0])
def test_beats_bars_and_tempo_of_composed_songs(tempo: float) -> None:
    truth = song(tempo, 1)
    found = estimate_rhythm(truth.audio, RATE)
    assert found.tempo == pytest.approx(tempo, abs=0.05)
    assert found.tempo_curve == ()
    assert found.tempo_stability > 0.8
    assert found.tempo_confidence > 0.5
    assert found.beat_tracker == "pulse"
    check_beats(truth, found)


def test_three_beats_in_a_bar() -> None:
    tempo = 110.0
    truth = song(tempo, 1, beats_per_bar=3)
    assert truth.beats_per_bar == 3
    found = estimate_rhythm(truth.audio, RATE)
    assert found.tempo == pytest.approx(tempo, abs=0.05)
    check_beats(truth, found)


def test_a_ramp_is_followed() -> None:
    truth = warped(song(128.0, 1), lambda place: 0.9 + 0.2 * place)
    found = estimate_rhythm(truth.audio, RATE)
    check_beats(truth, found)
    tempi = [point.tempo for point in found.tempo_curve]
    assert len(tempi) <= 8
    assert tempi == sorted(tempi)
    assert tempi[0] == pytest.approx(0.92 * 128, rel=0.02)
    assert tempi[-1] == pytest.approx(1.08 * 128, rel=0.02)
    assert found.tempo_stability < 0.6


def test_a_jump_makes_two_points() -> None:
    truth = warped(song(128.0, 1), lambda place: np.where(place < 0.5, 1.0, 1.08))
    found = estimate_rhythm(truth.audio, RATE)
    check_beats(truth, found)
    first, second = found.tempo_curve
    assert (first.time, first.tempo) == (pytest.approx(0.0, abs=0.1), pytest.approx(128, rel=0.005))
    assert second.time == pytest.approx(len(song(128.0, 1).audio) / RATE / 2, abs=2.0)
    assert second.tempo == pytest.approx(1.08 * 128, rel=0.005)


def test_people_are_less_steady_than_machines() -> None:
    machine = 0.3 + 0.5 * np.arange(60)
    random = np.random.default_rng(4)
    person = 0.3 + np.cumsum(0.5 + 0.012 * random.standard_normal(60)) + 0.008 * random.standard_normal(60)
    steady, human = (estimate_rhythm(drum_loop(beats, 31.0), RATE) for beats in (machine, person))
    assert f_measure(machine, steady.beats) > 0.97
    assert f_measure(person, human.beats) > 0.95
    assert steady.tempo_stability > 0.95
    assert 0.2 < human.tempo_stability < 0.9


def test_the_sample_rate_does_not_matter() -> None:
    beats = 0.25 + 60 / 117 * np.arange(38)
    for rate in (8000, 11_025, 44_100, 48_000):
        found = estimate_rhythm(drum_loop(beats, 20.0, rate=rate), rate)
        assert found.tempo == pytest.approx(117, abs=0.05)
        assert f_measure(beats, found.beats) > 0.95


def test_stereo_and_mono_and_samples_that_are_no_numbers() -> None:
    mono = drum_loop(0.5 * np.arange(40), 20.0)
    expected = estimate_rhythm(mono, RATE)
    assert expected.tempo == pytest.approx(120, abs=0.05)
    assert estimate_rhythm(np.stack([mono, mono], axis=1), RATE) == expected
    holes = mono.copy()
    holes[::997] = np.nan
    holes[5::1999] = -np.inf
    assert estimate_rhythm(holes, RATE) == estimate_rhythm(np.where(np.isfinite(holes), holes, 0), RATE)
    assert estimate_rhythm(mono.astype(np.float64), RATE) == expected


def click(seconds: float) -> Samples:
    audio = np.zeros(round(seconds * RATE), np.float32)
    audio[len(audio) // 3] = 1.0
    return audio


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros((0, 2), np.float32),
        np.ones((1, 2), np.float32),
        np.zeros((20 * RATE, 2), np.float32),
        np.full((5 * RATE, 2), np.nan, np.float32),
        np.ones(5 * RATE, np.float32),
        click(20.0),
        np.random.default_rng(1).standard_normal(RATE // 2).astype(np.float32),
        np.random.default_rng(2).standard_normal((30 * RATE, 2)).astype(np.float32),
    ],
    ids=["empty", "one", "silence", "nan", "constant", "click", "half a second", "noise"],
)
def test_nothing_is_found_where_nothing_beats(audio: Samples) -> None:
    assert estimate_rhythm(audio, RATE) == NOTHING


def speech(seed: int) -> Samples:
    """Syllables of irregular lengths with pauses: harmonics of a voice, and noise at the start of some."""
    random = np.random.default_rng(seed)
    audio = np.zeros(30 * RATE)
    at = 0.2
    while at < 29.0:
        time = np.arange(round(random.uniform(0.08, 0.3) * RATE)) / RATE
        pitch = random.uniform(100, 180)
        voice = sum((np.sin(2 * np.pi * pitch * h * time) / h for h in range(1, 20)), np.zeros(len(time)))
        if random.random() < 0.5:
            voice[: len(time) // 3] += random.standard_normal(len(time) // 3)
        begin = round(at * RATE)
        audio[begin : begin + len(time)] += 0.1 * voice * np.hanning(len(time))
        at += len(time) / RATE + random.choice([0.02, 0.05, 0.4]) * random.uniform(0.5, 2.0)
    return audio.astype(np.float32)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_speech_is_hardly_a_rhythm(seed: int) -> None:
    assert estimate_rhythm(speech(seed), RATE).tempo_confidence < 0.1


@pytest.mark.parametrize(
    ("audio", "rate"),
    [
        (np.zeros((10, 2, 2), np.float32), RATE),
        (np.zeros((10, 2), np.int16), RATE),
        (np.zeros((10, 2), np.float32), 4000),
    ],
)
def test_wrong_shapes_types_and_rates(audio: npt.NDArray[np.floating], rate: int) -> None:
    with pytest.raises(ValueError, match=r"floating point|sample rate"):
        estimate_rhythm(audio, rate)


@pytest.mark.parametrize("tempo", [100, 120])
def test_the_end_of_a_loop_is_no_beat(tempo: int) -> None:
    # Cutting a sustained tone off sounds like an onset, here at the time of the next beat.
    duration = 32 * 60 / tempo
    drums = drum_loop(60 / tempo * np.arange(32), duration)
    tone = np.sin(2 * np.pi * 55 * np.arange(len(drums)) / RATE).astype(np.float32)
    found = estimate_rhythm(0.5 * drums + 0.3 * tone, RATE)
    assert len(found.beats) == 32
    assert found.beats[-1] < len(drums) / RATE
    assert set(found.downbeats) <= set(found.beats)


def test_results_are_plain_finite_numbers() -> None:
    found = estimate_rhythm(drum_loop(0.5 * np.arange(40), 20.0), RATE)
    numbers = [value for value in asdict(found).values() if isinstance(value, (int, float))]
    assert all(type(value) in (int, float) and math.isfinite(value) for value in numbers)
    assert all(type(time) is float and time >= 0.0 for time in (*found.beats, *found.downbeats))

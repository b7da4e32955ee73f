"""Keys of generated music, and sounds that have none."""

from __future__ import annotations

import numpy as np
import pytest

from mismo_grpc.analysis.results import Key, Mode
from mismo_grpc.analysis.tonal.key import Tonality, estimate_tonality
from tests.support.songs import song
from tests.unit.analysis.tonal.tones import RATE, Samples, cadence, clicks, glides, noise, note, progression

NOTHING = Tonality(None, None)


def key_of(audio: np.ndarray, rate: int = RATE) -> Key:
    key = estimate_tonality(audio, rate).key
    assert key is not None
    return key


@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("tonic", range(12))
def test_every_key(tonic: int, mode: str) -> None:
    key = key_of(cadence(tonic, mode))
    assert (key.tonic, key.mode.value) == (tonic, mode)
    assert key.confidence > 0.3


@pytest.mark.parametrize(("mode", "counts_as"), [("dorian", Mode.MINOR), ("mixolydian", Mode.MAJOR)])
def test_other_modes_count_as_the_one_with_the_same_third(mode: str, counts_as: Mode) -> None:
    key = key_of(cadence(2, mode))
    assert (key.tonic, key.mode) == (2, counts_as)


def test_songs_with_drums_and_voices() -> None:
    # Not all: some progressions hardly use the tonic, such as one that rests on the subdominant.
    keys = ("C major", "Eb major", "F# major", "A major", "B minor", "D minor", "F# minor", "Ab minor")
    found: list[str] = []
    for seed, key in enumerate(keys):
        composed = song(16.0, key=key, seed=seed, sample_rate=16_000)
        found.append(key_of(composed.audio, composed.sample_rate).name)
    assert sum(name == key for name, key in zip(found, keys, strict=True)) >= 6


@pytest.mark.parametrize("a4", [428.0, 452.0])
def test_a_key_that_is_out_of_tune(a4: float) -> None:
    assert key_of(cadence(9, "minor", a4=a4)).name == "A minor"


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(0, np.float32),
        np.zeros(RATE, np.float32),
        np.full(RATE * 3, np.nan, np.float32),
        np.full(RATE * 3, 0.5, np.float32),
        clicks(5.0, 10.0),
        clicks(10.0, 0.5),
    ],
    ids=["no frames", "silence", "NaN", "direct current", "one click", "clicks"],
)
def test_sounds_without_partials_have_no_key(audio: Samples) -> None:
    assert estimate_tonality(audio, RATE) == NOTHING


@pytest.mark.parametrize("seconds", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("colour", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_has_no_confident_key(seconds: float, colour: float, seed: int) -> None:
    key = estimate_tonality(noise(seconds, colour=colour, seed=seed), RATE).key
    assert key is None or key.confidence < 0.05


def test_glides_have_no_confident_key() -> None:
    key = estimate_tonality(glides(10.0), RATE).key
    assert key is None or key.confidence < 0.1


def test_one_note_is_no_confident_key() -> None:
    key = estimate_tonality(note(60, 10.0), RATE).key
    assert key is None or key.confidence < 0.2


def test_little_music_is_no_confident_key() -> None:
    assert key_of(progression(["C"], 0.5)).confidence < 0.1


def test_the_layout_of_the_audio_does_not_matter() -> None:
    mono = cadence(4, "minor")
    expected = estimate_tonality(mono, RATE)
    assert estimate_tonality(np.stack([mono, mono], axis=1), RATE) == expected
    assert estimate_tonality(mono[:, np.newaxis].astype(np.float64), RATE) == expected


def test_samples_that_are_not_finite_count_as_silence() -> None:
    audio, spoilt = cadence(7, "major"), cadence(7, "major")
    audio[1000:1100], spoilt[1000:1100] = 0.0, np.nan
    spoilt[1050] = np.inf
    assert estimate_tonality(spoilt, RATE) == estimate_tonality(audio, RATE)


def test_huge_samples_do_not_overflow() -> None:
    key = key_of(cadence(7, "major") * np.float32(1e30))
    assert 0.0 <= key.confidence <= 1.0


@pytest.mark.parametrize("rate", [8000, 11025, 48000, 96000])
def test_any_sample_rate(rate: int) -> None:
    assert key_of(progression(["G", "C", "D", "Em", "C", "D", "G"], 1.0, rate), rate).name == "G major"


@pytest.mark.parametrize(
    ("audio", "rate"),
    [
        (np.zeros((10, 2, 2), np.float32), RATE),
        (np.zeros((10, 0), np.float32), RATE),
        (np.zeros(10, np.int16), RATE),
        (np.zeros(10, np.float32), 4000),
    ],
    ids=["three dimensions", "no channels", "integers", "4 kHz"],
)
def test_what_is_no_audio_is_refused(audio: np.ndarray, rate: int) -> None:
    with pytest.raises(ValueError, match=r"audio|sample_rate"):
        estimate_tonality(audio, rate)

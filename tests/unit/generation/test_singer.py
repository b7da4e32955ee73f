from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mismo_grpc.generation.line import Manner, Played, one_at_a_time, perform
from mismo_grpc.generation.score import Note, Part
from mismo_grpc.generation.singer import (
    CONSONANTS,
    LOWEST_WOMAN,
    MEN,
    NASAL,
    WOMEN,
    Singer,
    draw_singer,
    sing,
    throat_gain,
)
from mismo_grpc.generation.synthetic import render_part
from mismo_grpc.generation.tempo import TempoMap
from tests.unit.generation.listening import RATE, Sound, magnitudes, rms, share

STEADY = Manner(0.02, 0.05, 0.01, scoop=0.0, vibrato=0.0, speed=5.0, delay=0.2, drift=0.0)
PLAIN = Singer(False, 1.0, 1.0, 0.0, 0.0, STEADY, vowels=("ɑ",), consonants=("",))


def sung(singer: Singer, *notes: Played, seconds: float = 1.0, seed: int = 1) -> Sound:
    return sing(notes, singer, int(seconds * RATE), RATE, np.random.default_rng(seed))


def note(pitch: int, begin: float = 0.0, end: float = 1.0, loudness: float = 0.8) -> Played:
    return Played(int(begin * RATE), int(end * RATE), pitch, loudness)


def harmonics(sound: Sound, hz: float, count: int) -> np.ndarray:
    """dB of the harmonics of a steady sound, without the fall of its source."""
    levels = magnitudes(sound)
    places = [round(hz * n * 8 * len(sound) / RATE) for n in range(1, count + 1)]
    return np.array([20 * np.log10(levels[at - 40 : at + 41].max()) for at in places])


@pytest.mark.parametrize("vowel", sorted(MEN))
@pytest.mark.parametrize("women", [False, True])
def test_the_formants_are_where_the_vowels_are(vowel: str, women: bool) -> None:
    # A low note has harmonics close enough to show the resonances between them.
    singer = replace(PLAIN, women=women)
    neutral, formed = (sung(replace(singer, vowels=(v,)), note(33)) for v in ("ʌ", vowel))
    table = WOMEN if women else MEN
    hz, count = 55.0, 60
    frequencies = hz * np.arange(1, count + 1)[None]
    wanted, reference = (
        20 * np.log10(np.abs(throat_gain(frequencies, np.array([table[v]], dtype=float))))[0]
        for v in (vowel, "ʌ")
    )
    middle = slice(int(0.4 * RATE), int(0.9 * RATE))
    heard = harmonics(formed[middle], hz, count) - harmonics(neutral[middle], hz, count)
    difference = heard - (wanted - reference)
    # The singer evens out the loudness of vowels, so a constant is free.
    assert np.std(difference) < 1.5


@pytest.mark.parametrize("vowel", ["i", "ɪ", "ɛ", "æ"])
def test_the_second_formant_stands_out(vowel: str) -> None:
    sound = sung(replace(PLAIN, vowels=(vowel,)), note(33))[int(0.4 * RATE) : int(0.9 * RATE)]
    first, second, _ = MEN[vowel]
    levels = harmonics(sound, 55.0, 50)
    frequencies = 55.0 * np.arange(1, 51)
    between = (frequencies > (first + second) / 2) & (frequencies < second * 1.12)
    assert frequencies[between][np.argmax(levels[between])] == pytest.approx(second, abs=60)


def test_a_cascade_of_resonances_peaks_at_each_of_them() -> None:
    formants = np.array([[500.0, 1500.0, 2500.0]])
    frequencies = np.arange(1.0, 3000.0)[None]
    gain = np.abs(throat_gain(frequencies, formants))[0]
    peaks = np.flatnonzero((gain[1:-1] > gain[:-2]) & (gain[1:-1] > gain[2:])) + 2.0
    np.testing.assert_allclose(peaks, formants[0], atol=12)
    assert gain[0] == pytest.approx(1.0, abs=1e-3)


def test_high_melodies_are_sung_by_women_and_low_ones_by_men() -> None:
    rng = np.random.default_rng(1)
    assert draw_singer(LOWEST_WOMAN, rng).women
    assert not draw_singer(LOWEST_WOMAN - 1, rng).women


def test_vibrato_swings_around_the_pitch_once_it_has_set_in() -> None:
    manner = replace(STEADY, vibrato=0.5, delay=0.3)
    contour = perform([note(60, 0.0, 2.0)], 2 * RATE, manner, RATE, np.random.default_rng(1))
    assert np.abs(contour.pitch[5:30] - 60).max() < 0.01
    swing = contour.pitch[70:200] - 60
    assert swing.max() == pytest.approx(0.5, abs=0.03)
    assert swing.min() == pytest.approx(-0.5, abs=0.03)
    turns = np.count_nonzero(np.diff(np.sign(swing)))
    assert turns == pytest.approx(2 * 5.0 * 1.3, abs=2)


def test_joined_notes_glide_and_separate_ones_begin_with_a_scoop() -> None:
    manner = replace(STEADY, glide=0.05, scoop=1.0)
    notes = [note(60, 0.0, 0.5), note(67, 0.5, 1.0), note(55, 1.5, 2.0)]
    pitch = perform(notes, 2 * RATE, manner, RATE, np.random.default_rng(1)).pitch
    assert pitch[0] == pytest.approx(59)
    assert 59.99 < pitch[50] < 62 < pitch[56] < 67
    assert pitch[99] == pytest.approx(67, abs=0.05)
    assert pitch[150] == pytest.approx(54)
    assert pitch[199] == pytest.approx(55, abs=0.05)


def test_loudness_never_comes_before_its_note_and_dies_after_it() -> None:
    level = perform([note(60, 0.5, 1.0)], 2 * RATE, STEADY, RATE, np.random.default_rng(1)).level
    assert not level[:51].any()
    assert level[60] == pytest.approx(0.8)
    assert not level[130:].any()
    assert np.abs(np.diff(level)).max() < 0.35


def test_one_voice_sings_one_note_at_a_time() -> None:
    line = one_at_a_time([note(60, 0.0, 0.8), note(64, 0.5, 1.0), note(67, 0.5, 1.0)])
    assert [(n.begin, n.end, n.pitch) for n in line] == [(0, RATE // 2, 60), (RATE // 2, RATE, 67)]


@pytest.mark.parametrize("consonant", ["s", "sh", "t", "k"])
def test_a_consonant_is_noise_above_the_voice_before_its_vowel(consonant: str) -> None:
    sound = sung(replace(PLAIN, consonants=(consonant,)), note(45))
    made = CONSONANTS[consonant]
    before = sound[: int(0.8 * made.seconds * RATE)]
    assert share(before, made.low * 0.7, made.high * 1.3) > 0.7
    assert share(sound[int(0.3 * RATE) : int(0.6 * RATE)], made.low, made.high) < 0.2


def test_a_hummed_consonant_opens_into_its_vowel() -> None:
    sound = sung(replace(PLAIN, consonants=(NASAL,)), note(45))
    hummed, open_vowel = sound[int(0.01 * RATE) : int(0.04 * RATE)], sound[int(0.4 * RATE) : int(0.6 * RATE)]
    assert share(hummed, 500, 1500) < 0.5 * share(open_vowel, 500, 1500)


def test_syllables_change_the_vowel() -> None:
    singer = replace(PLAIN, vowels=("i", "ɑ", "u"))
    notes = [note(45, i * 0.5, i * 0.5 + 0.5) for i in range(8)]
    sound = sung(singer, *notes, seconds=4.0)
    shares = [share(sound[int((i + 0.5) * RATE / 2) :][:4000], 600, 1300) for i in range(8)]
    assert max(shares) > 3 * min(shares)


def test_breath_is_heard_where_there_is_some() -> None:
    clear, breathy = (sung(replace(PLAIN, breath=b), note(45)) for b in (0.0, 0.1))
    assert rms(breathy - clear) == pytest.approx(0.08, rel=0.3)


def test_backing_singers_are_two_and_a_lead_singer_is_one() -> None:
    notes = (Note(0.0, 0.8, 57, 90),)
    lead, backing = (
        render_part(Part("vocals", voice, 52, notes), TempoMap(60.0), RATE, RATE, 1)
        for voice in ("lead singer", "backing singer")
    )
    np.testing.assert_array_equal(lead[:, 0], lead[:, 1])
    assert rms(backing[:, 0] - backing[:, 1]) > 0.3 * rms(backing)


def test_a_part_without_notes_is_silent() -> None:
    assert not render_part(Part("vocals", "lead singer", 53, ()), TempoMap(60.0), 1000, RATE, 1).any()

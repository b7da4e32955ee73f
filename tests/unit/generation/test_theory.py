from __future__ import annotations

import pytest

from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.generation.theory import (
    CHORD_TYPES,
    PITCH_NAMES,
    SCALES,
    Key,
    diatonic_chord,
    parse_chord,
    parse_key,
    scale_pitches,
)


@pytest.mark.parametrize(
    ("text", "tonic", "mode"),
    [
        ("A minor", 9, "minor"),
        ("Am", 9, "minor"),
        ("AM", 9, "major"),
        ("F#m", 6, "minor"),
        ("Gb", 6, "major"),
        ("Bb", 10, "major"),
        ("B♭ Major", 10, "major"),
        ("Cb", 11, "major"),
        (" D Dorian ", 2, "dorian"),
        ("E mixolydian", 4, "mixolydian"),
    ],
)
def test_a_key_is_read_as_musicians_write_it(text: str, tonic: int, mode: str) -> None:
    assert parse_key(text) == Key(tonic, mode)


def test_every_key_reads_its_own_name() -> None:
    keys = [Key(tonic, mode) for tonic in range(12) for mode in SCALES]
    assert [parse_key(str(key)) for key in keys] == keys


@pytest.mark.parametrize(
    "text", ["", "H", "minor", "A minore", "A # minor", "a minor", "12", "A\nminor\n\n;"]
)
def test_what_is_no_key_is_refused_by_the_name_of_its_field(text: str) -> None:
    with pytest.raises(InvalidFieldError) as refused:
        parse_key(text, "root_key")
    assert refused.value.field == "root_key"


@pytest.mark.parametrize(
    ("symbol", "pitches", "bass"),
    [
        ("C", (0, 4, 7), 0),
        (" Am7 ", (9, 0, 4, 7), 9),
        ("C/E", (0, 4, 7), 4),
        ("Bbmaj7/D", (10, 2, 5, 9), 2),
        ("F#m7b5", (6, 9, 0, 4), 6),
        ("Ebsus4", (3, 8, 10), 3),
        ("G5", (7, 2), 7),
        ("Dadd9", (2, 6, 9, 4), 2),
        ("B♭9", (10, 2, 5, 8, 0), 10),
        ("Baug", (11, 3, 7), 11),
    ],
)
def test_a_chord_symbol_means_its_notes(symbol: str, pitches: tuple[int, ...], bass: int) -> None:
    chord = parse_chord(symbol)
    assert chord.pitch_classes == pitches
    assert chord.bass == bass


def test_every_type_of_chord_can_be_written_on_every_root() -> None:
    for root, name in enumerate(PITCH_NAMES):
        for symbol, intervals in CHORD_TYPES.items():
            chord = parse_chord(name + symbol)
            assert (chord.root, chord.intervals) == (root, intervals)


@pytest.mark.parametrize("symbol", ["", "X", "Cmin9", "C/", "C/H", "am", "C//E", "N.C."])
def test_what_is_no_chord_is_refused_by_the_name_of_its_field(symbol: str) -> None:
    with pytest.raises(InvalidFieldError) as refused:
        parse_chord(symbol)
    assert refused.value.field == "chords"


def test_the_chords_of_c_major_are_those_of_the_textbook() -> None:
    textbook = [parse_chord(symbol) for symbol in ("C", "Dm", "Em", "F", "G", "Am", "Bdim")]
    assert [diatonic_chord(Key(0, "major"), degree) for degree in range(7)] == textbook
    assert diatonic_chord(Key(0, "major"), 4, 4) == parse_chord("G7")
    assert diatonic_chord(Key(9, "minor"), 1, 4) == parse_chord("Bm7b5")


def test_a_voicing_holds_every_note_of_the_chord_close_to_where_it_was_asked() -> None:
    for symbol in ("C", "F#m7b5", "Bb9", "Dsus2"):
        for near in (48, 60, 67):
            voicing = parse_chord(symbol).voicing(near)
            assert {pitch % 12 for pitch in voicing} == set(parse_chord(symbol).pitch_classes)
            assert all(abs(pitch - near) <= 6 for pitch in voicing)
            assert list(voicing) == sorted(voicing)


def test_scale_pitches_are_all_there_are_in_the_range() -> None:
    assert scale_pitches((0, 4, 7), 60, 72) == [60, 64, 67, 72]

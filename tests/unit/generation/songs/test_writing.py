from __future__ import annotations

from dataclasses import replace

import pytest

from mismo_grpc.generation.options import TARGET_STEMS, GenerationOptions
from mismo_grpc.generation.songs.styles import ALIASES, STYLES, style_of
from mismo_grpc.generation.songs.writing import truth, write_parts, write_song
from mismo_grpc.generation.theory import Key, parse_chord

OPTIONS = GenerationOptions(TARGET_STEMS, target_bpm=120.0, seconds=60.0, key="A minor", random_seed=4)


def test_chords_come_one_a_bar_and_again_from_the_start() -> None:
    symbols = ("Am", "F", "C/E")
    song = write_song(replace(OPTIONS, chord_progression=symbols))
    chords = [bar.chord for bar in song.frame.bars]
    assert chords == [parse_chord(symbols[i % 3]) for i in range(30)]
    spans = truth(replace(OPTIONS, chord_progression=symbols)).chords
    assert [(s.start, s.end, s.label) for s in spans[:3]] == [
        (0.0, 2.0, "A:min"),
        (2.0, 4.0, "F:maj"),
        (4.0, 6.0, "C:maj"),
    ]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"key": "A minor"}, Key(9, "minor")),
        ({"key": "Bb"}, Key(10, "major")),
        ({"key": "", "chord_progression": ("Dm7", "G7")}, Key(2, "minor")),
        ({"key": "C major", "chord_progression": ("Dm7", "G7")}, Key(0, "major")),
    ],
)
def test_the_key_is_the_asked_one_or_that_of_the_chords(changes: dict[str, object], key: Key) -> None:
    assert write_song(replace(OPTIONS, **changes)).frame.key == key


def test_without_chords_all_notes_of_the_harmony_are_of_the_key() -> None:
    for seed in range(20):
        song = write_song(replace(OPTIONS, random_seed=seed))
        for bar in song.frame.bars:
            assert set(bar.chord.pitch_classes) <= set(song.frame.key.pitch_classes)


def test_the_truth_ends_where_the_stems_end() -> None:
    found = truth(replace(OPTIONS, seconds=7.3))
    assert found.tempo == 120.0
    assert found.beats == tuple(k * 0.5 for k in range(15))
    assert len(found.tempi) == 15
    assert found.downbeats == (0.0, 2.0, 4.0, 6.0)
    assert found.chords[-1].end == found.sections[-1].end == 7.3


def test_a_song_does_not_depend_on_the_asked_stems() -> None:
    alone = replace(OPTIONS, target_stems=("bass",))
    assert write_song(alone) == write_song(OPTIONS)
    assert truth(alone) == truth(OPTIONS)


@pytest.mark.parametrize("seconds", [2.0, 10.0, 31.0, 200.0])
def test_every_stem_has_notes_in_every_verse_and_chorus(seconds: float) -> None:
    for seed in range(5):
        song = write_song(replace(OPTIONS, seconds=seconds, random_seed=seed))
        sections = {bar.section for bar in song.frame.bars}
        assert sections & {"verse", "chorus"}
        for stem in TARGET_STEMS:
            parts = write_parts(song, stem)
            assert all(part.stem == stem for part in parts)
            starts = {int(note.start // 4) for part in parts for note in part.notes}
            # A singer or a soloist may rest for a bar or two, but not for a section of four.
            full = [i for i, bar in enumerate(song.frame.bars) if bar.section in ("verse", "chorus")]
            assert len(starts & set(full)) >= 0.5 * len(full), (stem, seed)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("rock", "rock"),
        ("Jazz", "jazz"),
        ("90s alternative rock", "rock"),
        ("hip-hop", "hip hop"),
        ("HIP HOP", "hip hop"),
        ("hard rock", "metal"),
        ("drum & bass", "drum and bass"),
        ("electronic", "house"),
        ("R&B", "hip hop"),
        ("zither minuet", ""),
        ("", ""),
        ("rockabilly", ""),
    ],
)
def test_a_free_text_names_a_style(text: str, name: str) -> None:
    assert style_of(text).name == name


def test_styles_play_what_they_are_known_for() -> None:
    assert all(known in STYLES for known in ALIASES.values())
    rock = write_song(replace(OPTIONS, style="rock"))
    house = write_song(replace(OPTIONS, style="house"))
    jazz = write_song(replace(OPTIONS, style="jazz", key="C"))
    assert rock.groove.name in ("rock", "hard rock")
    assert write_parts(house, "drums")[0].program in (24, 25)
    assert write_parts(jazz, "drums")[0].program in (32, 40)
    assert all(len(bar.chord.intervals) == 4 for bar in jazz.frame.bars)
    assert write_parts(write_song(replace(OPTIONS, style="metal")), "guitar")[0].voice == "distorted guitar"


def test_for_an_unknown_style_the_seed_decides() -> None:
    unknown = replace(OPTIONS, style="zither minuet")
    grooves = {write_song(replace(unknown, random_seed=seed)).groove.name for seed in range(12)}
    assert len(grooves) > 2
    assert write_song(unknown) == write_song(unknown)

from __future__ import annotations

import math

import pytest

from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.generation.arranging import (
    BASS_LOW,
    BASS_RHYTHMS,
    CHORD_RHYTHMS,
    SUB_LOW,
    SUB_RHYTHMS,
    SYLLABLE_RHYTHMS,
)
from mismo_grpc.generation.composer import MAX_CHORDS, MAX_SECONDS, Brief, compose
from mismo_grpc.generation.grooves import GROOVES, STEPS
from mismo_grpc.generation.score import STEMS, Bar, Composition, Note
from mismo_grpc.generation.synthetic import VOICES
from mismo_grpc.generation.theory import parse_chord, parse_key

SEEDS = range(40)


@pytest.fixture(scope="module")
def songs() -> list[Composition]:
    return [compose(Brief(seconds=45), seed) for seed in SEEDS]


def bar_of(song: Composition, note: Note) -> Bar:
    # Players are some hundredths of a beat early at times.
    return max((bar for bar in song.bars if bar.start <= note.start + 0.1), key=lambda bar: bar.start)


@pytest.mark.parametrize("seconds", [0.5, 3.0, 30.0, 187.3])
def test_a_song_is_as_long_as_asked_and_less_than_a_bar_longer(seconds: float) -> None:
    for seed in range(8):
        song = compose(Brief(seconds=seconds), seed)
        bar = song.bars[-1].beats * 60 / song.tempo
        assert seconds - 1e-6 <= song.seconds < seconds + bar


def test_bars_follow_one_another_without_a_gap(songs: list[Composition]) -> None:
    for song in songs:
        ends = [bar.start + bar.beats for bar in song.bars]
        assert [bar.start for bar in song.bars] == [0.0, *ends[:-1]]
        assert ends[-1] == song.beats


def test_the_same_seed_gives_the_same_song_and_another_seed_another() -> None:
    brief = Brief(seconds=20)
    assert compose(brief, 7) == compose(brief, 7)
    assert len({compose(brief, seed).parts for seed in SEEDS}) == len(SEEDS)


def test_seeds_differ_in_tempo_key_form_and_band(songs: list[Composition]) -> None:
    assert len({song.tempo for song in songs}) > 20
    assert len({song.key for song in songs}) > 10
    assert len({tuple(bar.section for bar in song.bars) for song in songs}) > 5
    assert len({part.voice for song in songs for part in song.parts}) > 12


def test_every_stem_has_a_part_and_every_part_is_well_formed(songs: list[Composition]) -> None:
    for song in songs:
        assert {part.stem for part in song.parts} == set(STEMS)
        for part in song.parts:
            assert part.voice in VOICES
            assert 0 <= part.program <= 127
            assert -1 <= part.pan <= 1
            assert list(part.notes) == sorted(part.notes, key=lambda note: (note.start, note.pitch))
            assert all(0 <= note.start < song.beats and note.duration > 0 for note in part.notes)
            assert all(1 <= note.velocity <= 127 and 0 <= note.pitch <= 127 for note in part.notes)


@pytest.mark.parametrize("tempo", [40.0, 97.3, 174.0, 240.0])
def test_the_tempo_of_the_brief_is_the_tempo_of_the_song(tempo: float) -> None:
    for seed in range(5):
        assert compose(Brief(seconds=20, tempo=tempo), seed).tempo == tempo


@pytest.mark.parametrize("key", ["A minor", "F# major", "Eb dorian", "G mixolydian"])
def test_all_that_is_played_belongs_to_the_key(key: str) -> None:
    for seed in SEEDS:
        song = compose(Brief(seconds=30, key=key), seed)
        assert song.key == parse_key(key)
        played = {note.pitch % 12 for part in song.parts if part.stem != "drums" for note in part.notes}
        assert played <= set(song.key.pitch_classes)
        assert len(played) >= 5


def test_the_chords_of_the_brief_are_played_one_a_bar_over_and_over() -> None:
    symbols = ("Am", "F", "C/E", "Gsus4", "E7")
    wanted = [parse_chord(symbol) for symbol in symbols]
    held = 0
    for seed in SEEDS:
        song = compose(Brief(seconds=40, chords=symbols), seed)
        assert [bar.chord for bar in song.bars] == [wanted[i % 5] for i in range(len(song.bars))]
        assert song.key == parse_key("A minor")
        for part in song.parts:
            # Pads and organs play chords alone, and nothing but them.
            if part.voice == "pad":
                held += len(part.notes)
                assert all(n.pitch % 12 in bar_of(song, n).chord.pitch_classes for n in part.notes)
    assert held > 100


def test_the_bass_plays_the_bass_of_the_chord_at_its_first_stroke_in_a_bar(songs: list[Composition]) -> None:
    for song in songs:
        bass = next(part for part in song.parts if part.stem == "bass")
        firsts: dict[float, Note] = {}
        for note in bass.notes:
            firsts.setdefault(bar_of(song, note).start, note)
        downbeats = [n for start, n in firsts.items() if abs(n.start - start) < 0.1]
        assert all(note.pitch % 12 == bar_of(song, note).chord.bass for note in downbeats)
        low = BASS_LOW if bass.voice == "electric bass" else SUB_LOW
        assert all(low <= note.pitch <= 52 for note in bass.notes)


def test_only_synthesisers_go_under_the_strings_of_a_bass_guitar(songs: list[Composition]) -> None:
    basses = [part for song in songs for part in song.parts if part.stem == "bass"]
    deep = [part for part in basses if min(note.pitch for note in part.notes) < BASS_LOW]
    assert {part.voice for part in deep} == {"synth bass", "sub bass"}
    assert len(deep) < 0.6 * len(basses)


def test_a_singer_sings_one_note_at_a_time_within_a_voice_and_breathes(songs: list[Composition]) -> None:
    for song in songs:
        lead = next(part for part in song.parts if part.voice == "lead singer")
        if not lead.notes:
            continue
        pitches = [note.pitch for note in lead.notes]
        assert min(pitches) >= 45
        assert max(pitches) - min(pitches) <= 16
        # What is left of overlaps is the unsteadiness of two starts.
        overlaps = [a.start + a.duration - b.start for a, b in zip(lead.notes, lead.notes[1:], strict=False)]
        assert max(overlaps, default=0.0) < 0.1


def test_a_chorus_is_fuller_than_an_intro(songs: list[Composition]) -> None:
    density: dict[str, list[float]] = {"intro": [], "chorus": []}
    for song in songs:
        for name, found in density.items():
            bars = [bar for bar in song.bars if bar.section == name]
            notes = [n for part in song.parts for n in part.notes if bar_of(song, n) in bars]
            if bars:
                found.append(len(notes) / len(bars))
    means = {name: sum(found) / len(found) for name, found in density.items()}
    assert means["chorus"] > 1.4 * means["intro"]


@pytest.mark.parametrize(
    ("brief", "field"),
    [
        (Brief(seconds=0), "seconds"),
        (Brief(seconds=math.nan), "seconds"),
        (Brief(seconds=math.inf), "seconds"),
        (Brief(seconds=MAX_SECONDS + 1), "seconds"),
        (Brief(seconds=10, tempo=39.9), "tempo"),
        (Brief(seconds=10, tempo=240.1), "tempo"),
        (Brief(seconds=10, tempo=math.nan), "tempo"),
        (Brief(seconds=10, key="H minor"), "key"),
        (Brief(seconds=10, chords=("C", "Xm")), "chords"),
        (Brief(seconds=10, chords=("C",) * (MAX_CHORDS + 1)), "chords"),
    ],
)
def test_a_bad_brief_is_refused_by_the_name_of_its_field(brief: Brief, field: str) -> None:
    with pytest.raises(InvalidFieldError) as refused:
        compose(brief, 1)
    assert refused.value.field == field


def test_every_pattern_has_the_steps_of_a_bar() -> None:
    for groove in GROOVES:
        for line in (*groove.lines.values(), *groove.extras.values()):
            assert len(line) == STEPS
            assert set(line) <= set("xo?.")
    for line in (*BASS_RHYTHMS, *SUB_RHYTHMS, *CHORD_RHYTHMS, *SYLLABLE_RHYTHMS):
        assert len(line) == STEPS
        assert set(line) <= set("x.")

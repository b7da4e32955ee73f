"""Tempo maps, the compositions that have one, and the truth of both."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.generation.annotation import annotate, chord_label, key_label
from mismo_grpc.generation.composer import Brief, compose
from mismo_grpc.generation.score import KICK, Note, Part
from mismo_grpc.generation.synthetic import render, render_part
from mismo_grpc.generation.tempo import TempoMap, mean_tempo
from mismo_grpc.generation.theory import CHORD_TYPES, SCALES, Key, parse_chord

RATE = 22050


@pytest.mark.parametrize("tempo", [60.0, 97.3, 133.7, 190.0])
@pytest.mark.parametrize("rate", [22050, 44100])
def test_a_constant_tempo_places_beats_by_the_arithmetic_of_earlier_renderings(
    tempo: float, rate: int
) -> None:
    same = TempoMap(tempo), TempoMap(tempo, tempo, 64.0)
    to_frames = 60 / tempo * rate
    for beat in np.random.default_rng(3).uniform(0, 400, 200).tolist():
        for tempo_map in same:
            assert tempo_map.frames(beat, rate) == beat * to_frames
            assert tempo_map.frames_between(7.0, beat, rate) == beat * to_frames
            assert tempo_map.seconds(beat) == beat * 60 / tempo


def test_a_ramp_that_does_not_change_gives_the_same_bytes_as_no_ramp() -> None:
    steady, ramp = (compose(Brief(3, tempo=100.0, tempo_end=end), 2) for end in (None, 100.0))
    stems, again = (render(song, sample_rate=RATE, seed=1) for song in (steady, ramp))
    assert all(stems[name].tobytes() == again[name].tobytes() for name in stems)


@pytest.mark.parametrize(("start", "end"), [(90.0, 150.0), (160.0, 70.0), (120.0, 120.001)])
def test_the_times_of_a_ramp_are_the_integral_of_its_beat_lengths(start: float, end: float) -> None:
    ramp = TempoMap(start, end, 100.0)
    fine = np.linspace(0, 100, 100_001)
    middles = (fine[1:] + fine[:-1]) / 2
    summed = np.cumsum(np.diff(fine) * 60 / (start + (end - start) * middles / 100))
    for beat in (1, 25, 50, 100):
        assert ramp.seconds(beat) == pytest.approx(summed[beat * 1000 - 1], rel=1e-8)
    assert ramp.seconds(100) == pytest.approx(100 * 60 / mean_tempo(start, end), rel=1e-9)
    # After the ramp its last tempo goes on.
    assert ramp.seconds_between(100, 8) == pytest.approx(8 * 60 / end)


@pytest.mark.parametrize(("start", "end"), [(0.0, None), (120.0, 0.0), (float("nan"), None)])
def test_a_tempo_that_is_none_is_refused(start: float, end: float | None) -> None:
    with pytest.raises(ValueError, match="above 0"):
        TempoMap(start, end)


def test_a_song_with_a_ramp_is_as_long_as_asked_and_its_annotation_is_too() -> None:
    song = compose(Brief(40, tempo=90.0, tempo_end=140.0), 5)
    truth = annotate(song)
    assert 40 <= song.seconds < 40 + 4 * 60 / 90
    assert truth.sections[-1].end == truth.chords[-1].end == song.seconds
    lengths = np.diff([*truth.beats, song.seconds])
    np.testing.assert_allclose(60 / lengths, truth.tempi, rtol=0.01)
    assert truth.tempi[0] == 90.0
    assert np.all(np.diff(lengths) < 0)
    assert truth.tempo == pytest.approx(115.0, abs=1)


def test_the_notes_of_a_ramp_sound_at_the_annotated_beats() -> None:
    song = compose(Brief(12, tempo=80.0, tempo_end=160.0), 5)
    # Four of the beats, so that none sounds into the next.
    places = [0, 7, 14, 21]
    clicks = Part("drums", "drum kit", 0, tuple(Note(float(beat), 0.2, KICK, 100) for beat in places))
    frames = round(song.seconds * RATE)
    level = np.abs(render_part(clicks, song.tempo_map, frames, RATE, 1)).max(axis=1)
    for beat in places:
        begin = round(annotate(song).beats[beat] * RATE)
        onset = begin + int(np.argmax(level[begin : begin + RATE] > 0.02))
        assert onset - begin < 0.01 * RATE
        assert level[max(0, begin - RATE // 20) : begin].max(initial=0.0) < 0.02


@pytest.mark.parametrize("beats_per_bar", [3, 4])
def test_the_metre_that_is_asked_for(beats_per_bar: int) -> None:
    truth = annotate(compose(Brief(20, beats_per_bar=beats_per_bar), 1))
    assert truth.beats_per_bar == beats_per_bar
    assert truth.downbeats == truth.beats[::beats_per_bar]


@pytest.mark.parametrize(
    ("brief", "field"),
    [(Brief(9, tempo_end=1000.0), "tempo_end"), (Brief(9, beats_per_bar=5), "beats_per_bar")],
)
def test_what_no_song_can_have_is_refused_by_name(brief: Brief, field: str) -> None:
    with pytest.raises(InvalidFieldError) as refused:
        compose(brief, 1)
    assert refused.value.field == field


def test_chords_and_sections_cover_the_song_and_neighbours_differ() -> None:
    song = compose(Brief(60), 3)
    truth = annotate(song)
    for spans in (truth.chords, truth.sections):
        assert spans[0].start == 0.0
        assert all(a.end == b.start and a.label != b.label for a, b in pairwise(spans))
        assert spans[-1].end == pytest.approx(song.seconds)


@pytest.mark.parametrize(
    ("symbol", "label"),
    [
        ("Am7", "A:min7"),
        ("C/E", "C:maj"),
        ("F#9", "F#:7"),
        ("Bdim", "B:dim"),
        ("G7", "G:7"),
        ("Dsus4", "D:sus4"),
    ],
)
def test_chords_have_labels_in_hartes_syntax(symbol: str, label: str) -> None:
    assert chord_label(parse_chord(symbol)) == label


def test_every_chord_that_can_be_asked_for_has_a_label() -> None:
    assert all(chord_label(parse_chord(f"C{kind}")).startswith("C:") for kind in CHORD_TYPES)


def test_every_mode_is_compared_as_major_or_minor_by_its_third() -> None:
    labels = {mode: key_label(Key(3, mode)) for mode in SCALES}
    assert labels == {
        "major": "Eb major",
        "mixolydian": "Eb major",
        "minor": "Eb minor",
        "dorian": "Eb minor",
    }

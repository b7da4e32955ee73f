from __future__ import annotations

import numpy as np
import pytest

from mismo_grpc.generation.options import TARGET_STEMS, GenerationOptions
from mismo_grpc.generation.score import Note, Part
from mismo_grpc.generation.songs.sounds import sounds_of
from mismo_grpc.generation.songs.stem_stream import CEILING, LINEAR, WINDOW, StemStream, soft_bound
from mismo_grpc.generation.songs.writing import write_parts, write_song
from mismo_grpc.generation.synthetic import VOICES, draw_room, placed_notes
from mismo_grpc.generation.tempo import TempoMap

RATE = 44100
TEMPO = TempoMap(90.0)
PROGRAMS = {"drum kit": 0, "lead": 73, "guitar": 25, "distorted guitar": 30}


def stem_of(parts: tuple[Part, ...], frames: int, window: int) -> np.ndarray:
    room = draw_room(RATE, np.random.default_rng(3))
    stream = StemStream(parts, TEMPO, frames, RATE, [5 + i for i in range(len(parts))], room, window=window)
    return np.concatenate(list(stream.windows()), axis=1)


def line(voice: str) -> Part:
    """Notes that overlap each other, and cross the edges of every window."""
    pitches = (36, 38, 42, 46) if voice == "drum kit" else (48, 52, 55, 60)
    notes = tuple(Note(k * 0.6, 1.7, pitches[k % 4], 60 + 7 * (k % 8)) for k in range(24))
    stem = "drums" if voice == "drum kit" else "other"
    return Part(stem, voice, PROGRAMS.get(voice, 33), notes, 0.0, 0.2)


@pytest.mark.parametrize("voice", VOICES)
def test_windows_give_what_the_whole_gives(voice: str) -> None:
    frames = 9 * RATE
    whole = stem_of((line(voice),), frames, 1 << 19)
    assert whole.shape == (2, frames)
    for window in (WINDOW, 20_000):
        cut = stem_of((line(voice),), frames, window)
        # Transforms of another length round differently, by about -120 dB of the peak.
        np.testing.assert_allclose(cut, whole, atol=3e-6)


@pytest.mark.parametrize("voice", VOICES)
def test_a_sound_that_is_asked_for_in_pieces_has_the_same_bytes(voice: str) -> None:
    part = line(voice)
    notes = placed_notes(part.notes, TEMPO, 9 * RATE, RATE)
    sounds, again = (sounds_of(part, TEMPO, notes, RATE, 5) for _ in range(2))
    for place in reversed(sounds.placed):
        length = place.end - place.begin
        whole = sounds.sound(place, 0, length)
        middle = length // 3
        pieces = [again.sound(place, 0, middle), again.sound(place, middle, length)]
        assert whole.shape == (sounds.channels, length)
        np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)


@pytest.mark.parametrize("stem", TARGET_STEMS)
def test_the_stems_of_a_song_have_no_seams(stem: str) -> None:
    song = write_song(GenerationOptions((stem,), target_bpm=90.0, seconds=8.0, random_seed=3))
    parts = write_parts(song, stem)
    whole, cut = (stem_of(parts, 8 * RATE, window) for window in (1 << 19, WINDOW))
    np.testing.assert_allclose(cut, whole, atol=3e-6)


def test_a_part_without_notes_is_silence() -> None:
    assert not stem_of((Part("other", "pad", 89, ()),), RATE, WINDOW).any()


def test_a_drum_that_another_silences_ends_there() -> None:
    notes = (Note(0.0, 0.1, 46, 100), Note(0.25, 0.1, 42, 100))
    part = Part("drums", "drum kit", 0, notes)
    placed = placed_notes(notes, TEMPO, RATE, RATE)
    sounds = sounds_of(part, TEMPO, placed, RATE, 1)
    assert sounds.placed[0].end == placed[1].begin
    opened = sounds.sound(sounds.placed[0], 0, placed[1].begin)
    assert np.abs(opened[:, -1]).max() == 0.0
    assert np.abs(opened[:, -2000:-1000]).max() > 0.01


def test_loud_samples_are_bent_below_the_ceiling_and_others_are_kept() -> None:
    samples = np.linspace(-8, 8, 4001, dtype=np.float32)[None]
    bent = soft_bound(samples)
    assert np.abs(bent).max() <= CEILING + 1e-6
    assert (np.diff(bent[0]) >= 0).all()
    kept = np.abs(samples) <= LINEAR
    np.testing.assert_array_equal(bent[kept], samples[kept])
    np.testing.assert_array_equal(soft_bound(samples[:, 1000:1500]), bent[:, 1000:1500])

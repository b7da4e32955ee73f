"""What is true of every voice that plays a note."""

from __future__ import annotations

import numpy as np
import pytest

from mismo_grpc.generation.composer import ACCOMPANISTS, BASSES
from mismo_grpc.generation.score import Note, Part
from mismo_grpc.generation.synthetic import INSTRUMENTS, VOICES, Audio, render_part
from mismo_grpc.generation.tempo import TempoMap
from mismo_grpc.generation.waves import hertz
from tests.unit.generation.listening import RATE, cents, share, strongest_line

PLAYED = [
    *((i.voice, program) for i in (*BASSES, *ACCOMPANISTS) for program in i.programs),
    ("lead singer", 53),
    ("backing singer", 52),
]
PITCHED = [voice for voice in VOICES if voice != "drum kit"]
TEMPO = 60.0


def stem_of(voice: str) -> str:
    return "bass" if "bass" in voice else "vocals" if "singer" in voice else "other"


def part_of(
    voice: str, *notes: Note, program: int | None = None, level: float = 0.0, pan: float = 0.0
) -> Part:
    program = next((p for v, p in PLAYED if v == voice), 0) if program is None else program
    return Part(stem_of(voice), voice, program, notes, level, pan)


def play(part: Part, seconds: float, seed: int = 1) -> Audio:
    return render_part(part, TempoMap(TEMPO), int(seconds * RATE), RATE, seed)


@pytest.mark.parametrize(("voice", "program"), PLAYED)
def test_a_note_sounds_at_its_pitch(voice: str, program: int) -> None:
    pitch = {"bass": 35, "vocals": 57, "other": 62}[stem_of(voice)]
    part = part_of(voice, Note(0.0, 1.4, pitch, 95), program=program)
    for seed in (1, 2):
        sound = play(part, 1.5, seed).mean(axis=1)[int(0.25 * RATE) :]
        found, level = strongest_line(sound, hertz(pitch) / 1.2, hertz(pitch) * 1.2)
        assert abs(cents(found, hertz(pitch))) < 30
        assert level > -30


@pytest.mark.parametrize("voice", PITCHED)
def test_an_octave_up_is_an_octave_up_wherever_it_is_played(voice: str) -> None:
    low = 33 if "bass" in voice else 52
    for pitch in (low, low + 12, low + 24):
        sound = play(part_of(voice, Note(0.0, 0.9, pitch, 95)), 1.0).mean(axis=1)[int(0.2 * RATE) :]
        found, _ = strongest_line(sound, hertz(pitch) / 1.2, hertz(pitch) * 1.2)
        assert abs(cents(found, hertz(pitch))) < 40
        # What folds back at the top of the spectrum would lie there.
        assert share(sound, 15500, RATE / 2) < 1e-3


@pytest.mark.parametrize("voice", VOICES)
def test_there_is_silence_before_the_first_note_and_sound_after_it(voice: str) -> None:
    pitch = 38 if voice == "drum kit" else 50
    part = Part("drums", voice, 0, (Note(0.5, 0.5, pitch, 100),))
    sound = play(part, 1.2)
    begin = RATE // 2
    assert np.abs(sound[: begin - 1]).max() < 1e-5
    assert np.abs(sound[begin : begin + RATE // 5]).max() > 0.02


@pytest.mark.parametrize("voice", VOICES)
def test_the_same_seed_gives_the_same_bytes_and_another_another_instrument(voice: str) -> None:
    pitches = (36, 38, 42) if voice == "drum kit" else (48, 55, 60)
    notes = tuple(Note(0.25 * i, 0.2, pitch, 90) for i, pitch in enumerate(pitches))
    part = Part("drums", voice, 33, notes)
    first = play(part, 1.0)
    assert play(part, 1.0).tobytes() == first.tobytes()
    assert np.abs(play(part, 1.0, seed=2) - first).max() > 0.02


@pytest.mark.parametrize("voice", VOICES)
def test_nothing_clicks_when_notes_are_let_go_or_cut_by_the_end(voice: str) -> None:
    pitches = (45, 46, 49) if voice == "drum kit" else (48, 52, 55)
    notes = tuple(
        Note(0.1, length, pitch, 100) for pitch, length in zip(pitches, (0.5, 0.5, 5.0), strict=True)
    )
    sound = play(Part("other", voice, 19, notes), 1.0)
    assert sound.shape == (RATE, 2)
    assert not sound[-1].any()
    # A step has energy at all frequencies; here there is little at the top that was not there before.
    steps = np.abs(np.diff(sound, n=3, axis=0)).max(axis=1)
    around = steps[int(0.35 * RATE) : int(0.55 * RATE)].max()
    assert steps[int(0.595 * RATE) :].max() < 2 * around + 1e-3


@pytest.mark.parametrize("voice", VOICES)
def test_no_voice_has_a_constant_offset(voice: str) -> None:
    pitch = 36 if voice == "drum kit" else 45
    sound = play(Part("other", voice, 30, tuple(Note(i * 0.5, 0.5, pitch, 100) for i in range(4))), 2.0)
    assert np.isfinite(sound).all()
    assert np.abs(sound.mean(axis=0)).max() < 0.01 * np.abs(sound).max()


@pytest.mark.parametrize("voice", PITCHED)
def test_a_harder_stroke_is_louder(voice: str) -> None:
    sound = play(part_of(voice, Note(0.0, 0.5, 50, 40), Note(1.5, 0.5, 50, 110)), 3.0)
    soft, hard = (np.sqrt(np.mean(half**2)) for half in np.split(sound, 2))
    assert hard > 1.5 * soft


@pytest.mark.parametrize("voice", sorted(INSTRUMENTS))
def test_a_chord_has_all_its_notes(voice: str) -> None:
    pitches = (48, 53, 57)
    sound = play(part_of(voice, *(Note(0.0, 1.4, pitch, 90) for pitch in pitches)), 1.5).mean(axis=1)
    for pitch in pitches:
        found, level = strongest_line(sound[RATE // 4 :], hertz(pitch) * 0.96, hertz(pitch) * 1.04)
        assert abs(cents(found, hertz(pitch))) < 30
        assert level > -35

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mismo_grpc.generation.composer import Brief, compose
from mismo_grpc.generation.score import STEMS, Composition, Note, Part
from mismo_grpc.generation.synthetic import LONGEST_NOTE, PEAK, Audio, render, render_part
from mismo_grpc.generation.tempo import TempoMap
from tests.unit.generation.listening import rms, share

RATE = 22050
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def songs() -> list[tuple[Composition, dict[str, Audio]]]:
    written = [compose(Brief(seconds=8), seed) for seed in SEEDS]
    return [
        (song, render(song, sample_rate=RATE, seed=seed)) for seed, song in zip(SEEDS, written, strict=True)
    ]


Songs = list[tuple[Composition, dict[str, Audio]]]


def test_a_song_has_four_stems_of_its_length(songs: Songs) -> None:
    for song, stems in songs:
        assert tuple(stems) == STEMS
        for audio in stems.values():
            assert audio.shape == (round(song.seconds * RATE), 2)
            assert audio.dtype == np.float32
            assert audio.flags.c_contiguous
            assert np.isfinite(audio).all()


def test_the_mix_peaks_at_nine_tenths_and_no_stem_goes_beyond(songs: Songs) -> None:
    for _, stems in songs:
        peaks = [
            float(np.abs(audio).max()) for audio in (*stems.values(), np.sum(list(stems.values()), axis=0))
        ]
        assert max(peaks) == pytest.approx(PEAK, abs=1e-4)


def test_stems_are_as_loud_as_in_a_mix_and_have_no_offset(songs: Songs) -> None:
    for song, stems in songs:
        for name, audio in stems.items():
            if not any(part.stem == name and part.notes for part in song.parts):
                continue
            assert 0.005 < rms(audio) < 0.3
            assert np.abs(audio.mean(axis=0)).max() < 0.02 * rms(audio)


def test_bass_is_low_and_what_is_sung_is_not(songs: Songs) -> None:
    for _, stems in songs:
        bass, vocals = stems["bass"].mean(axis=1), stems["vocals"].mean(axis=1)
        assert share(bass[: 4 * RATE], 20, 500, RATE) > 0.7
        assert share(vocals[: 4 * RATE], 20, 90, RATE) < 0.05


def test_the_same_seed_gives_the_same_bytes_and_another_another_band() -> None:
    song = compose(Brief(seconds=3), 4)
    first, again, other = (render(song, sample_rate=RATE, seed=seed) for seed in (5, 5, 6))
    for stem in STEMS:
        assert first[stem].tobytes() == again[stem].tobytes()
        assert first[stem].tobytes() != other[stem].tobytes()


def test_a_stem_without_parts_is_silence() -> None:
    song = compose(Brief(seconds=3), 4)
    stems = render(replace(song, parts=song.parts[:1]), sample_rate=RATE, seed=1)
    assert stems["drums"].any()
    assert not any(stems[stem].any() for stem in ("bass", "other", "vocals"))


def test_a_song_without_a_note_is_silence_and_no_error() -> None:
    silent = replace(compose(Brief(seconds=2), 1), parts=())
    assert not any(audio.any() for audio in render(silent, seed=1).values())


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_any_sample_rate_gives_the_same_song(rate: int) -> None:
    song = compose(Brief(seconds=2), 3)
    stems = render(song, sample_rate=rate, seed=1)
    for audio in stems.values():
        assert audio.shape == (round(song.seconds * rate), 2)
    assert share(stems["bass"].mean(axis=1), 20, 500, rate) > 0.7


def one_note(*notes: Note, level: float = 0.0, pan: float = 0.0, voice: str = "organ") -> Part:
    return Part("other", voice, 16, notes or (Note(0.0, 1.0, 60, 90),), level, pan)


def test_a_part_is_as_loud_as_its_level_says() -> None:
    soft, loud = (
        render_part(one_note(level=level), TempoMap(60.0), RATE, RATE, 1) for level in (0.0, 6.0206)
    )
    np.testing.assert_allclose(loud, 2 * soft, rtol=1e-3, atol=1e-5)


def test_a_part_stands_where_its_pan_says_at_the_same_power() -> None:
    powers: list[float] = []
    for pan, loud, soft in ((-1.0, 0, 1), (1.0, 1, 0)):
        audio = render_part(one_note(pan=pan, voice="distorted guitar"), TempoMap(60.0), RATE, RATE, 1)
        assert rms(audio[:, soft]) < 1e-6 < rms(audio[:, loud])
        powers.append(rms(audio))
    middle = render_part(one_note(voice="distorted guitar"), TempoMap(60.0), RATE, RATE, 1)
    assert powers == pytest.approx([rms(middle)] * 2, rel=0.01)


def test_a_note_that_is_held_for_ever_is_let_go() -> None:
    rate = 8000
    frames = int((LONGEST_NOTE + 5) * rate)
    audio = render_part(one_note(Note(0.0, 1e6, 60, 90)), TempoMap(60.0), frames, rate, 1)
    assert rms(audio[int((LONGEST_NOTE - 1) * rate) : int(LONGEST_NOTE * rate)]) > 0.01
    assert not audio[int((LONGEST_NOTE + 2) * rate) :].any()


def test_notes_past_the_end_are_not_played() -> None:
    inside, past = Note(0.0, 0.5, 60, 90), Note(3.0, 1.0, 60, 90)
    np.testing.assert_array_equal(
        render_part(one_note(inside, past), TempoMap(60.0), RATE, RATE, 1),
        render_part(one_note(inside), TempoMap(60.0), RATE, RATE, 1),
    )


def test_the_tempo_places_the_notes() -> None:
    for tempo, begin in ((60.0, 1.0), (120.0, 0.5)):
        audio = render_part(one_note(Note(1.0, 0.2, 60, 90)), TempoMap(tempo), 2 * RATE, RATE, 1)
        onset = int(np.argmax(np.abs(audio).max(axis=1) > 0.01)) / RATE
        assert begin <= onset < begin + 0.01


def test_what_nobody_can_play_is_refused() -> None:
    with pytest.raises(ValueError, match="no such voice: 'kazoo'"):
        render_part(one_note(voice="kazoo"), TempoMap(60.0), RATE, RATE, 1)
    song = compose(Brief(seconds=2), 1)
    with pytest.raises(ValueError, match="no such stem: strings"):
        render(replace(song, parts=(replace(song.parts[0], stem="strings"),)), seed=1)

"""Chords of generated progressions and songs, with and without stems."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mismo_grpc.analysis.chords import analyse_chords, estimate_chords, span_edges
from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.mix import MixFile
from mismo_grpc.analysis.results import BasicFeaturesResult, Chord, ChordsResult
from mismo_grpc.generation.annotation import Annotation
from tests.support.songs import song
from tests.unit.analysis.tonal.tones import RATE, Samples, clicks, noise, progression

TRIADS = {"7": "maj", "maj7": "maj", "min7": "min", "hdim7": "dim", "dim7": "dim"}


def labels(result: ChordsResult) -> list[str]:
    return [chord.label for chord in result.chords]


def check(chords: tuple[Chord, ...], duration: float) -> None:
    """Fails unless the chords cover the track without gaps and neighbours differ."""
    assert chords[0].start == 0.0
    assert chords[-1].end == pytest.approx(duration, abs=1e-4)
    for chord, following in pairwise(chords):
        assert chord.end == following.start
        assert chord.label != following.label
    for chord in chords:
        assert chord.start < chord.end
        assert 0.0 <= chord.confidence <= 1.0


def overlap(truth: Annotation, result: ChordsResult) -> float:
    """The part of the time of major and minor chords for which root and third are right."""
    right = total = 0.0
    for span in truth.chords:
        root, quality = span.label.split(":")
        triad = TRIADS.get(quality, quality)
        if triad not in ("maj", "min"):
            continue
        total += span.end - span.start
        for chord in result.chords:
            name, _, kind = chord.label.partition(":")
            if (name, TRIADS.get(kind, kind)) == (root, triad):
                right += max(0.0, min(span.end, chord.end) - max(span.start, chord.start))
    return right / total


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [
        (["C", "Am", "F", "G"], ["C:maj", "A:min", "F:maj", "G:maj"]),
        (["F#m", "B", "C#m", "Ab"], ["F#:min", "B:maj", "C#:min", "Ab:maj"]),
        (["Dm7", "G7", "Cmaj7"], ["D:min7", "G:7", "C:maj7"]),
        (["Ebmaj7", "Bb7", "Fm7", "Eb"], ["Eb:maj7", "Bb:7", "F:min7", "Eb:maj"]),
        (["N", "E", "N", "Em"], ["N", "E:maj", "N", "E:min"]),
        (["A", "A", "D", "D"], ["A:maj", "D:maj"]),
    ],
    ids=["triads", "black keys", "cadence with sevenths", "sevenths", "silence", "merged"],
)
def test_progressions(symbols: list[str], expected: list[str]) -> None:
    result = estimate_chords(progression(symbols, 2.0), RATE, [0.5 * n for n in range(2 * 2 * len(symbols))])
    assert labels(result) == expected
    check(result.chords, 2.0 * len(symbols))
    assert result.source == "mix"
    changes = [chord.start for chord in result.chords[1:]]
    assert all(time % 2.0 == pytest.approx(0.0, abs=1e-4) for time in changes)


def test_chords_change_on_beats() -> None:
    beats = [0.3 + 0.7 * n for n in range(20)]
    audio = progression(["N", "C", "F", "C", "G"], 1.4)[round(1.1 * RATE) :]
    result = estimate_chords(audio, RATE, beats)
    assert labels(result) == ["N", "C:maj", "F:maj", "C:maj", "G:maj"]
    assert [chord.start for chord in result.chords] == pytest.approx([0.0, 0.3, 1.7, 3.1, 4.5])


def test_chords_without_beats_are_on_a_grid() -> None:
    result = estimate_chords(progression(["Bb", "Gm", "F"], 2.0), RATE)
    assert labels(result) == ["Bb:maj", "G:min", "F:maj"]
    check(result.chords, 6.0)


@pytest.mark.parametrize("rate", [8000, 48000])
def test_other_sample_rates(rate: int) -> None:
    assert labels(estimate_chords(progression(["C", "Am", "F"], 2.0, rate), rate)) == [
        "C:maj",
        "A:min",
        "F:maj",
    ]


def test_a_clear_chord_is_more_certain_than_one_in_noise() -> None:
    audio = progression(["C", "Am", "F", "G"], 2.0)
    clear = estimate_chords(audio, RATE).chords
    hidden = estimate_chords(audio + 0.5 * noise(8.0), RATE).chords
    assert np.mean([chord.confidence for chord in clear]) > 0.7
    assert np.mean([c.confidence for c in hidden]) < np.mean([c.confidence for c in clear])


@pytest.mark.parametrize("seed", [2, 6, 11])
def test_songs_with_drums_and_voices(seed: int) -> None:
    mix, rate, truth, _ = song(20.0, seed=seed)
    result = estimate_chords(mix, rate, truth.beats)
    check(result.chords, len(mix) / rate)
    assert overlap(truth, result) > 0.7


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(RATE * 3, np.float32),
        np.full(RATE * 3, np.nan, np.float32),
        clicks(5.0, 10.0),
        clicks(5.0, 0.5),
    ],
    ids=["silence", "NaN", "one click", "clicks"],
)
def test_sounds_without_partials_have_no_chords(audio: Samples) -> None:
    result = estimate_chords(audio, RATE, [0.5, 1.0, 1.5])
    assert labels(result) == ["N"]
    check(result.chords, len(audio) / RATE)


@pytest.mark.parametrize("colour", [0.0, 1.0, 2.0])
def test_noise_has_no_confident_chords(colour: float) -> None:
    result = estimate_chords(noise(10.0, colour=colour), RATE)
    check(result.chords, 10.0)
    assert labels(result) == ["N"]


@pytest.mark.parametrize("seconds", [0.01, 0.15, 0.5])
def test_short_audio_is_one_chord(seconds: float) -> None:
    result = estimate_chords(progression(["C"], 0.5)[: round(seconds * RATE)], RATE, [0.0, 0.1, 0.2])
    check(result.chords, round(seconds * RATE) / RATE)


def test_no_audio_has_no_chords() -> None:
    assert estimate_chords(np.zeros((0, 2), np.float32), RATE, [1.0]) == ChordsResult((), "mix")


def test_what_is_no_audio_is_refused() -> None:
    with pytest.raises(ValueError, match="audio"):
        estimate_chords(np.zeros((5, 5, 5), np.float32), RATE)


def test_edges_leave_out_bad_beats_and_divide_gaps() -> None:
    beats = [-1.0, 0.0, 0.1, 4.0, 4.5, 4.6, 5.0, float("nan"), 5.95, 7.0, float("inf")]
    assert span_edges(beats, 6.0).tolist() == pytest.approx(
        [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0]
    )
    assert span_edges([], 0.00001).tolist() == []


@dataclass(frozen=True)
class Track:
    """A song of a C major chord, with drums that play a loud F# minor chord."""

    folder: Path
    mix: Samples
    drums: Samples
    rest: Samples

    def inputs(self, beats: tuple[float, ...] = (), **stems: Samples | bytes) -> AnalysisInputs:
        """The inputs of a job; stems that are samples are written as WAV files."""
        path = self.folder / "mix.f32"
        self.mix.astype("<f4").tofile(path)
        files: dict[str, Path] = {}
        for name, content in stems.items():
            files[name] = self.folder / f"{name}.wav"
            if isinstance(content, bytes):
                files[name].write_bytes(content)
            else:
                soundfile.write(files[name], content, RATE, subtype="PCM_16")
        features = BasicFeaturesResult(
            1.0, 120.0, 1.0, 1.0, (), beats, (), 4, 1.0, None, None, None, None, None, None, "pulse"
        )
        return AnalysisInputs(MixFile(path, len(self.mix), 2, RATE), files, features if beats else None)


@pytest.fixture
def track(tmp_path: Path) -> Track:
    drums, rest = (np.repeat(progression([name], 4.0)[:, np.newaxis], 2, axis=1) for name in ("F#m", "C"))
    return Track(tmp_path, 3 * drums + rest, 3 * drums, rest)


def test_without_stems_the_mix_is_analysed(track: Track) -> None:
    result = analyse_chords(track.inputs())
    assert (labels(result), result.source) == (["F#:min"], "mix")


def test_the_beats_of_the_job_are_used(track: Track) -> None:
    spread = progression(["C", "F"], 2.1)[: len(track.mix)]
    bare = Track(track.folder, np.stack([spread, spread], axis=1), track.drums, track.rest)
    result = analyse_chords(bare.inputs(tuple(0.7 * n for n in range(1, 6))))
    assert result.chords[1].start == pytest.approx(2.1)


def test_drums_are_subtracted_from_the_mix(track: Track) -> None:
    result = analyse_chords(track.inputs(drums=track.drums, vocals=0 * track.rest))
    assert (labels(result), result.source) == (["C:maj"], "stems")
    check(result.chords, 4.0)


def test_the_complement_of_the_drums_is_used(track: Track) -> None:
    result = analyse_chords(track.inputs(no_drums=track.rest))
    assert (labels(result), result.source) == (["C:maj"], "stems")


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_stems_at_another_rate_are_summed(track: Track, subtype: str) -> None:
    inputs = track.inputs(drums=b"", bass=b"", other=b"", vocals=b"")
    for name, symbol, gain in (
        ("drums", "F#m", 3.0),
        ("bass", "C", 0.3),
        ("other", "C", 0.7),
        ("vocals", "C", 0),
    ):
        audio = np.repeat(gain * progression([symbol], 4.0, 32000)[:, np.newaxis], 2, axis=1)
        soundfile.write(inputs.stems[name], audio, 32000, subtype=subtype)
    result = analyse_chords(inputs)
    assert (labels(result), result.source) == (["C:maj"], "stems")
    check(result.chords, 4.0)


def test_stems_at_another_rate_that_are_not_all_are_not_used(track: Track) -> None:
    inputs = track.inputs(drums=b"", bass=b"")
    for name, symbol, gain in (("drums", "F#m", 3.0), ("bass", "C", 0.3)):
        soundfile.write(inputs.stems[name], gain * progression([symbol], 4.0, 32000), 32000)
    assert analyse_chords(inputs).source == "mix"


@pytest.mark.parametrize("names", [("vocals", "no_vocals"), ("bass", "other"), ("bass", "other", "vocals")])
def test_stems_that_may_not_be_complete_are_not_used(track: Track, names: tuple[str, ...]) -> None:
    inputs = track.inputs()
    for name in names:
        soundfile.write(track.folder / f"{name}.wav", track.rest, RATE)
    stems = {name: track.folder / f"{name}.wav" for name in names}
    assert analyse_chords(replace(inputs, stems=stems)).source == "mix"


@pytest.mark.parametrize("content", [b"", b"RIFF....WAVE", b"no audio" * 1000])
def test_stems_that_cannot_be_read_are_not_used(track: Track, content: bytes) -> None:
    assert analyse_chords(track.inputs(drums=content, bass=track.rest)).source == "mix"


def test_a_stem_that_is_cut_off_is_not_used(track: Track) -> None:
    inputs = track.inputs(drums=track.drums)
    path = inputs.stems["drums"]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert analyse_chords(inputs) == analyse_chords(track.inputs())


def test_a_stem_of_another_length_is_not_used(track: Track) -> None:
    assert analyse_chords(track.inputs(drums=track.drums[: 3 * RATE])).source == "mix"


def test_missing_stems_are_not_used(track: Track) -> None:
    inputs = track.inputs(drums=track.drums)
    inputs.stems["drums"].unlink()
    assert analyse_chords(inputs).source == "mix"


def test_a_mix_that_is_gone_is_an_error(track: Track) -> None:
    inputs = track.inputs()
    inputs.mix.path.unlink()
    with pytest.raises(OSError, match=r"mix\.f32"):
        analyse_chords(inputs)

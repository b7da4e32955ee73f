"""The songs and the scores of the benchmark of analyses; the analyses themselves are measured by `make bench`."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.cases.analysis import MEASURES
from benchmarks.music.estimate import Estimate
from benchmarks.music.peer import key_of
from benchmarks.music.scores import composed_scores, key_score, within
from benchmarks.music.songs import (
    FASTEST,
    FIRST_SEED,
    SAMPLE_RATE,
    SLOWEST,
    STEMS,
    ComposedSong,
    plans,
    published,
    real_songs,
    render_song,
)
from benchmarks.process_memory import peak_rss
from mismo_grpc.analysis.tonal.profiles import KRUMHANSL_KESSLER

README = """
| song | source path | BPM | key |
|---|---|---|---|
| Lithium | `src/2.Lithium/` | 124 | G minor |
| Francium | `src/7.Francium/` | 128 | B♭ major |

| song | stem | level |
|---|---|---|
| lithium | vocals | -30.6 |
"""


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> ComposedSong:
    return render_song(plans(5, 25.0, FIRST_SEED)[4], tmp_path_factory.mktemp("songs"))


def perfect(song: ComposedSong) -> Estimate:
    truth = song.truth
    return Estimate(
        tempo=truth.tempo,
        beats=truth.beats,
        downbeats=truth.downbeats,
        beats_per_bar=truth.beats_per_bar,
        key=song.key,
        chords=tuple((s.start, s.end, s.label) for s in truth.chords),
        sections=tuple((s.start, s.end, s.label) for s in truth.sections),
    )


def test_the_songs_have_all_keys_both_metres_ramps_and_a_wide_range_of_tempi() -> None:
    made = plans(24, 90.0, FIRST_SEED)
    assert len({plan.key for plan in made}) == 24
    assert {plan.beats_per_bar for plan in made} == {3, 4}
    assert sum(plan.tempo_end is not None for plan in made) == 3
    tempi = [tempo for plan in made for tempo in (plan.tempo, plan.tempo_end) if tempo is not None]
    assert SLOWEST <= min(tempi) < 70
    assert 180 < max(tempi) <= FASTEST
    # A few of them have the same variety.
    assert {plan.key.split()[1] for plan in made[:4]} == {"major", "minor"}


def test_a_rendered_song_is_as_long_as_its_truth_and_has_its_ramp(song: ComposedSong) -> None:
    assert song.mix.samples().shape == (round(song.truth.sections[-1].end * SAMPLE_RATE), 2)
    assert np.abs(song.mix.samples()).max() > 0.5
    assert song.plan.tempo_end is not None
    assert song.truth.tempi[0] < song.truth.tempo < song.truth.tempi[-1] <= song.plan.tempo_end


def test_the_truth_scores_1_in_every_measure(song: ComposedSong) -> None:
    scores = composed_scores(song, perfect(song))
    assert set(scores) == {measure.name for measure in MEASURES}
    assert list(scores.values()) == pytest.approx([1.0] * len(scores))


def test_what_no_analysis_looked_for_has_no_score_and_what_it_missed_scores_0(song: ComposedSong) -> None:
    assert composed_scores(song, Estimate()) == {}
    end = song.truth.sections[-1].end
    empty = Estimate(None, (), (), 0, "", ((0.0, end, "N"),), ((0.0, end, "A"),))
    scores = composed_scores(song, empty)
    assert set(scores) == {measure.name for measure in MEASURES}
    # Beginning and end are hits.
    assert 0.0 < scores.pop("boundary_3") < 0.7
    scores.pop("boundary_0.5")
    assert set(scores.values()) == {0.0}


def test_errors_lower_the_score_that_they_belong_to(song: ComposedSong) -> None:
    right, truth = perfect(song), song.truth
    double = replace(right, tempo=truth.tempo * 2)
    assert [composed_scores(song, double)[name] for name in ("tempo_1", "tempo_2")] == [0.0, 1.0]
    off = replace(right, beats=tuple(beat + 0.1 for beat in truth.beats))
    assert composed_scores(song, off)["beat_f"] < 0.1
    half = composed_scores(song, replace(right, beats=truth.beats[::2]))
    assert half["cmlt"] < 0.1 < 0.9 < half["amlt"]
    second = replace(right, downbeats=truth.beats[1 :: truth.beats_per_bar])
    assert composed_scores(song, second)["downbeat_f"] == 0.0
    edges = [0.0, *(s.end + 1 for s in truth.sections[:-1]), truth.sections[-1].end]
    late = tuple((begin, end, "A") for begin, end in pairwise(edges))
    scores = composed_scores(song, replace(right, sections=late))
    assert (scores["inner_3"], scores["inner_0.5"]) == (1.0, 0.0)


def test_a_fifth_below_counts_only_when_either_fifth_does() -> None:
    assert key_score("G minor", "D minor") == 0.5
    assert key_score("G minor", "C minor") == 0.0
    assert key_score("G minor", "C minor", either_fifth=True) == 0.5
    assert key_score("G minor", "Bb major") == pytest.approx(0.3)


def test_octave_errors_are_apart() -> None:
    assert within(124.9, 124.0, 0.01, octaves=False)
    assert not within(62.0, 124.0, 0.01, octaves=False)
    assert within(62.0, 124.0, 0.01, octaves=True)


def test_the_peer_finds_the_key_of_a_profile() -> None:
    assert key_of(np.roll(np.array(KRUMHANSL_KESSLER.major), 3)) == "Eb major"
    assert key_of(np.roll(np.array(KRUMHANSL_KESSLER.minor), 9)) == "A minor"


def test_the_published_table_is_read_and_no_other() -> None:
    assert published(README) == [("Lithium", 124.0, "G minor"), ("Francium", 128.0, "Bb major")]


def test_a_real_song_is_the_sum_of_its_stems(tmp_path: Path) -> None:
    assert real_songs(tmp_path, tmp_path, 6) == []
    (tmp_path / "README.md").write_text(README)
    folder = tmp_path / "train" / "lithium"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    stems = [rng.uniform(-0.2, 0.2, (SAMPLE_RATE, 2)).astype(np.float32) for _ in STEMS]
    for name, stem in zip(STEMS, stems, strict=True):
        # The suffix says Ogg; the decoder looks at the content.
        soundfile.write(folder / f"{name}.ogg", stem, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    (song,) = real_songs(tmp_path, tmp_path, 6, seconds=0.5)
    assert (song.name, song.tempo, song.key) == ("Lithium", 124.0, "G minor")
    np.testing.assert_allclose(song.mix.samples(), np.sum(stems, axis=0)[: SAMPLE_RATE // 2], atol=1e-6)


def test_the_peak_of_memory_does_not_fall() -> None:
    before = peak_rss()
    np.ones(50_000_000 // 8).sum()
    assert peak_rss() >= before > 10e6

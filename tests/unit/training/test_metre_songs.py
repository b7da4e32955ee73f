"""The songs that metre weights are fitted to, and which hypotheses about them are right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mismo_grpc.analysis.rhythm.onsets import Onsets, measure_onsets
from training import metre_songs
from training.metre import FEATURES
from training.metre_songs import Truth, cached_song, click_track, examples, f_measure, render_song
from training.songs import SAMPLE_RATE

SECONDS = 2.0


def accented() -> tuple[Onsets, Truth]:
    """The first click track with accents."""
    tracks = (click_track(seed) for seed in range(100))
    audio, truth = next((audio, truth) for audio, truth in tracks if truth.beats_per_bar)
    return measure_onsets(audio, SAMPLE_RATE), truth


def test_a_song_has_the_beats_of_its_seed() -> None:
    first, truth = render_song(3, SECONDS, [])
    again, same = render_song(3, SECONDS, [])
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(truth.beats, same.beats)
    _, other = render_song(4, SECONDS, [])
    assert truth.beats[1] != other.beats[1]
    assert truth.kind == "own voices"
    assert set(truth.downbeats) <= set(truth.beats)
    assert len(truth.beats) == truth.beats_per_bar * len(truth.downbeats)
    assert len(first) / SAMPLE_RATE > max(SECONDS, truth.beats[-1])


def test_a_cached_song_is_not_rendered_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered, truth = cached_song(tmp_path, 3, SECONDS, [])
    monkeypatch.setattr(metre_songs, "render_song", lambda *_: pytest.fail("rendered"))
    cached, same = cached_song(tmp_path, 3, SECONDS, [])
    np.testing.assert_array_equal(cached.strength, rendered.strength)
    np.testing.assert_array_equal(cached.chroma, rendered.chroma)
    np.testing.assert_array_equal(same.downbeats, truth.downbeats)
    assert (same.kind, same.beats_per_bar) == (truth.kind, truth.beats_per_bar)


def test_hypotheses_on_the_accents_are_right() -> None:
    onsets, truth = accented()
    (example,) = examples("clicks", onsets, truth)
    assert example.features.shape == (len(example.bars), FEATURES)
    assert 0 < example.bars.sum() < example.beats.sum() < len(example.beats)
    assert not (example.bars & ~example.beats).any()
    # With the downbeats a beat later the same beats are right, but other bars.
    (later,) = examples("clicks", onsets, replace(truth, downbeats=truth.beats[1::4]))
    np.testing.assert_array_equal(later.beats, example.beats)
    assert later.bars.any()
    assert not (later.bars & example.bars).any()


def test_any_bars_are_right_where_nothing_marks_them() -> None:
    onsets, truth = accented()
    (example,) = examples("clicks", onsets, replace(truth, beats_per_bar=0))
    assert example.beats.any()
    np.testing.assert_array_equal(example.bars, example.beats)


def test_no_hypothesis_is_right_if_the_truth_is_elsewhere() -> None:
    onsets, truth = accented()
    period = truth.beats[1] - truth.beats[0]
    moved = replace(truth, beats=truth.beats + period / 3, downbeats=truth.downbeats + period / 3)
    (example,) = examples("clicks", onsets, moved)
    assert not example.beats.any()


def test_halves_of_a_long_track_are_examples_with_their_part_of_the_truth() -> None:
    audio, truth = click_track(1)
    period = truth.beats[1] - truth.beats[0]
    bars = 4 * int(len(audio) / SAMPLE_RATE / period / 4)
    loop = audio[: round(bars * period * SAMPLE_RATE)]
    beats = truth.beats[0] + period * np.arange(2 * bars)
    onsets = measure_onsets(np.concatenate([loop, loop]), SAMPLE_RATE)
    made = examples("clicks", onsets, replace(truth, beats=beats, downbeats=beats[::4]))
    assert len(made) == 3
    assert all(example.bars.any() for example in made)


def test_the_f_measure_counts_only_the_stretch_that_was_tracked() -> None:
    beats = np.arange(20.0)
    assert f_measure(beats, beats[5:10]) == 1.0
    assert f_measure(beats, beats[5:10] + 0.05) == 1.0
    assert f_measure(beats, beats[5:10] + 0.1) == 0.0
    assert f_measure(beats, np.arange(5.0, 10.0, 0.5)) == pytest.approx(2 * 5 / 15)
    assert f_measure(beats, beats[:0]) == 0.0
    assert f_measure(beats[:0], beats) == 0.0

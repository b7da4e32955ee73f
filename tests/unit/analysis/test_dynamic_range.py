"""The dynamic range: the distance from the peaks to the loudest fifth."""

from __future__ import annotations

import numpy as np
import pytest

from mismo_grpc.analysis.dynamic_range import measure_dynamic_range

RATE = 8_000


def sine(seconds: float, level: float) -> np.ndarray:
    clock = np.arange(int(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * 250 * clock)).astype(np.float32)


def test_a_steady_sine_has_no_dynamic_range() -> None:
    assert measure_dynamic_range(sine(30.0, 0.5), RATE) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("difference_db", [6.0, 20.0])
def test_short_peaks_over_a_quieter_track_are_its_range(difference_db: float) -> None:
    audio = sine(30.0, 0.5 * 10 ** (-difference_db / 20))
    # One sample in each of two blocks: the highest block peak is ignored.
    audio[[100, 4 * RATE]] = 0.5
    assert measure_dynamic_range(audio, RATE) == pytest.approx(difference_db, abs=0.1)


def test_only_the_loudest_fifth_counts() -> None:
    audio = np.concatenate([sine(24.0, 0.001), sine(6.0, 0.5)])
    assert measure_dynamic_range(audio, RATE) == pytest.approx(0.0, abs=0.05)


def test_channels_are_averaged_and_silent_ones_ignored() -> None:
    loud, quiet = sine(30.0, 0.5), sine(30.0, 0.05)
    quiet[[100, 4 * RATE]] = 0.5
    both = measure_dynamic_range(np.stack([loud, quiet], axis=1), RATE)
    assert both == pytest.approx(10.0, abs=0.1)
    assert measure_dynamic_range(np.stack([quiet, 0 * quiet], axis=1), RATE) == pytest.approx(20.0, abs=0.1)


@pytest.mark.parametrize("frames", [0, 1, RATE, 10 * RATE])
def test_silence_has_none(frames: int) -> None:
    assert measure_dynamic_range(np.zeros((frames, 2), np.float32), RATE) is None


def test_samples_that_are_no_numbers_count_as_silence() -> None:
    audio = sine(30.0, 0.5)
    audio[:100] = np.nan
    audio[100:200] = np.inf
    assert measure_dynamic_range(audio, RATE) == pytest.approx(0.0, abs=0.05)

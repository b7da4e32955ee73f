"""Loudness: the test signals of EBU Tech 3341 and 3342, ffmpeg as the oracle, and what has no loudness."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ebur128 import ebur128
from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.loudness import (
    CHUNK_FRAMES,
    LoudnessMeter,
    LoudnessResult,
    analyse_loudness,
    measure_loudness,
)
from mismo_grpc.analysis.mix import MixFile
from tests.unit.analysis.signals import RATE, Samples, music, sequence, silence, tone

NOTHING = LoudnessResult(None, None, None, None, None, None)
SURROUND_TONE = np.concatenate([tone(dbfs, 20, channels=1) for dbfs in (-28, -28, -24, -30, -30)], axis=1)


@pytest.fixture(scope="module")
def oracle() -> None:
    """The ffmpeg command, without which these tests say nothing."""
    if shutil.which("ffmpeg") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("the ffmpeg command is the oracle of these tests; CI must have it")
        pytest.skip("the ffmpeg command is not installed; it is the oracle here")


# EBU Tech 3341, table 1, cases 1 to 6.
@pytest.mark.parametrize(
    ("signal", "lufs"),
    [
        (sequence((-23, 20)), -23.0),
        (sequence((-33, 20)), -33.0),
        (sequence((-36, 10), (-23, 60), (-36, 10)), -23.0),
        (sequence((-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)), -23.0),
        (sequence((-26, 20), (-20, 20.1), (-26, 20)), -23.0),
        (SURROUND_TONE, -23.0),
    ],
    ids=["1", "2", "3", "4", "5", "6"],
)
def test_integrated_loudness_of_the_ebu_signals(signal: Samples, lufs: float) -> None:
    assert measure_loudness(signal, RATE).integrated_lufs == pytest.approx(lufs, abs=0.1)


# Tech 3341, cases 9 and 12: tones in turn that are always -23 LUFS over the window.
def test_short_term_loudness_of_the_ebu_signal() -> None:
    result = measure_loudness(sequence((-20, 1.34), (-30, 1.66), repeat=5), RATE)
    assert result.max_short_term_lufs == pytest.approx(-23.0, abs=0.1)


def test_momentary_loudness_of_the_ebu_signal() -> None:
    result = measure_loudness(sequence((-20, 0.18), (-30, 0.22), repeat=25), RATE)
    assert result.max_momentary_lufs == pytest.approx(-23.0, abs=0.1)


# Tech 3341, cases 10 and 13: wherever the tone begins, a window is found that it fills.
@pytest.mark.parametrize("step", [0, 1, 7, 13, 19])
def test_the_maxima_find_a_tone_that_begins_anywhere(step: int) -> None:
    for_short_term = np.concatenate([silence(0.15 * step), tone(-23, 3), silence(1)])
    for_momentary = np.concatenate([silence(0.02 * step), tone(-23, 0.4), silence(1)])
    assert measure_loudness(for_short_term, RATE).max_short_term_lufs == pytest.approx(-23, abs=0.1)
    # Windows begin every 100 ms, so a tone of 400 ms may lie half a hop beside the nearest one: at most 0.6 dB.
    found = measure_loudness(for_momentary, RATE).max_momentary_lufs
    assert found == pytest.approx(-23, abs=0.1 if step % 5 == 0 else 0.65)


# EBU Tech 3342, table 1, cases 1 to 4.
@pytest.mark.parametrize(
    ("levels", "loudness_range_lu"),
    [((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20), ((-50, -35, -20, -35, -50), 15)],
)
def test_loudness_range_of_the_ebu_signals(levels: tuple[float, ...], loudness_range_lu: float) -> None:
    signal = sequence(*((dbfs, 20) for dbfs in levels))
    assert measure_loudness(signal, RATE).loudness_range_lu == pytest.approx(loudness_range_lu, abs=1)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_a_tone_has_the_same_loudness_at_every_rate(rate: int) -> None:
    result = measure_loudness(tone(-23, 5, rate), rate)
    # At the lowest rates the shelf of the filter is bent by half the rate being near.
    assert result.integrated_lufs == pytest.approx(-23, abs=0.1 if rate > 8_000 else 0.2)
    assert result.max_short_term_lufs == pytest.approx(result.integrated_lufs, abs=0.01)
    assert result.loudness_range_lu == pytest.approx(0, abs=0.01)


def test_full_scale_in_one_channel_is_3_01_lu_below_0() -> None:
    # BS.1770-5, Annex 1: 997 Hz at full scale in the left, centre or right channel.
    assert measure_loudness(tone(0, 5, hz=997, channels=1), RATE).integrated_lufs == pytest.approx(
        -3.01, abs=0.01
    )


def test_a_doubled_mono_track_is_3_lu_louder() -> None:
    mono = music(5, RATE, channels=1)
    alone, doubled = measure_loudness(mono, RATE), measure_loudness(np.repeat(mono, 2, axis=1), RATE)
    assert alone.integrated_lufs is not None
    assert doubled.integrated_lufs == pytest.approx(alone.integrated_lufs + 3.01, abs=0.01)
    assert measure_loudness(mono[:, 0], RATE) == alone


@pytest.mark.usefixtures("oracle")
@pytest.mark.parametrize(
    ("rate", "channels"),
    [(16_000, 1), (44_100, 1), (44_100, 2), (44_100, 6), (48_000, 2), (96_000, 2), (192_000, 1)],
)
def test_measures_what_ffmpeg_measures(rate: int, channels: int) -> None:
    audio = music(16, rate, channels, seed=rate + channels)
    actual, expected = measure_loudness(audio, rate), ebur128(audio, rate)
    measures = (
        (actual.integrated_lufs, expected.integrated_lufs),
        (actual.loudness_range_lu, expected.loudness_range_lu),
        (actual.max_momentary_lufs, expected.max_momentary_lufs),
        (actual.max_short_term_lufs, expected.max_short_term_lufs),
        (actual.sample_peak_dbfs, 20 * np.log10(expected.sample_peak)),
        (actual.true_peak_dbtp, 20 * np.log10(expected.true_peak)),
    )
    for ours, theirs in measures:
        assert ours == pytest.approx(theirs, abs=0.1), (actual, expected)


@pytest.mark.parametrize("sizes", [[1, 2, 3], [4_410] * 40, [CHUNK_FRAMES, 1, CHUNK_FRAMES - 1], [100_000]])
def test_the_result_is_the_same_however_the_audio_is_cut(sizes: list[int]) -> None:
    audio = music(4.7, 44_100)
    whole = measure_loudness(audio, 44_100)
    meter = LoudnessMeter(44_100, 2)
    for block in np.split(audio, np.cumsum(sizes)):
        meter.add(block)
    assert meter.finish() == whole
    assert None not in astuple(whole)


def test_the_last_window_that_is_not_whole_does_not_count() -> None:
    quiet = tone(-40, 0.4)
    assert measure_loudness(np.concatenate([quiet, tone(-10, 0.09)]), RATE).integrated_lufs == pytest.approx(
        -40, abs=0.1
    )
    loud = measure_loudness(np.concatenate([quiet, tone(-10, 0.1)]), RATE).integrated_lufs
    assert loud is not None
    assert loud > -25


@pytest.mark.parametrize("audio", [silence(5), silence(0), silence(0.1), np.zeros(0, np.float32)])
def test_silence_and_nothing_have_neither_loudness_nor_peak(audio: Samples) -> None:
    assert measure_loudness(audio, RATE) == NOTHING


def test_what_is_too_short_for_a_measure_has_the_others() -> None:
    shorter = measure_loudness(tone(-20, 0.399), RATE)
    assert (shorter.integrated_lufs, shorter.loudness_range_lu, shorter.max_momentary_lufs) == (
        None,
        None,
        None,
    )
    assert shorter.true_peak_dbtp == pytest.approx(-20, abs=0.1)
    short = measure_loudness(tone(-20, 2.999), RATE)
    assert (short.loudness_range_lu, short.max_short_term_lufs) == (None, None)
    assert (short.integrated_lufs, short.max_momentary_lufs) == pytest.approx((-20, -20), abs=0.1)
    assert None not in astuple(measure_loudness(tone(-20, 3), RATE))


def test_what_never_rises_above_the_gate_has_no_integrated_loudness() -> None:
    result = measure_loudness(tone(-75, 5), RATE)
    assert (result.integrated_lufs, result.loudness_range_lu) == (None, None)
    assert (result.max_momentary_lufs, result.true_peak_dbtp) == pytest.approx((-75, -75), abs=0.1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_count_as_0(bad: float) -> None:
    audio = music(4, RATE)
    audio[1_000:1_010] = bad
    audio[150_000, 1] = bad
    mended = np.nan_to_num(audio, nan=0.0, posinf=0.0, neginf=0.0)
    assert measure_loudness(audio, RATE) == measure_loudness(mended, RATE)


def test_the_lfe_counts_for_the_peaks_alone() -> None:
    audio = silence(4, channels=6)
    audio[:, 3] = tone(-6, 4, channels=1, hz=40)[:, 0]
    result = measure_loudness(audio, RATE)
    assert (result.integrated_lufs, result.max_momentary_lufs) == (None, None)
    assert result.true_peak_dbtp == pytest.approx(-6, abs=0.1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_enormous_samples_have_a_finite_loudness(dtype: type[np.floating]) -> None:
    audio = music(4, RATE).astype(dtype)
    audio[RATE : RATE + 100] = np.finfo(dtype).max
    found = measure_loudness(audio, RATE)
    assert all(type(value) is float and math.isfinite(value) for value in astuple(found))


def test_levels_above_full_scale_are_measured() -> None:
    audio = music(4, RATE)
    quiet, loud = measure_loudness(audio, RATE), measure_loudness(1000 * audio, RATE)
    for before, after in zip(astuple(quiet)[2:], astuple(loud)[2:], strict=True):
        assert after == pytest.approx(before + 60, abs=1e-4)


def test_channels_in_another_order_are_weighted_as_told() -> None:
    audio = music(4, RATE, channels=6)
    turned = audio[:, [0, 2, 1, 4, 5, 3]]
    told = measure_loudness(turned, RATE, channel_weights=(1, 1, 1, 1.41, 1.41, 0))
    assert told.integrated_lufs == pytest.approx(measure_loudness(audio, RATE).integrated_lufs, abs=1e-9)


@pytest.mark.parametrize(
    ("audio", "weights", "message"),
    [
        (np.zeros((9, 7), np.float32), None, "7 channels has no usual order: give channel_weights"),
        (np.zeros((9, 2), np.float32), (1.0,), "1 channel_weights were given for 2 channels"),
        (np.zeros((9, 2), np.int16), None, "floating point, .* got int16 with 2 dimensions"),
        (np.zeros((9, 2, 2), np.float32), None, "got float32 with 3 dimensions"),
    ],
)
def test_audio_that_cannot_be_measured_is_refused(
    audio: Samples, weights: tuple[float, ...] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        measure_loudness(audio, RATE, channel_weights=weights)


def test_analyses_the_decoded_mix_where_it_lies(tmp_path: Path) -> None:
    audio = music(4, 44_100)
    mix = MixFile(tmp_path / "mix.f32", len(audio), 2, 44_100)
    mix.path.write_bytes(audio.tobytes())
    assert analyse_loudness(AnalysisInputs(mix)) == measure_loudness(audio, 44_100)


def test_an_hour_takes_the_memory_of_a_minute() -> None:
    # In a process of its own, whose peak is nobody else's.
    program = (
        "import resource, numpy as np\n"
        "from mismo_grpc.analysis.loudness import LoudnessMeter\n"
        "meter, minute = LoudnessMeter(8_000, 1), np.full((480_000, 1), 0.1, np.float32)\n"
        "minute[0] = 1.0\n"
        "meter.add(minute)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for _ in range(59): meter.add(minute)\n"
        "assert meter.finish().integrated_lufs is not None\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # The samples of the hour alone are 110 MiB.
    assert int(done.stdout) < 20 * 1024

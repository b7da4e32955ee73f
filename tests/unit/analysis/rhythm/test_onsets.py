"""Onset strength: when it peaks, where it is, and that blocks do not matter."""

from __future__ import annotations

import numpy as np
import pytest

from mismo_grpc.analysis.rhythm.onsets import measure_onsets
from tests.unit.analysis.rhythm.songs import Samples


def bursts(rate: int, times: Samples) -> Samples:
    """Short noises in faint noise."""
    random = np.random.default_rng(3)
    audio = 1e-4 * random.standard_normal(10 * rate)
    for time in times:
        begin = round(float(time) * rate)
        length = rate // 10
        audio[begin : begin + length] += random.standard_normal(length) * np.exp(
            -30 * np.arange(length) / rate
        )
    return audio.astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_strength_peaks_at_the_onsets(rate: int) -> None:
    times = np.arange(0.5, 9.5, 0.5137, dtype=np.float32)
    onsets = measure_onsets(bursts(rate, times), rate)
    total = onsets.strength.sum(axis=1)
    frames = np.round(onsets.frame_of(times.astype(np.float64))).astype(int)
    peaks = frames - 5 + np.array([total[frame - 5 : frame + 6].argmax() for frame in frames])
    errors = onsets.time_of(peaks.astype(np.float64)) - times
    assert abs(errors.mean()) < 0.006
    assert np.abs(errors).max() < 0.012


# At 32 and 96 kHz a block is no whole number of decimated samples.
@pytest.mark.parametrize("rate", [22_050, 32_000, 44_100, 96_000])
def test_blocks_do_not_matter(rate: int) -> None:
    audio = bursts(rate, np.arange(0.0, 9.5, 0.37, dtype=np.float32))
    whole, parts = (measure_onsets(audio, rate, block_seconds=seconds) for seconds in (20, 1))
    np.testing.assert_allclose(whole.strength, parts.strength, atol=1e-5)
    np.testing.assert_allclose(whole.chroma, parts.chroma, atol=1e-5)


def test_the_gain_hardly_matters() -> None:
    audio = bursts(44_100, np.arange(0.0, 9.5, 0.37, dtype=np.float32))
    loud, soft = (measure_onsets(gain * audio, 44_100) for gain in (1.0, 0.01))
    np.testing.assert_allclose(loud.strength, soft.strength, atol=1e-3)


@pytest.mark.parametrize(("hz", "pitch_class"), [(261.63, 0), (440.0, 9), (880.0, 9), (739.99, 6)])
def test_chroma_of_a_tone(hz: float, pitch_class: int) -> None:
    tone = np.sin(2 * np.pi * hz * np.arange(4 * 44_100) / 44_100).astype(np.float32)
    chroma = measure_onsets(tone, 44_100).chroma
    assert set(chroma[10:-10].argmax(axis=1)) == {pitch_class}

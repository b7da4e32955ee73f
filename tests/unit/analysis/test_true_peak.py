"""The true peak: what lies between the samples is found, wherever the blocks are cut."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from mismo_grpc.analysis.true_peak import TruePeak, interpolation_filter, oversampling
from tests.unit.analysis.signals import music

Samples = npt.NDArray[np.float32]


def measured(samples: Samples, rate: int = 48_000, cuts: tuple[int, ...] = ()) -> TruePeak:
    peak = TruePeak(rate)
    for block in np.split(samples, cuts):
        peak.add(block)
    peak.finish()
    return peak


def decibels(amplitude: float) -> float:
    return float(20 * np.log10(amplitude))


def sine(share_of_rate: float, degrees: float, amplitude: float, frames: int = 4_800) -> Samples:
    """A sine that swells in and out, so that nothing but its own peaks is measured."""
    wave = amplitude * np.sin(2 * np.pi * share_of_rate * np.arange(frames) + np.radians(degrees))
    return (wave * np.hanning(frames) ** 0.25).astype(np.float32)


# EBU Tech 3341, table 1, cases 15 to 19, with its tolerance.
@pytest.mark.parametrize(
    ("share_of_rate", "degrees", "amplitude", "expected_db"),
    [
        (1 / 4, 0, 0.5, -6.0),
        (1 / 4, 45, 0.5, -6.0),
        (1 / 6, 60, 0.5, -6.0),
        (1 / 8, 67.5, 0.5, -6.0),
        (1 / 4, 45, 1.41, 3.0),
    ],
)
@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_finds_the_peak_of_a_sine_that_no_sample_shows(
    rate: int, share_of_rate: float, degrees: float, amplitude: float, expected_db: float
) -> None:
    found = decibels(measured(sine(share_of_rate, degrees, amplitude), rate).true)
    assert expected_db - 0.4 <= found <= expected_db + 0.2


def test_finds_the_peaks_of_clipped_music_as_an_exact_interpolation_does() -> None:
    clipped = np.clip(music(3, 44_100, channels=1)[:, 0] * 6, -1, 1)
    clipped *= np.hanning(len(clipped)).astype(np.float32) ** 0.05
    spectrum = np.fft.rfft(clipped, norm="forward")
    exact = np.fft.irfft(spectrum, 16 * len(clipped), norm="forward")
    found = decibels(measured(clipped, 44_100).true)
    assert found > 0.5
    assert found == pytest.approx(decibels(np.abs(exact).max()), abs=0.1)


# As cases 20 to 23 of the same table: a band-limited pulse between the samples.
@pytest.mark.parametrize("offset", [0.0, 0.25, 0.5, 0.75])
def test_finds_the_top_of_a_pulse_between_two_samples(offset: float) -> None:
    at = np.arange(-200, 200) - offset
    pulse = (np.sinc(0.5 * at) * np.hanning(400)).astype(np.float32)
    assert -0.4 <= decibels(measured(pulse).true) <= 0.2
    assert decibels(measured(pulse).sample) < (0.01 if offset == 0 else -0.2)


def test_is_never_below_the_sample_peak_and_tells_both() -> None:
    click = np.zeros(1_000, np.float32)
    click[500] = -0.7
    found = measured(click)
    assert found.sample == pytest.approx(0.7)
    assert found.true >= found.sample


def test_a_wave_that_stops_at_its_top_overshoots_into_the_silence() -> None:
    wave = sine(1 / 4, 45, 0.5)
    level = np.full(100, 0.5, np.float32)
    assert measured(level).true > 0.52
    assert measured(np.concatenate([level, -level])).true > measured(level).true
    assert measured(wave).true == pytest.approx(measured(wave[::-1].copy()).true, abs=1e-6)


@pytest.mark.parametrize("cuts", [(1,), (1, 2, 3, 50, 60, 70), tuple(range(0, 9_000, 13)), (4_800, 4_801)])
def test_is_the_same_wherever_the_blocks_are_cut(cuts: tuple[int, ...]) -> None:
    noise = np.random.default_rng(3).uniform(-0.1, 0.1, 9_000).astype(np.float32)
    noise[4_795:4_805] = [0.6, -0.6, 0.6, -0.6, 0.6, 0.6, -0.6, 0.6, -0.6, 0.6]
    whole = measured(noise)
    assert whole.true > 0.65
    assert measured(noise, cuts=cuts).true == pytest.approx(whole.true, abs=1e-6)


def test_what_cannot_reach_the_peak_is_left_out_without_loss() -> None:
    # Peaks that grow, so that rows are passed over before and looked at after.
    noise = np.random.default_rng(4).standard_normal(50_000).astype(np.float32)
    noise *= np.linspace(0.01, 1, len(noise), dtype=np.float32)
    taps = interpolation_filter(4)
    every = max(float(np.abs(np.convolve(noise, phase[::-1].astype(np.float32))).max()) for phase in taps)
    assert measured(noise).true == pytest.approx(max(every, float(np.abs(noise).max())), rel=1e-5)


@pytest.mark.parametrize(
    ("rate", "factor"),
    [(44_100, 4), (48_000, 4), (88_200, 2), (96_000, 2), (176_400, 1), (192_000, 1), (8_000, 32)],
)
def test_interpolates_to_176_khz_at_least(rate: int, factor: int) -> None:
    assert oversampling(rate) == factor


def test_at_192_khz_the_samples_are_the_measure() -> None:
    found = measured(sine(1 / 4, 45, 0.5), 192_000)
    assert found.true == found.sample


@pytest.mark.parametrize("share_of_rate", [0.001, 0.1, 0.3, 0.4, 0.45])
def test_the_filter_is_flat_up_to_20_khz_at_44_100_hz(share_of_rate: float) -> None:
    for phase in interpolation_filter(4):
        gain = abs(np.sum(phase * np.exp(2j * np.pi * share_of_rate * np.arange(len(phase)))))
        assert abs(decibels(gain)) < 0.03


def test_of_silence_and_of_nothing_it_is_0() -> None:
    assert measured(np.zeros(500, np.float32)).true == 0.0
    assert measured(np.zeros(0, np.float32)).true == 0.0

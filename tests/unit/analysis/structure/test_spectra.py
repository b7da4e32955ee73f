"""Spectra and energy of signals whose level and pitch are known."""

from __future__ import annotations

import numpy as np
import pytest

from mismo_grpc.analysis.loudness import measure_loudness
from mismo_grpc.analysis.structure import spectra as module
from mismo_grpc.analysis.structure.energy import interval_energies, usual_peak
from mismo_grpc.analysis.structure.features import interval_means, unit_features
from mismo_grpc.analysis.structure.grid import make_grid
from mismo_grpc.analysis.structure.spectra import measure_spectra
from tests.unit.analysis.signals import music, sequence, silence, tone


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize(("pitch_class", "hz"), [(0, 261.63), (4, 329.63), (9, 440.0), (11, 987.77)])
def test_a_tone_is_in_its_pitch_class(rate: int, pitch_class: int, hz: float) -> None:
    chroma = measure_spectra(tone(-10, 2, rate, hz=hz), rate).chroma.mean(axis=0)
    assert int(np.argmax(chroma)) == pitch_class
    assert chroma[pitch_class] > 0.5 * chroma.sum()


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
@pytest.mark.parametrize("hz", [60.0, 1000.0, 3000.0])
def test_the_weighted_power_is_the_loudness(rate: int, hz: float) -> None:
    signal = tone(-20, 3, rate, hz=hz)
    power = float(np.median(measure_spectra(signal, rate).power))
    assert -0.691 + 10 * np.log10(power) == pytest.approx(
        measure_loudness(signal, rate).integrated_lufs, abs=0.3
    )


def test_the_bands_are_levels() -> None:
    bands = measure_spectra(tone(-20, 3, 44_100, channels=1), 44_100).bands
    # The mean square of a sine is 3 dB below its peak.
    assert float(np.median(bands.max(axis=1))) == pytest.approx(-23, abs=1.5)
    assert float(np.median(bands.min(axis=1))) == pytest.approx(-100.0, abs=1e-4)


def test_channels_in_antiphase_do_not_cancel() -> None:
    left = music(3, 22_050, channels=1)
    same, anti = np.concatenate([left, left], axis=1), np.concatenate([left, -left], axis=1)
    assert measure_spectra(anti, 22_050).bands == pytest.approx(measure_spectra(same, 22_050).bands)


def test_the_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    signal = music(4, 22_050)
    whole = measure_spectra(signal, 22_050)
    monkeypatch.setattr(module, "BLOCK_HOPS", 7)
    parts = measure_spectra(signal, 22_050)
    assert parts.bands == pytest.approx(whole.bands, abs=1e-3)
    assert parts.chroma == pytest.approx(whole.chroma, rel=1e-4, abs=1e-7)
    assert parts.power == pytest.approx(whole.power, rel=1e-4)


def test_samples_that_are_no_numbers_count_as_zero() -> None:
    signal = music(3, 22_050).astype(np.float64)
    broken, zeroed = signal.copy(), signal.copy()
    for place, value in ((1000, np.nan), (20_000, np.inf), (40_000, -np.inf)):
        broken[place : place + 50], zeroed[place : place + 50] = value, 0.0
    assert np.array_equal(measure_spectra(broken, 22_050).bands, measure_spectra(zeroed, 22_050).bands)


@pytest.mark.parametrize("level", [1e30, 1e300])
def test_enormous_samples_give_finite_levels(level: float) -> None:
    found = measure_spectra(level * music(1, 22_050).astype(np.float64), 22_050)
    for values in (found.bands, found.chroma, found.power):
        assert np.isfinite(values).all()


@pytest.mark.parametrize(
    ("audio", "rate"),
    [
        (np.zeros((100, 2), np.int16), 44_100),
        (np.zeros((4, 100, 2), np.float32), 44_100),
        (np.zeros((100, 0), np.float32), 44_100),
        (np.zeros((100, 2), np.float32), 4_000),
    ],
    ids=["integers", "dimensions", "channels", "rate"],
)
def test_wrong_audio_is_refused(audio: np.ndarray, rate: int) -> None:
    with pytest.raises(ValueError, match=r"got|channels|Hz"):
        measure_spectra(audio, rate)


def test_means_count_hops_by_their_share() -> None:
    values = np.array([[0.0], [10.0], [20.0], [30.0]])
    means = interval_means(values, 0.5, np.array([0.0, 0.75, 1.5, 2.0]))
    assert means[:, 0] == pytest.approx([10 / 3, 50 / 3, 30.0])


def test_ten_decibels_less_are_half_the_energy() -> None:
    found = measure_spectra(sequence((-10, 10), (-20, 10), (-30, 10), rate=22_050), 22_050)
    energies = interval_energies(found, np.array([1.0, 9.0, 11.0, 19.0, 21.0, 29.0]))
    assert energies[[0, 2, 4]] == pytest.approx([1.0, 0.5, 0.25], abs=0.01)


def test_silence_has_no_energy_and_equal_features() -> None:
    found = measure_spectra(silence(20, 22_050), 22_050)
    assert interval_energies(found, np.array([0.0, 10.0, 20.0])).tolist() == [0.0, 0.0]
    features = unit_features(found, make_grid(20.0, [], []))
    assert np.all(features == features[0])


def test_one_loud_moment_is_not_the_usual_peak() -> None:
    assert usual_peak(np.array([50.0, 5.0, 45.0]), np.array([0.5, 1.0, 0.7])) == 0.7
    assert usual_peak(np.array([50.0, 15.0, 35.0]), np.array([0.5, 1.0, 0.7])) == 1.0
    assert usual_peak(np.zeros(0), np.zeros(0)) == 0.0

from __future__ import annotations

import numpy as np
import pytest

from mismo_grpc.generation import waves
from mismo_grpc.generation.waves import (
    band,
    chorus,
    convolve,
    equalise,
    fade_in,
    fade_out,
    hertz,
    noise,
    oscillate,
    ring,
    saturate,
    seconds_of,
)
from tests.unit.generation.listening import RATE, rms, share


def test_pitches_are_tuned_to_a4() -> None:
    assert hertz(69) == 440
    assert hertz(81) == pytest.approx(880)
    assert hertz(60) == pytest.approx(261.626, abs=1e-3)


def test_ringing_partials_are_the_sum_of_damped_cosines() -> None:
    frequencies, decays = np.array([220.0, 553.0, 4000.0]), np.array([1.5, 0.4, 0.2])
    amplitudes, phases = np.array([1.0, 0.5, 0.3]), np.array([0.0, 1.0, -2.0])
    clock = seconds_of(20001, RATE)[:, None]
    plain = amplitudes * 10 ** (-3 * clock / decays) * np.cos(2 * np.pi * frequencies * clock + phases)
    made = ring(frequencies, decays, amplitudes, phases, 20001, RATE)
    np.testing.assert_allclose(made, plain.sum(axis=1), atol=2e-5)


def test_partials_above_the_band_are_left_out() -> None:
    assert not ring(np.array([21000.0, 30000.0]), 1.0, np.ones(2), 0.0, 500, RATE).any()


def test_a_wave_of_one_spectrum_is_the_sum_of_its_harmonics() -> None:
    spectrum = np.array([[1.0, 0.0, 0.5j, -0.25]])
    phase = np.arange(5000) * 0.0123
    number = np.arange(1, 5)
    plain = np.real(spectrum * np.exp(2j * np.pi * phase[:, None] * number)).sum(axis=1)
    np.testing.assert_allclose(oscillate(spectrum.astype(np.complex64), 100, phase), plain, atol=2e-3)


def test_between_two_spectra_the_wave_is_mixed_and_at_each_it_is_that_one() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], dtype=np.complex64)
    phase = np.full(201, 1 / 8)
    wave = oscillate(rows, 100, phase)
    np.testing.assert_allclose(wave[:101], np.linspace(np.cos(np.pi / 4), 0.0, 101), atol=2e-3)
    np.testing.assert_allclose(wave[100:], 0.0, atol=2e-3)


@pytest.mark.parametrize("frames", [3000, 700_000])
def test_noise_keeps_to_its_band_at_rms_one(frames: int) -> None:
    made = noise(frames, band(1000, 3000, 4), RATE, np.random.default_rng(1))
    assert made.shape == (frames,)
    assert rms(made) == pytest.approx(1.0, rel=0.15)
    assert share(made[:20000], 800, 3700) > 0.9


def test_convolution_by_blocks_is_convolution() -> None:
    rng = np.random.default_rng(2)
    signal = rng.standard_normal(70_000).astype(np.float32)
    kernels = rng.standard_normal((2, 300)).astype(np.float32)
    made = convolve(signal, kernels)
    for row, kernel in zip(made, kernels, strict=True):
        np.testing.assert_allclose(row, np.convolve(signal, kernel)[: len(signal)], atol=1e-3)


def test_a_filter_has_its_gain_and_answers_at_once() -> None:
    impulse = np.zeros(8192, dtype=np.float32)
    impulse[1000] = 1.0
    answer = equalise(impulse, band(200, 4000, 1), RATE)
    assert np.abs(answer[:1000]).max() < 1e-5
    assert np.abs(answer[1000:1010]).max() > 0.2
    gains = np.abs(np.fft.rfft(answer))
    frequencies = np.fft.rfftfreq(len(answer), 1 / RATE)
    heard = (frequencies > 150) & (frequencies < 12000)
    np.testing.assert_allclose(gains[heard], band(200, 4000, 1)(frequencies[heard]), atol=0.03)


def test_saturation_is_tanh_with_less_folded_back() -> None:
    hz = 5003.0
    tone = (4 * np.sin(2 * np.pi * hz * seconds_of(RATE, RATE))).astype(np.float32)
    slow = np.linspace(-3, 3, 5000).astype(np.float32)
    np.testing.assert_allclose(saturate(slow), np.tanh(slow), atol=2e-3)

    def folded(sound: np.ndarray) -> float:
        return 1 - sum(share(sound[:8192], n * hz - 60, n * hz + 60) for n in (1, 3))

    assert folded(saturate(tone)) < 0.3 * folded(np.tanh(tone))


def test_what_is_worked_on_in_chunks_has_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.random.default_rng(3).standard_normal(9000).astype(np.float32)
    whole = saturate(sound), chorus(sound, 0.003, 2.0, RATE, np.random.default_rng(4))
    monkeypatch.setattr(waves, "_CHUNK", 1000)
    pieces = saturate(sound), chorus(sound, 0.003, 2.0, RATE, np.random.default_rng(4))
    np.testing.assert_allclose(pieces[0], whole[0], atol=1e-6)
    np.testing.assert_allclose(pieces[1], whole[1], atol=1e-6)


def test_a_chorus_moves_a_copy_by_its_delay_and_no_more() -> None:
    impulse = np.zeros(4000, dtype=np.float32)
    impulse[500] = 1.0
    for side in chorus(impulse, 0.003, 1.0, RATE, np.random.default_rng(5)):
        heard = np.flatnonzero(np.abs(side) > 1e-6)
        assert heard[0] == 500
        assert 500 + 0.008 * RATE - 1 <= heard[1] <= heard[-1] <= 500 + 0.014 * RATE + 2


def test_fades_begin_and_end_in_silence() -> None:
    faded = fade_out(fade_in(np.ones(2000, dtype=np.float32), 0.01, RATE), 0.01, RATE)
    assert faded[0] == 0
    assert faded[-1] == pytest.approx(0, abs=1e-7)
    assert (faded[441:-441] == 1).all()
    assert np.abs(np.diff(faded)).max() < 0.01
    assert len(fade_out(np.zeros(0, dtype=np.float32), 0.01, RATE)) == 0

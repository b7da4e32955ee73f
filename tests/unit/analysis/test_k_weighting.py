"""The K-weighting filter: the table at 48 kHz, the same response at every rate, the same output however it is cut."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from mismo_grpc.analysis.k_weighting import HIGH_PASS, ROW_FRAMES, SHELF, Biquad, KWeighting, at_rate

RATES = [8_000, 11_025, 22_050, 44_100, 48_000, 88_200, 96_000, 192_000]


def response(section: Biquad, hz: npt.NDArray[np.float64], rate: int) -> npt.NDArray[np.float64]:
    """The gain of a section in dB."""
    z = np.exp(-2j * np.pi * hz / rate)
    gain = (section.b0 + section.b1 * z + section.b2 * z * z) / (1 + section.a1 * z + section.a2 * z * z)
    return 20 * np.log10(np.abs(gain))


def recursion(samples: npt.NDArray[np.float32], sections: list[Biquad]) -> npt.NDArray[np.float64]:
    """The sections as their difference equations say, frame by frame."""
    signal = samples.astype(np.float64)
    for b0, b1, b2, a1, a2 in sections:
        result = np.zeros(len(signal) + 2)
        padded = np.concatenate([[0.0, 0.0], signal])
        for n in range(2, len(padded)):
            result[n] = b0 * padded[n] + b1 * padded[n - 1] + b2 * padded[n - 2]
            result[n] -= a1 * result[n - 1] + a2 * result[n - 2]
        signal = result[2:]
    return signal


@pytest.mark.parametrize("section", [SHELF, HIGH_PASS])
def test_at_48_khz_it_is_the_table_of_the_recommendation(section: Biquad) -> None:
    np.testing.assert_allclose(at_rate(section, 48_000), section, atol=1e-12)


# The bilinear transform bends the shelf where it comes near half the rate.
@pytest.mark.parametrize(
    ("rate", "decibels"), [(8_000, 0.25), (22_050, 0.04), (44_100, 0.002), (192_000, 0.01)]
)
def test_weighs_the_same_frequency_alike_at_every_rate(rate: int, decibels: float) -> None:
    hz = np.geomspace(10, min(3_000, rate / 8))
    for section in (SHELF, HIGH_PASS):
        at_48k = response(section, hz, 48_000)
        np.testing.assert_allclose(response(at_rate(section, rate), hz, rate), at_48k, atol=decibels)


@pytest.mark.parametrize("rate", RATES)
def test_filters_as_the_difference_equations_say(rate: int) -> None:
    noise = np.random.default_rng(rate).standard_normal(40 * ROW_FRAMES).astype(np.float32)
    actual = KWeighting(rate, 1).filtered(noise, 0)
    expected = recursion(noise, [at_rate(SHELF, rate), at_rate(HIGH_PASS, rate)])
    np.testing.assert_allclose(actual, expected, atol=1e-8)


def test_blocks_are_filtered_as_one_piece_and_channels_apart() -> None:
    noise = np.random.default_rng(1).standard_normal((2, 100 * ROW_FRAMES)).astype(np.float32)
    whole, blocks = KWeighting(44_100, 2), KWeighting(44_100, 2)
    cuts = [ROW_FRAMES, 2 * ROW_FRAMES, 67 * ROW_FRAMES]
    parts = [
        [blocks.filtered(part, channel) for channel, part in enumerate(pair)]
        for pair in np.split(noise, cuts, axis=1)
    ]
    for channel in range(2):
        joined = np.concatenate([part[channel] for part in parts])
        np.testing.assert_allclose(joined, whole.filtered(noise[channel], channel), atol=1e-9)


def test_a_rate_without_room_for_the_shelf_is_refused() -> None:
    with pytest.raises(ValueError, match="from 8000 Hz on, not at 7999 Hz"):
        KWeighting(7_999, 1)

"""The peer without learning: it adds up, and puts plain sounds where they belong."""

from __future__ import annotations

import numpy as np

from training.quality.dsp_split import SAMPLE_RATE, STEMS, dsp_split

TIME = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE


def loudest(mix: np.ndarray) -> str:
    stems = dsp_split(mix.astype(np.float32))
    return max(STEMS, key=lambda name: float(np.square(stems[name]).sum()))


def test_its_stems_add_up_to_the_mix_piece_by_piece() -> None:
    mix = (0.1 * np.random.default_rng(0).normal(size=(2, 41 * SAMPLE_RATE))).astype(np.float32)
    total = np.sum([*dsp_split(mix).values()], axis=0)
    assert total.shape == mix.shape
    assert np.allclose(total, mix, atol=1e-5)


def test_a_low_tone_is_bass_a_centred_one_a_voice_and_one_at_the_side_is_neither() -> None:
    low, middle = 0.3 * np.sin(2 * np.pi * 60 * TIME), 0.3 * np.sin(2 * np.pi * 700 * TIME)
    assert loudest(np.stack([low, low])) == "bass"
    assert loudest(np.stack([middle, middle])) == "vocals"
    assert loudest(np.stack([middle, -middle])) == "other"


def test_clicks_are_drums() -> None:
    clicks = np.zeros(3 * SAMPLE_RATE)
    clicks[:: SAMPLE_RATE // 4] = 0.9
    assert loudest(np.stack([clicks, clicks])) == "drums"

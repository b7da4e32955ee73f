"""A limiter keeps to its ceiling, changes nothing that needs no change, and loses no frame."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mismo_grpc.audio.exports.limiter import Limiter
from tests.unit.audio.exports.pieces import Samples, noise

CEILING = 0.9


def limited(samples: Samples, block: int, look_ahead: int = 64) -> Samples:
    limiter = Limiter(samples.shape[1], CEILING, look_ahead)
    parts = [limiter.push(samples[at : at + block]) for at in range(0, len(samples), block)]
    return np.concatenate([*parts, limiter.finish()])


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3000), st.integers(1, 700), st.integers(2, 200), st.integers(0, 99))
def test_any_blocks_keep_to_the_ceiling_and_give_every_frame(
    frames: int, block: int, look_ahead: int, seed: int
) -> None:
    samples = noise(frames, level=0.6, seed=seed)
    out = limited(samples, block, look_ahead)
    assert out.shape == samples.shape
    assert np.abs(out).max() <= CEILING
    # The gain is common to both channels and never above one.
    assert (np.abs(out) <= np.abs(samples) + 1e-6).all()
    np.testing.assert_allclose(out, limited(samples, frames, look_ahead), atol=1e-6)


def test_what_is_quiet_stays_bit_for_bit() -> None:
    samples = noise(5000, level=0.1)
    np.testing.assert_array_equal(limited(samples, 512), samples)


def test_a_peak_changes_only_what_is_near_it() -> None:
    samples = noise(5000, level=0.1)
    samples[2500] = 2.0
    out = limited(samples, 512)
    changed = np.flatnonzero((out != samples).any(axis=1))
    assert changed.min() > 2500 - 64
    assert changed.max() < 2500 + 64
    assert out[2500, 0] > CEILING * 0.99
    # The gain comes down step by step: no click.
    steady = np.full((5000, 2), 0.1, np.float32)
    steady[2500] = 2.0
    gain = limited(steady, 512)[2400:2500, 0] / 0.1
    assert 0 < np.abs(np.diff(gain)).max() < 0.02

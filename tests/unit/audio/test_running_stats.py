"""Statistics taken block by block are those of the whole."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mismo_grpc.audio.running_stats import RunningStats

tracks = hnp.arrays(
    np.float32, st.tuples(st.integers(2, 60), st.integers(1, 3)), elements=st.floats(-10, 10, width=32)
)


@given(track=tracks, cuts=st.lists(st.integers(0, 60), max_size=6))
def test_cuts_change_nothing(track: npt.NDArray[np.float32], cuts: list[int]) -> None:
    stats = RunningStats()
    for block in np.split(track, sorted(min(cut, len(track)) for cut in cuts)):
        stats.add(block)

    reference = track.astype(np.float64).mean(axis=1)
    assert stats.frames == len(track)
    assert stats.mean == pytest.approx(reference.mean(), abs=1e-9)
    assert stats.std == pytest.approx(reference.std(ddof=1), abs=1e-7)
    assert stats.peak == np.abs(track).max()


def test_a_large_offset_does_not_drown_the_deviation() -> None:
    stats = RunningStats()
    for start in range(0, 100_000, 1000):
        block = 10_000 + np.sin(np.arange(start, start + 1000))[:, None]
        stats.add(block.astype(np.float32))

    expected = (10_000 + np.sin(np.arange(100_000))).astype(np.float32).astype(np.float64).std(ddof=1)
    assert stats.std == pytest.approx(expected, rel=1e-9)

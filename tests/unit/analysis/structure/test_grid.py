"""The grid: bars that cover the track, whatever the beats are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.analysis.structure.grid import BEATS_PER_GROUP, STEP_SECONDS, make_grid

ANY_TIMES = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=40) | st.lists(
    st.floats(min_value=-1, max_value=70), max_size=40
)


def test_bars_begin_at_the_downbeats() -> None:
    downbeats = [0.0, 2.0, 4.0, 6.0]
    grid = make_grid(8.0, [], downbeats)
    assert grid.metrical
    assert grid.edges.tolist() == [*downbeats, 8.0]


def test_without_downbeats_four_beats_are_a_group() -> None:
    beats = [0.25 + 0.5 * n for n in range(33)]
    grid = make_grid(16.5, beats, [])
    assert grid.metrical
    assert grid.edges.tolist()[1:-1] == pytest.approx(beats[::BEATS_PER_GROUP][1:-1])


def test_without_beats_the_steps_are_equal() -> None:
    grid = make_grid(10.2, [], [])
    assert not grid.metrical
    assert np.diff(grid.edges)[:-1] == pytest.approx(STEP_SECONDS)
    assert grid.edges[-1] == 10.2


def test_gaps_are_filled_with_bars_of_the_same_tempo() -> None:
    """The beats begin after 5 s, pause from 9 s to 15 s, and end 4 s before the track."""
    grid = make_grid(25.0, [], [5.0, 7.0, 9.0, 15.0, 17.0, 19.0, 21.0])
    assert grid.edges.tolist() == pytest.approx([0, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25])


@pytest.mark.parametrize("first", [0.3, 0.9])
def test_a_short_upbeat_belongs_to_the_first_bar(first: float) -> None:
    downbeats = [first + 2.0 * n for n in range(5)]
    assert make_grid(first + 10.0, [], downbeats).edges.tolist() == pytest.approx(
        [0.0, *downbeats[1:], first + 10.0]
    )


@given(duration=st.floats(min_value=0.001, max_value=60), beats=ANY_TIMES, downbeats=ANY_TIMES)
def test_any_grid_covers_the_track_in_order(
    duration: float, beats: list[float], downbeats: list[float]
) -> None:
    edges = make_grid(duration, beats, downbeats).edges
    assert edges[0] == 0.0
    assert edges[-1] == duration
    assert np.all(np.diff(edges) > 0)
    assert len(edges) - 1 <= max(1, math.ceil(duration / 0.1))

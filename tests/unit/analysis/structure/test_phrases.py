"""Phrases: their length and where they begin, from the boundaries of sections."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.analysis.results import Section
from mismo_grpc.analysis.structure.phrases import Phrases, find_phrases

BAR = 1.9


def sections_at(*bars: int, count: int, confidence: float = 0.6) -> list[Section]:
    """Sections that start at these bars; 0 is the first downbeat."""
    edges = [0.0, *(BAR * bar for bar in bars), BAR * count]
    return [Section(begin, end, "A", None, confidence, 0.5) for begin, end in itertools.pairwise(edges)]


def phrases(*bars: int, count: int, confidence: float = 0.6) -> Phrases:
    return find_phrases(
        [BAR * bar for bar in range(count)], sections_at(*bars, count=count, confidence=confidence)
    )


def test_boundaries_eight_bars_apart() -> None:
    assert phrases(8, 16, 40, count=48) == Phrases(8, (0, 8, 16, 24, 32, 40))


def test_the_phase_is_that_of_the_boundaries() -> None:
    assert phrases(3, 19, 27, count=40) == Phrases(8, (3, 11, 19, 27, 35))


def test_sections_of_twelve_bars_have_phrases_of_four() -> None:
    assert phrases(12, 24, 36, 48, count=60) == Phrases(4, tuple(range(0, 60, 4)))


def test_sections_of_sixteen_bars_have_phrases_of_sixteen() -> None:
    assert phrases(16, 32, 48, 64, count=80) == Phrases(16, (0, 16, 32, 48, 64))
    # Three boundaries agree by chance too often.
    assert phrases(16, 32, 48, count=64).bars == 8


def test_an_odd_pause_moves_the_phrases_after_it() -> None:
    """Two extra bars come after bar 32."""
    found = phrases(8, 16, 32, 34, 50, 58, 66, count=74)
    assert found.bars == 8
    assert found.starts[:5] == (0, 8, 16, 24, 32)
    assert found.starts[5:] == (34, 42, 50, 58, 66)


def test_one_boundary_out_of_step_moves_nothing() -> None:
    assert phrases(8, 16, 21, 32, 40, count=48).starts == (0, 8, 16, 24, 32, 40)


def test_without_sections_the_first_downbeat_begins_phrases_of_eight_bars() -> None:
    assert find_phrases([BAR * bar for bar in range(20)], []) == Phrases(8, (0, 8, 16))


@pytest.mark.parametrize(("count", "bars"), [(0, 0), (3, 0), (4, 4), (7, 4), (8, 8)])
def test_short_tracks_have_short_phrases_or_none(count: int, bars: int) -> None:
    assert find_phrases([BAR * bar for bar in range(count)], []).bars == bars


def test_sections_far_from_any_downbeat_say_nothing() -> None:
    """The beats begin late; sections before them are not moved to the first downbeat."""
    downbeats = [100.0 + BAR * bar for bar in range(16)]
    sections = [Section(n * 10.0, n * 10.0 + 10, "A", None, 0.9, 0.5) for n in range(8)]
    assert find_phrases(downbeats, sections) == Phrases(8, (0, 8))


@given(
    count=st.integers(0, 100),
    boundaries=st.lists(st.tuples(st.floats(0, 200), st.floats(0, 1)), max_size=15),
)
def test_phrases_are_in_order_and_no_longer_than_their_length(
    count: int, boundaries: list[tuple[float, float]]
) -> None:
    times = sorted(boundaries)
    sections = [Section(time, time + 1, "A", None, confidence, 0.5) for time, confidence in times]
    found = find_phrases([BAR * bar for bar in range(count)], sections)
    assert found.bars in (0, 4, 8, 16)
    assert all(0 <= start < count for start in found.starts)
    steps = [b - a for a, b in zip(found.starts, found.starts[1:], strict=False)]
    assert all(step > 0 for step in steps)
    assert bool(found.starts) == bool(found.bars)

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.separation.ranges import RangeSet

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8)


def members(ranges: list[tuple[int, int]]) -> set[int]:
    return {i for start, end in ranges for i in range(start, end)}


@given(RANGES)
def test_a_range_set_holds_what_its_ranges_hold_in_order_and_apart(ranges: list[tuple[int, int]]) -> None:
    held = RangeSet(ranges)
    assert {i for i in range(-1, 62) if i in held} == members(ranges)
    assert held.total == len(members(ranges))
    flat = [edge for pair in held for edge in pair]
    assert flat == sorted(set(flat))


@given(RANGES, st.integers(0, 60), st.integers(0, 60))
def test_missing_and_held_parts_make_up_the_asked_range(
    ranges: list[tuple[int, int]], start: int, end: int
) -> None:
    held = RangeSet(ranges)
    missing = members(held.missing(start, end))
    assert missing == set(range(start, end)) - members(ranges)
    assert held.covers(start, end) == (not missing)


@given(RANGES, st.integers(0, 60))
def test_end_of_is_the_first_frame_not_held(ranges: list[tuple[int, int]], start: int) -> None:
    held, at = members(ranges), start
    while at in held:
        at += 1
    assert RangeSet(ranges).end_of(start) == at


@given(RANGES, st.integers(0, 60), st.integers(0, 60))
def test_add_keeps_the_old_set_as_it_was(ranges: list[tuple[int, int]], start: int, end: int) -> None:
    held = RangeSet(ranges)
    grown = held.add(start, end)
    assert members(list(grown)) == members(ranges) | set(range(start, end))
    assert members(list(held)) == members(ranges)

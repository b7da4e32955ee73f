from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.separation.catalog import EMBEDDED_MODEL, OFFICIAL, ModelCatalog
from mismo_grpc.separation.grid import MAX_SEGMENTS, Plan, check_work, count_segments, plan_track


def test_htdemucs_grid_is_the_one_of_demucs() -> None:
    plan = plan_track(180 * 44100, 44100, [343_980])
    assert [t.start for t in plan.segments[:3]] == [0, 257_985, 515_970]
    assert plan.segments[-1].end == 180 * 44100


PLANS = st.builds(
    lambda frames, segment, overlap, shifts: plan_track(
        frames, 40, [segment], overlap=overlap, shifts=shifts
    ),
    st.integers(1, 400),
    st.integers(2, 60),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75]),
    st.integers(0, 3),
)


@given(PLANS)
def test_pieces_of_a_segment_fill_its_part_of_the_track_without_gap(plan: Plan) -> None:
    for segment in plan.segments:
        pieces = plan.pieces(segment)
        assert pieces[0][0] == max(0, segment.start)
        assert pieces[-1][1] == min(plan.total_frames, segment.end)
        assert all(a[1] == b[0] for a, b in itertools.pairwise(pieces))


@given(PLANS, st.randoms(use_true_random=False))
def test_every_frame_becomes_final_exactly_once_in_any_order(plan: Plan, draw: random.Random) -> None:
    order = list(range(len(plan.segments)))
    draw.shuffle(order)
    finished = np.zeros(plan.total_frames, dtype=int)
    done: set[int] = set()
    for index in order:
        done.add(index)
        for start, end in plan.pieces(plan.segments[index]):
            if not all(segment.index in done for segment in plan.covering(start, end)):
                continue
            finished[start:end] += 1
    assert (finished == 1).all()


@given(PLANS)
def test_covering_finds_every_segment_that_touches_a_range(plan: Plan) -> None:
    low, high = plan.total_frames // 3, plan.total_frames // 3 + 7
    assert [t.index for t in plan.covering(low, high)] == [
        t.index for t in plan.segments if t.start < high and t.end > low
    ]


def test_shifts_are_drawn_from_the_seed_alone() -> None:
    first = plan_track(100_000, 44100, [22050], shifts=3, seed=7)
    again = plan_track(100_000, 44100, [22050], shifts=3, seed=7)
    other = plan_track(100_000, 44100, [22050], shifts=3, seed=8)
    assert first.segments == again.segments
    assert first.segments != other.segments


def test_a_plan_needs_a_frame() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        plan_track(0, 44100, [100])


# The bound of the work

HOUR = 3600 * 44100
LENGTHS = sorted(
    {ModelCatalog([]).describe(name).segment_frames for name in (EMBEDDED_MODEL, *OFFICIAL)},
)


@given(
    st.integers(1, 400),
    st.integers(1, 60),
    st.lists(st.integers(2, 60), min_size=1, max_size=3),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.95]),
    st.integers(0, 3),
)
def test_segments_are_counted_as_they_are_planned(
    frames: int, rate: int, lengths: list[int], overlap: float, shifts: int
) -> None:
    plan = plan_track(frames, rate, lengths, overlap=overlap, shifts=shifts)
    assert count_segments(frames, rate, lengths, overlap=overlap, shifts=shifts) == len(plan.segments)
    assert all(segment.end > 0 for segment in plan.segments)


@pytest.mark.parametrize("length", LENGTHS)
def test_the_longest_track_fits_with_every_model_and_a_song_with_all_that_options_allow(length: int) -> None:
    assert length >= 6 * 44100
    check_work(6 * HOUR, 44100, [length], overlap=0.25, shifts=5)
    check_work(HOUR // 12, 44100, [length], overlap=0.95, shifts=20)


def test_more_work_than_that_is_refused_in_words() -> None:
    segments = count_segments(HOUR, 44100, [343_980], overlap=0.95, shifts=20)
    assert segments == 184_638
    with pytest.raises(InvalidFieldError) as caught:
        check_work(HOUR, 44100, [343_980], overlap=0.95, shifts=20)
    assert caught.value.field == "options.stems.overlap"
    assert caught.value.metadata == {"segments": "184638", "max_segments": str(MAX_SEGMENTS)}
    assert "fewer shifts" in caught.value.message


def test_a_model_whose_segments_are_not_known_yet_is_let_pass() -> None:
    check_work(HOUR, 44100, [0], overlap=0.95, shifts=20)

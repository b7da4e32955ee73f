"""Segments and labels of feature sequences with known changes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mismo_grpc.analysis.structure import segmentation
from mismo_grpc.analysis.structure.grid import Grid
from mismo_grpc.analysis.structure.labels import cluster, letters
from mismo_grpc.analysis.structure.segmentation import LONGEST_BARS, clarities, penalty, segment

FEATURES = 20


def bars(*parts: tuple[str, int], noise: float = 1.0, seed: int = 1) -> np.ndarray:
    """Features of bars: parts with the same letter have the same mean, and noise of that standard deviation."""
    random = np.random.default_rng(seed)
    means = {letter: 8.0 * random.standard_normal(FEATURES) for letter in sorted({name for name, _ in parts})}
    return np.concatenate(
        [means[name] + noise * random.standard_normal((count, FEATURES)) for name, count in parts]
    )


def grid_of(count: int, units_per_bar: int = 1, metrical: bool = True) -> Grid:
    return Grid(2.0 / units_per_bar * np.arange(count + 1, dtype=np.float64), units_per_bar, metrical)


@pytest.mark.parametrize("seed", range(5))
def test_boundaries_are_where_the_sound_changes(seed: int) -> None:
    features = bars(("A", 8), ("B", 16), ("A", 8), ("C", 12), seed=seed)
    assert segment(features, grid_of(44)) == [0, 8, 24, 32, 44]


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_is_one_segment(seed: int) -> None:
    assert segment(bars(("A", 60), noise=5.0, seed=seed), grid_of(60)) == [0, 60]


def test_what_never_changes_is_not_divided_below_the_longest_segment() -> None:
    assert segment(np.ones((40, FEATURES)), grid_of(40)) == [0, 40]
    assert len(segment(np.ones((200, FEATURES)), grid_of(200))) - 1 == -(-200 // LONGEST_BARS)


def test_a_fill_in_the_last_bar_does_not_move_the_boundary() -> None:
    """The bar before each change sounds a little more like the next part; the phrase of 8 bars decides."""
    features = bars(("A", 16), ("B", 16), ("A", 16), ("C", 16))
    for change in (16, 32, 48):
        features[change - 1] = 0.48 * features[change - 2] + 0.52 * features[change]
    assert segment(features, grid_of(64)) == [0, 16, 32, 48, 64]


@pytest.mark.parametrize(("length", "starts"), [(1, [0, 40]), (8, [0, 16, 24, 40])])
def test_a_change_that_makes_a_section_is_only_a_fill_if_it_is_short(length: int, starts: list[int]) -> None:
    features = bars(("A", 16), ("B", 8), ("A", 16))
    fill = features[16 : 16 + length].copy()
    features[16:24] = features[:8][::-1]
    features[16 : 16 + length] = 0.7 * features[16 : 16 + length] + 0.3 * fill
    assert segment(features, grid_of(40)) == starts


def test_steps_without_beats_are_segmented_too() -> None:
    features = np.repeat(bars(("A", 9), ("B", 11)), 4, axis=0)
    assert segment(features, grid_of(80, units_per_bar=4, metrical=False)) == [0, 36, 80]


def test_the_number_of_segments_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    features = bars(*[("AB"[n % 2], 8) for n in range(12)])
    assert len(segment(features, grid_of(96))) - 1 == 12
    monkeypatch.setattr(segmentation, "MOST_SEGMENTS", 6)
    assert len(segment(features, grid_of(96))) - 1 <= 6


def test_clarity_is_high_for_a_change_and_low_for_none() -> None:
    features = bars(("A", 8), ("B", 8), ("B", 8))
    first, change, none = clarities(features, [0, 8, 16, 24], 1)
    assert change > 0.9
    assert first == change
    assert none < 0.2
    assert clarities(features, [0, 24], 1).tolist() == [0.0]


def test_alike_segments_have_the_same_cluster() -> None:
    features = bars(("A", 8), ("B", 8), ("A", 8), ("C", 8), ("B", 8))
    starts = [0, 8, 16, 24, 32, 40]
    assert cluster(features, starts, penalty(features, 1)) == [0, 1, 0, 2, 1]
    assert cluster(features, starts, np.inf) == [0, 0, 0, 0, 0]
    assert cluster(features, starts, 0.0) == [0, 1, 2, 3, 4]


def test_clusters_join_in_the_order_of_least_cost() -> None:
    """A direct implementation of Ward's method is the oracle."""
    random = np.random.default_rng(3)
    features = random.standard_normal((60, 3))
    starts = [0, *sorted(random.choice(np.arange(1, 60), 14, replace=False).tolist()), 60]
    for limit in (0.5, 1.0, 2.0, 5.0):
        groups = [list(range(a, b)) for a, b in itertools.pairwise(starts)]
        while len(groups) > 1:
            cost, i, j = min(
                (spread(features[a + b]) - spread(features[a]) - spread(features[b]), i, j)
                for i, a in enumerate(groups)
                for j, b in enumerate(groups[:i])
            )
            if cost > limit:
                break
            groups[j] += groups.pop(i)
        groups.sort(key=min)
        expected = [next(n for n, group in enumerate(groups) if start in group) for start in starts[:-1]]
        assert cluster(features, starts, limit) == expected


def spread(values: np.ndarray) -> float:
    return float(np.square(values - values.mean(axis=0)).sum())


def test_letters_go_on_after_z() -> None:
    assert [letters(n) for n in (0, 1, 25, 26, 27, 51, 52, 701, 702)] == (
        ["A", "B", "Z", "AA", "AB", "AZ", "BA", "ZZ", "AAA"]
    )

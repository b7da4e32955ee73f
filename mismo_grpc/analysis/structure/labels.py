"""Labels segments by what they sound like: agglomerative clustering of their means (Ward 1963)."""

from __future__ import annotations

import numpy as np

from mismo_grpc.analysis.arrays import Values

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def cluster(features: Values, starts: list[int], limit: float) -> list[int]:
    """The cluster of each segment, numbered in the order of their first segments.

    `features` are [units, features]; `starts` the first units of the segments, and the number of units. The two
    clusters whose union adds the least to the squared deviations from the means are joined as long as it adds at most
    `limit`. Takes memory for the square of the number of segments.
    """
    sizes = np.diff(starts).astype(np.float64)
    means = np.add.reduceat(features, starts[:-1], axis=0) / sizes[:, np.newaxis]
    members = [[index] for index in range(len(sizes))]
    costs = np.full((len(sizes), len(sizes)), np.inf)
    for index in range(len(sizes)):
        costs[index, :index] = _union_costs(sizes[:index], means[:index], sizes[index], means[index])
    while True:
        later, earlier = divmod(int(np.argmin(costs)), len(sizes))
        if later == earlier or costs[later, earlier] > limit:
            break
        total = sizes[earlier] + sizes[later]
        means[earlier] = (sizes[earlier] * means[earlier] + sizes[later] * means[later]) / total
        sizes[earlier] = total
        members[earlier] += members[later]
        members[later] = []
        costs[later, :] = costs[:, later] = np.inf
        updated = _union_costs(sizes, means, sizes[earlier], means[earlier])
        open_ones = np.array([bool(group) for group in members])
        open_ones[earlier] = False
        costs[earlier, :earlier] = np.where(open_ones[:earlier], updated[:earlier], np.inf)
        costs[earlier + 1 :, earlier] = np.where(open_ones[earlier + 1 :], updated[earlier + 1 :], np.inf)
    numbers = [0] * len(sizes)
    for number, group in enumerate(sorted((group for group in members if group), key=min)):
        for index in group:
            numbers[index] = number
    return numbers


def letters(number: int) -> str:
    """A, B, ..., Z, AA, AB, ... for 0, 1, ..., 25, 26, 27, ..."""
    text = ""
    number += 1
    while number > 0:
        number, place = divmod(number - 1, len(LETTERS))
        text = LETTERS[place] + text
    return text


def _union_costs(sizes: Values, means: Values, size: float, mean: Values) -> Values:
    """By how much the squared deviations grow if a cluster is joined to each of the others (Ward 1963)."""
    costs: Values = sizes * size / (sizes + size) * np.square(means - mean).sum(axis=1)
    return costs

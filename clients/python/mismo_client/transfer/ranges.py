"""Which parts of a line are covered already."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class Ranges:
    """A set of whole numbers, kept as sorted, separate, not adjacent half-open ranges."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> list[tuple[int, int]]:
        """Adds [start, end) and answers the parts of it that were not there before."""
        if start >= end:
            return []
        # Ranges that overlap or touch the new one.
        first, last = bisect_left(self._ends, start), bisect_right(self._starts, end)
        new: list[tuple[int, int]] = []
        reached = start
        for known_start, known_end in zip(self._starts[first:last], self._ends[first:last], strict=True):
            if reached < known_start:
                new.append((reached, known_start))
            reached = max(reached, known_end)
        if reached < end:
            new.append((reached, end))
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last], self._ends[first:last] = [start], [end]
        return new

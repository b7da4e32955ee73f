"""Sets of integers as ranges, for ready frames and finished segments."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class RangeSet:
    """An immutable set of integers held as sorted half-open ranges that do not touch.

    Used for frames (ready audio) and for segment indexes (finished work).
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        starts: list[int] = []
        ends: list[int] = []
        for start, end in sorted(r for r in ranges if r[0] < r[1]):
            if ends and start <= ends[-1]:
                ends[-1] = max(ends[-1], end)
            else:
                starts.append(start)
                ends.append(end)
        self._starts = starts
        self._ends = ends

    def add(self, start: int, end: int) -> RangeSet:
        """Returns this set plus [start, end)."""
        return RangeSet((*self, (start, end)))

    def union(self, ranges: Iterable[tuple[int, int]]) -> RangeSet:
        """Returns this set plus all of `ranges`."""
        return RangeSet((*self, *ranges))

    def remove(self, start: int, end: int) -> RangeSet:
        """Returns this set without [start, end)."""
        kept = [(s, min(e, start)) for s, e in self] + [(max(s, end), e) for s, e in self]
        return RangeSet((s, e) for s, e in kept if s < e)

    def end_of(self, start: int) -> int:
        """Returns the end of the range that contains `start`; `start` itself if none does."""
        i = bisect_right(self._starts, start) - 1
        return max(start, self._ends[i]) if i >= 0 else start

    def covers(self, start: int, end: int) -> bool:
        """Whether all of [start, end) is in the set."""
        return start >= end or self.end_of(start) >= end

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """Returns the parts of [start, end) that are not in the set."""
        gaps: list[tuple[int, int]] = []
        at = start
        for s, e in self:
            if e <= at:
                continue
            if s >= end:
                break
            if s > at:
                gaps.append((at, s))
            at = max(at, e)
        if at < end:
            gaps.append((at, end))
        return gaps

    @property
    def total(self) -> int:
        """How many integers the set holds."""
        return sum(self._ends) - sum(self._starts)

    def __contains__(self, value: int) -> bool:
        return self.end_of(value) > value

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._starts, self._ends, strict=True)))

    def __len__(self) -> int:
        return len(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self._starts == other._starts and self._ends == other._ends

    def __hash__(self) -> int:
        return hash((tuple(self._starts), tuple(self._ends)))

    def __repr__(self) -> str:
        return f"RangeSet({list(self)})"

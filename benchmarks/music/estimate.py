"""The estimates of an analyser for one song, and the time and the memory that the analyser took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")

Spans = tuple[tuple[float, float, str], ...]
"""Start and end in seconds, and the label."""


@dataclass
class Estimate:
    """Times in seconds; `key` as in "Eb minor", "" if none was found; chords in Harte's syntax.

    None says that there is no such analysis.

    `seconds` has the time that each stage took, `peak_rss` the largest memory of the process until then in bytes.
    """

    tempo: float | None = None
    beats: tuple[float, ...] | None = None
    downbeats: tuple[float, ...] | None = None
    beats_per_bar: int | None = None
    key: str | None = None
    chords: Spans | None = None
    sections: Spans | None = None
    beat_tracker: str = ""
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    peak_rss: int = 0

    def timed(self, stage: str, function: Callable[[], T]) -> T:
        """Calls the function and records the time of the stage."""
        begin = perf_counter()
        answer = function()
        self.seconds[stage] = perf_counter() - begin
        return answer

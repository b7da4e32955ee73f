"""The memory that an analysis takes, and how that grows with the length of a track."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

from mismo_grpc.analysis.mix import MixFile
from tests.unit.analysis.signals import Samples

SHORT_MINUTES, LONG_MINUTES = 4, 12


def peak_bytes(call: Callable[[], object]) -> int:
    """The most bytes that the call allocates at once, as Python and numpy count them; mapped files do not count."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def growth_a_second(analyse: Callable[[MixFile], object], minute: Samples, rate: int, folder: Path) -> float:
    """The bytes of memory that each further second of a track takes.

    The track repeats a minute of audio, [frames, channels].
    """
    peaks: list[int] = []
    for minutes in (SHORT_MINUTES, LONG_MINUTES):
        mix = MixFile(folder / f"{minutes}.f32", minutes * len(minute), minute.shape[1], rate)
        mix.path.write_bytes(minutes * minute.astype("<f4").tobytes())
        peaks.append(peak_bytes(lambda mix=mix: analyse(mix)))
    return (peaks[1] - peaks[0]) / (60 * (LONG_MINUTES - SHORT_MINUTES))

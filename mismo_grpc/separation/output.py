"""Writes final samples to the stem files, directly or through a rate converter."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mismo_grpc.audio.checksum import crc32c
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.rates import RateConverter
from mismo_grpc.separation.stems import StemSet
from mismo_grpc.separation.work_record import FinishedRange, WorkRecord

Samples = npt.NDArray[np.float32]


class StemOutput:
    """Writes final samples to the stem files, converted if the files have another sample rate.

    Conversion needs neighbouring samples, so final samples are stored in the file `unconverted` at the model's rate.
    Raises OSError if there is no room for that file.
    """

    def __init__(
        self, stems: StemSet, converter: RateConverter | None, unconverted: Path, model_frames: int
    ) -> None:
        self._stems = stems
        self._converter = converter
        self._store: npt.NDArray[np.float32] | None = None
        if converter is not None:
            shape = (len(stems.layout.stem_names), model_frames, stems.layout.channels)
            _reserve(unconverted, 4 * int(np.prod(shape)))
            self._store = np.memmap(unconverted, dtype="<f4", mode="r+", shape=shape)

    def intact(self, record: WorkRecord) -> tuple[RangeSet, RangeSet]:
        """Returns the final and the ready frames of an earlier process whose checksums still match."""
        ready = RangeSet((each.start, each.end) for each in record.found_ready if self._stems.intact(each))
        if self._store is None:
            return ready, ready
        store, total = self._store, self._store.shape[1]
        final = RangeSet(
            (each.start, each.end)
            for each in record.found_final
            if 0 <= each.start <= each.end <= total
            and _checksum(store[:, each.start : each.end]) == each.crc32c
        )
        return final, ready

    def write(
        self, parts: list[tuple[int, Samples]], final: RangeSet
    ) -> tuple[list[FinishedRange], list[FinishedRange]]:
        """Writes parts (first frame, samples [stems, frames, channels]) that became final; `final` are those before.

        Returns the newly final and the newly ready ranges, to be recorded. Raises OSError.
        """
        if self._converter is None or self._store is None:
            written = [self._stems.write(start, part) for start, part in parts]
            return written, written
        converter = self._converter
        fresh: list[FinishedRange] = []
        for start, part in parts:
            end = start + part.shape[1]
            self._store[:, start:end] = part
            fresh.append(FinishedRange(start, end, _checksum(part)))
        ready: list[FinishedRange] = []
        now_final = final.union([(each.start, each.end) for each in fresh])
        for group in converter.computable(now_final, self._stems.ready):
            low, high = converter.needs(group)
            converted = converter.convert(group, self._store[:, low:high])
            ready.append(self._stems.write(converter.span(group)[0], converted))
        return fresh, ready


def _checksum(samples: Samples) -> tuple[int, ...]:
    return (crc32c(np.ascontiguousarray(samples, dtype="<f4").tobytes()),)


def _reserve(path: Path, size: int) -> None:
    """Creates a file of `size` bytes, or keeps an existing one; its space is allocated.

    Without allocated space, a write through a memory map on a full disk would kill the process (SIGBUS).
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if os.fstat(descriptor).st_size != size:
            os.ftruncate(descriptor, 0)
            os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)

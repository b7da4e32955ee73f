"""The work journal: an append-only record of what a run has finished, from which a restarted server resumes.

The journal holds one JSON value a line. The first line identifies the work: boot, model, mix, layout, segments. A
journal of other work, or an unreadable one, is ignored. Each further line is one change. Every finished range has the
CRC-32C of its bytes in each stem, so that a resuming process can check the files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from mismo_grpc.separation.ranges import RangeSet


@dataclass(frozen=True)
class FinishedRange:
    """Frames [start, end) that were written; `crc32c` has the checksum of their bytes in each file."""

    start: int
    end: int
    crc32c: tuple[int, ...]


class WorkRecord:
    """The segments and frames that are finished, in memory and in a journal. One writer at a time.

    `done` holds the indexes of finished segments, `final` the final frames at the model's rate. `found_final` and
    `found_ready` are the ranges that an earlier process recorded; the caller must check them.
    """

    def __init__(self, path: Path, work: Mapping[str, object], *, trusted: bool = True) -> None:
        """Opens an existing journal if it is `trusted` and of this `work`, else creates a new one.

        `work` must be JSON data. Raises OSError if the journal cannot be written.
        """
        self.done = RangeSet()
        self.final = RangeSet()
        self.found_final: list[FinishedRange] = []
        self.found_ready: list[FinishedRange] = []
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._size = self._resume(_plain(work)) if trusted else 0
            os.ftruncate(self._descriptor, self._size)
            if self._size == 0:
                self._append(_plain(work))
        except BaseException:
            self.close()
            raise

    def _resume(self, work: object) -> int:
        """Reads the journal; returns the number of its valid bytes, 0 if it is of other work."""
        good = 0
        content = _read_all(self._descriptor)
        try:
            for number, line in enumerate(content.splitlines(keepends=True)):
                if not line.endswith(b"\n"):
                    break
                entry = json.loads(line)
                if number == 0:
                    if entry != work:
                        return 0
                else:
                    self._replay(cast("dict[str, Any]", entry))
                good += len(line)
        except (ValueError, KeyError, TypeError):
            # Lines after an unreadable one are ignored: they may be remains of other content.
            pass
        return good

    def _replay(self, entry: dict[str, Any]) -> None:
        final, ready = _ranges(entry["final"]), _ranges(entry["ready"])
        done = RangeSet((int(s), int(e)) for s, e in entry["done"])
        self.found_final += final
        self.found_ready += ready
        self.done = done

    def keep_only(self, done: RangeSet, final: RangeSet) -> None:
        """Records that only this work of an earlier process passed the check; raises OSError."""
        if done != self.done:
            self._append({"final": [], "ready": [], "done": list(done)})
        self.done, self.final = done, final
        self.found_final, self.found_ready = [], []

    def commit(
        self,
        segment: int | None,
        final: Sequence[FinishedRange],
        ready: Sequence[FinishedRange],
        lost: Iterable[int] = (),
    ) -> None:
        """Records a segment as done, ranges as final and ready, and `lost` segments as not done.

        Raises OSError, and then nothing is recorded.
        """
        done = self.done if segment is None else self.done.add(segment, segment + 1)
        for index in lost:
            done = done.remove(index, index + 1)
        self._append({"final": _dump(final), "ready": _dump(ready), "done": list(done)})
        self.done = done
        self.final = self.final.union([(each.start, each.end) for each in final])

    def _append(self, entry: object) -> None:
        data = json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n"
        try:
            left, offset = data, self._size
            while left:
                written = os.pwrite(self._descriptor, left, offset)
                left, offset = left[written:], offset + written
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)

    def close(self) -> None:
        """Closes the journal; can be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _plain(value: object) -> object:
    return json.loads(json.dumps(value))


def _dump(ranges: Sequence[FinishedRange]) -> list[list[object]]:
    return [[each.start, each.end, list(each.crc32c)] for each in ranges]


def _ranges(entries: Iterable[tuple[int, int, list[int]]]) -> list[FinishedRange]:
    return [FinishedRange(int(s), int(e), tuple(int(c) for c in crcs)) for s, e, crcs in entries]


def _read_all(descriptor: int) -> bytes:
    blocks: list[bytes] = []
    offset = 0
    while block := os.pread(descriptor, 1 << 20, offset):
        blocks.append(block)
        offset += len(block)
    return b"".join(blocks)

"""The growing result: one WAV file a stem, of its final size from the start, and a map of what is ready.

The peaks that waveforms are drawn from grow beside the map: a finished file is not read again for them.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from mismo_grpc.audio.encode import Encoding, pcm_s16, sample_bytes, to_pcm
from mismo_grpc.audio.peaks import PeakFile
from mismo_grpc.audio.wav import wav_header
from mismo_grpc.separation.ranges import RangeSet

PEAKS_FILE = "peaks"
"""Beside the state."""
RECOUNT_FRAMES = 1 << 18


@dataclass(frozen=True)
class StemLayout:
    """What the stems of a job are; `encoding` is that of the files, `sample_rate` in Hz."""

    stem_names: tuple[str, ...]
    sample_rate: int
    channels: int
    total_frames: int
    encoding: Encoding

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame in the files."""
        return self.channels * sample_bytes(self.encoding)

    @property
    def stem_bytes(self) -> int:
        """Bytes of one stem's samples."""
        return self.total_frames * self.frame_bytes


class StemSet:
    """Stem files that are written at offsets by the engine and read at once by anyone; thread-safe.

    `state_path` holds the ready ranges and finished tiles, so that a restart goes on where it was; what it says is
    ready is also in `peaks`, which finished files do not have.
    """

    def __init__(self, folder: Path, layout: StemLayout, state_path: Path | None = None) -> None:
        """Makes or takes up growing files; without a `state_path` opens finished ones, to read only.

        Raises OSError if the disk is full, FileNotFoundError if finished files are missing or not whole.
        """
        self.layout = layout
        self.folder = folder
        self._state_path = state_path
        self._lock = threading.Lock()
        self._ready = RangeSet()
        self._final = RangeSet()
        self._done = RangeSet()
        self._listeners: dict[int, Callable[[], None]] = {}
        self._next_listener = 0
        header = wav_header(layout.encoding, layout.total_frames, layout.sample_rate, layout.channels)
        self._header_bytes = len(header)
        self._files: list[int] = []
        self.peaks: PeakFile | None = None
        try:
            if state_path is None:
                for name in layout.stem_names:
                    self._files.append(self._open_finished(folder / f"{name}.wav"))
                self._ready = RangeSet([(0, layout.total_frames)])
            else:
                folder.mkdir(parents=True, exist_ok=True)
                for name in layout.stem_names:
                    self._files.append(self._open_growing(folder / f"{name}.wav", header))
                path = state_path.with_name(PEAKS_FILE)
                self.peaks = PeakFile(path, len(layout.stem_names), layout.total_frames)
        except BaseException:
            self.close()
            raise

    def _open_finished(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDONLY)
        if os.fstat(descriptor).st_size < self._header_bytes + self.layout.stem_bytes:
            os.close(descriptor)
            raise FileNotFoundError(f"stem file {path.name} is not whole")
        return descriptor

    def _open_growing(self, path: Path, header: bytes) -> int:
        size = len(header) + self.layout.stem_bytes
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if os.fstat(descriptor).st_size != size or os.pread(descriptor, len(header), 0) != header:
                os.ftruncate(descriptor, 0)
                # Reserves the room now: a full disk shows before any work is done, not in the middle.
                os.posix_fallocate(descriptor, 0, size)
                os.pwrite(descriptor, header, 0)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    @property
    def ready(self) -> RangeSet:
        """The frames that are final."""
        return self._ready

    @property
    def final(self) -> RangeSet:
        """The frames at the model's rate that are final; the same as `ready` unless the rate is converted."""
        return self._final

    @property
    def done(self) -> RangeSet:
        """The indexes of the finished tiles."""
        return self._done

    def restore(self) -> None:
        """Takes up the persisted state, if there is one that fits the layout; raises OSError."""
        assert self._state_path is not None
        assert self.peaks is not None
        state: dict[str, Any] = {}
        with suppress(FileNotFoundError, ValueError):
            state = cast("dict[str, Any]", json.loads(self._state_path.read_text()))
        if state.get("frames") == self.layout.total_frames and state.get("stems") == list(
            self.layout.stem_names
        ):
            self._ready = RangeSet(cast("list[tuple[int, int]]", [tuple(r) for r in state["ready"]]))
            self._final = RangeSet(cast("list[tuple[int, int]]", [tuple(r) for r in state["final"]]))
            self._done = RangeSet(cast("list[tuple[int, int]]", [tuple(r) for r in state["done"]]))
            if self.peaks.fresh:
                self._recount_peaks(self.peaks)
        elif not self.peaks.fresh:
            self.peaks.clear()
        self.peaks.keep()

    def _recount_peaks(self, peaks: PeakFile) -> None:
        """The peaks of what was ready when their file was lost, or before this version kept one."""
        for start, end in self._ready:
            for first in range(start, end, RECOUNT_FRAMES):
                for index in range(len(self._files)):
                    pcm = self.read(index, first, min(RECOUNT_FRAMES, end - first))
                    peaks.add(index, first, pcm_s16(pcm, self.layout.encoding, self.layout.channels))

    def forget_tiles(self, kept: RangeSet) -> None:
        """Keeps only these finished tiles (those whose waiting pieces were lost run again)."""
        self._done = kept

    def write(self, start_frame: int, samples: npt.NDArray[np.float32]) -> None:
        """Writes final samples [stems, frames, channels] at their place; `commit` makes them readable."""
        layout = self.layout
        offset = self._header_bytes + start_frame * layout.frame_bytes
        for index, (descriptor, stem) in enumerate(zip(self._files, samples, strict=True)):
            pcm = to_pcm(stem, layout.encoding)
            _pwrite_all(descriptor, pcm.data, offset)
            if self.peaks is not None:
                self.peaks.add(index, start_frame, pcm_s16(pcm, layout.encoding, layout.channels))

    def commit(self, tile: int, final: list[tuple[int, int]], ready: list[tuple[int, int]]) -> None:
        """Records a tile as done and ranges as final and as ready, persists that, and wakes the readers."""
        state = (self._ready.union(ready), self._final.union(final), self._done.add(tile, tile + 1))
        self._persist(*state)
        with self._lock:
            self._ready, self._final, self._done = state
            listeners = list(self._listeners.values())
        for listener in listeners:
            listener()

    def _persist(self, ready: RangeSet, final: RangeSet, done: RangeSet) -> None:
        assert self._state_path is not None
        state = {
            "frames": self.layout.total_frames,
            "stems": list(self.layout.stem_names),
            "ready": list(ready),
            "final": list(final),
            "done": list(done),
        }
        temporary = self._state_path.with_suffix(".tmp")
        temporary.write_text(json.dumps(state))
        os.replace(temporary, self._state_path)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls `listener` (in the engine's thread) after each commit; answers how to end that."""
        with self._lock:
            key = self._next_listener
            self._next_listener += 1
            self._listeners[key] = listener

        def unsubscribe() -> None:
            with self._lock:
                self._listeners.pop(key, None)

        return unsubscribe

    def read(self, stem_index: int, start_frame: int, frame_count: int) -> bytes:
        """Samples of one stem in the files' encoding; the caller asks only for ready frames."""
        size = frame_count * self.layout.frame_bytes
        offset = self._header_bytes + start_frame * self.layout.frame_bytes
        data = os.pread(self._files[stem_index], size, offset)
        while len(data) < size:
            more = os.pread(self._files[stem_index], size - len(data), offset + len(data))
            if not more:
                raise EOFError(f"stem file {self.layout.stem_names[stem_index]} is shorter than its layout")
            data += more
        return data

    @property
    def header_bytes(self) -> int:
        """Bytes before the samples in each file."""
        return self._header_bytes

    def close(self) -> None:
        """Closes the files."""
        while self._files:
            os.close(self._files.pop())
        if self.peaks is not None:
            self.peaks.close()


def _pwrite_all(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data = data[written:]
        offset += written

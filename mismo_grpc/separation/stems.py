"""The stem set of a job: one growing WAV file for each stem, with its final size from the start, and the ready frames.

The peaks for waveforms are updated at every write, so finished files are not read again for them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mismo_grpc.audio.checksum import crc32c
from mismo_grpc.audio.encode import Encoding, pcm_s16, sample_bytes, to_pcm
from mismo_grpc.audio.peaks import PeakFile
from mismo_grpc.audio.wav import wav_header
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.work_record import FinishedRange

BLOCK_FRAMES = 1 << 18
"""Frames read in one go when a whole range is read."""


@dataclass(frozen=True)
class StemLayout:
    """The format of a job's stem files; `sample_rate` in Hz."""

    stem_names: tuple[str, ...]
    sample_rate: int
    channels: int
    total_frames: int
    encoding: Encoding

    @property
    def frame_bytes(self) -> int:
        """The bytes of one frame in the files."""
        return self.channels * sample_bytes(self.encoding)

    @property
    def stem_bytes(self) -> int:
        """The bytes of one stem's samples."""
        return self.total_frames * self.frame_bytes


class StemSet:
    """Stem files, which the engine writes in any order while others read what is ready; thread-safe.

    `peaks` is the file of peaks of growing files, None for finished ones.
    """

    def __init__(self, folder: Path, layout: StemLayout, peaks: Path | None = None) -> None:
        """Creates growing files and their peaks, or opens existing ones; without `peaks` opens finished files to read.

        Raises OSError if the disk is full, FileNotFoundError if finished files are missing or incomplete.
        """
        self.layout = layout
        self.folder = folder
        self._lock = threading.Lock()
        self._ready = RangeSet()
        self._listeners: dict[int, Callable[[], None]] = {}
        self._next_listener = 0
        self._header = wav_header(layout.encoding, layout.total_frames, layout.sample_rate, layout.channels)
        self._files: list[int] = []
        self.peaks: PeakFile | None = None
        try:
            if peaks is None:
                for name in layout.stem_names:
                    self._files.append(self._open_finished(folder / f"{name}.wav"))
                self._ready = RangeSet([(0, layout.total_frames)])
            else:
                folder.mkdir(parents=True, exist_ok=True)
                for name in layout.stem_names:
                    self._files.append(self._open_growing(folder / f"{name}.wav"))
                self.peaks = PeakFile(peaks, len(layout.stem_names), layout.total_frames)
        except BaseException:
            self.close()
            raise

    def _open_finished(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDONLY)
        if not self._is_whole(descriptor):
            os.close(descriptor)
            raise FileNotFoundError(f"stem file {path.name} is incomplete")
        return descriptor

    def _is_whole(self, descriptor: int) -> bool:
        size = len(self._header) + self.layout.stem_bytes
        # A padding byte may follow that makes the size even.
        fits = size <= os.fstat(descriptor).st_size <= size + 1
        return fits and os.pread(descriptor, len(self._header), 0) == self._header

    def _open_growing(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not self._is_whole(descriptor):
                os.ftruncate(descriptor, 0)
                # Reserves the room now, so that a full disk fails the job before any work is done.
                os.posix_fallocate(descriptor, 0, len(self._header) + self.layout.stem_bytes)
                os.pwrite(descriptor, self._header, 0)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    @property
    def ready(self) -> RangeSet:
        """The frames that are final and can be read."""
        return self._ready

    def intact(self, found: FinishedRange) -> bool:
        """Whether the content of a recorded range still matches its checksums; reads the range."""
        if not 0 <= found.start <= found.end <= self.layout.total_frames:
            return False
        return self._checksums(found.start, found.end) == found.crc32c

    def _checksums(self, start: int, end: int) -> tuple[int, ...]:
        sums: list[int] = []
        for index in range(len(self._files)):
            crc = 0
            for first in range(start, end, BLOCK_FRAMES):
                crc = crc32c(self.read(index, first, min(BLOCK_FRAMES, end - first)), crc)
            sums.append(crc)
        return tuple(sums)

    def resume(self, ready: RangeSet) -> None:
        """Makes frames readable that an earlier process has written; raises OSError."""
        assert self.peaks is not None
        self._ready = ready
        if self.peaks.incomplete:
            self._recount_peaks(self.peaks)
        elif not ready:
            self.peaks.clear()
        self.peaks.mark_complete()

    def _recount_peaks(self, peaks: PeakFile) -> None:
        """Computes the peaks of the ready frames again after their file was lost."""
        for start, end in self._ready:
            for first in range(start, end, BLOCK_FRAMES):
                for index in range(len(self._files)):
                    pcm = self.read(index, first, min(BLOCK_FRAMES, end - first))
                    peaks.add(index, first, pcm_s16(pcm, self.layout.encoding, self.layout.channels))

    def take_peaks(self, path: Path, *, trusted: bool) -> PeakFile:
        """The peaks of finished stems, in a file at `path`; the caller closes them.

        A file that is there is taken up if it is `trusted` to be whole, else the stems are read for it. Raises OSError.
        """
        if not trusted:
            path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        peaks = PeakFile(path, len(self._files), self.layout.total_frames)
        try:
            if peaks.incomplete:
                self._recount_peaks(peaks)
            peaks.mark_complete()
        except BaseException:
            peaks.close()
            raise
        return peaks

    def write(self, start_frame: int, samples: npt.NDArray[np.float32]) -> FinishedRange:
        """Writes final samples [stems, frames, channels] at `start_frame`; `publish` makes them readable.

        Raises OSError.
        """
        layout = self.layout
        offset = len(self._header) + start_frame * layout.frame_bytes
        sums: list[int] = []
        for index, (descriptor, stem) in enumerate(zip(self._files, samples, strict=True)):
            pcm = to_pcm(stem, layout.encoding)
            _pwrite_all(descriptor, pcm.data, offset)
            sums.append(crc32c(pcm.tobytes()))
            if self.peaks is not None:
                self.peaks.add(index, start_frame, pcm_s16(pcm, layout.encoding, layout.channels))
        return FinishedRange(start_frame, start_frame + samples.shape[1], tuple(sums))

    def publish(self, ready: Iterable[tuple[int, int]]) -> None:
        """Makes written frames readable, and calls the listeners."""
        with self._lock:
            self._ready = self._ready.union(ready)
            listeners = list(self._listeners.values())
        for listener in listeners:
            listener()

    def sync(self) -> None:
        """Syncs the files, so that their samples survive a power cut. Raises OSError."""
        for descriptor in self._files:
            os.fdatasync(descriptor)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls `listener` (in the engine's thread) after each `publish`; returns a function that ends this."""
        with self._lock:
            key = self._next_listener
            self._next_listener += 1
            self._listeners[key] = listener

        def unsubscribe() -> None:
            with self._lock:
                self._listeners.pop(key, None)

        return unsubscribe

    def read(self, stem_index: int, start_frame: int, frame_count: int) -> bytes:
        """Reads samples of one stem in the files' encoding; the frames must be ready."""
        size = frame_count * self.layout.frame_bytes
        offset = len(self._header) + start_frame * self.layout.frame_bytes
        data = os.pread(self._files[stem_index], size, offset)
        while len(data) < size:
            more = os.pread(self._files[stem_index], size - len(data), offset + len(data))
            if not more:
                raise EOFError(f"stem file {self.layout.stem_names[stem_index]} is shorter than its layout")
            data += more
        return data

    @property
    def header_bytes(self) -> int:
        """The bytes before the samples in each file."""
        return len(self._header)

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

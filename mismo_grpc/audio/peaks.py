"""Waveforms for drawing a track: the lowest and the highest sample of every few frames.

A sample is the mean of a frame's channels at 16 bits, truncated towards zero. The files are therefore equal, to the
last bit, to those that audiowaveform (github.com/bbc/audiowaveform, doc/DataFormat.md) makes of the same samples.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

FRAMES_PER_PIXEL = 256
"""Frames a pixel of the finest level; the coarser levels are merged from it."""
ZOOM_LEVELS = {1: 16384, 2: 4096, 3: 1024}
"""Frames a point of each zoom level of the waveforms in callbacks."""

_DAT_VERSION = 2
_DAT_HEADER = struct.Struct("<iIiiIi")
"""Header fields: version, flags (0: 16 bits), sample rate, frames a pixel, pixels, channels."""
_PIXEL_BYTES = 4
_JSON_PIXELS = 1 << 12
"""Pixels formatted in one go: about a millisecond, in which no other Python thread can run."""


Peaks = npt.NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class Waveform:
    """`peaks` is [pixels, 2], the lowest and the highest sample of every `frames_per_pixel` frames; rate in Hz."""

    sample_rate: int
    frames_per_pixel: int
    peaks: Peaks

    def at(self, frames_per_pixel: int) -> Waveform:
        """Returns a coarser level; raises ValueError unless `frames_per_pixel` is a multiple of this level's."""
        factor, rest = divmod(frames_per_pixel, self.frames_per_pixel)
        if factor < 1 or rest:
            raise ValueError(f"{frames_per_pixel} is no multiple of {self.frames_per_pixel} frames a pixel")
        if factor == 1 or len(self.peaks) == 0:
            return Waveform(self.sample_rate, frames_per_pixel, self.peaks)
        cuts = np.arange(0, len(self.peaks), factor)
        low = np.minimum.reduceat(self.peaks[:, 0], cuts)
        high = np.maximum.reduceat(self.peaks[:, 1], cuts)
        return Waveform(self.sample_rate, frames_per_pixel, np.stack([low, high], axis=1))

    def to_dat(self) -> bytes:
        """Encodes an audiowaveform .dat file, version 2 with one channel of 16 bits."""
        header = _DAT_HEADER.pack(
            _DAT_VERSION, 0, self.sample_rate, self.frames_per_pixel, len(self.peaks), 1
        )
        return header + self.peaks.astype("<i2").tobytes()

    @classmethod
    def from_dat(cls, content: bytes) -> Waveform:
        """Reads what `to_dat` wrote; raises ValueError for anything else."""
        sample_rate, frames_per_pixel, _ = _parse_header(content, len(content))
        peaks = np.frombuffer(content, "<i2", offset=_DAT_HEADER.size).reshape(-1, 2)
        return cls(sample_rate, frames_per_pixel, peaks.astype(np.int16, copy=False))

    def write_json(self, file: TextIO) -> None:
        """Writes audiowaveform's JSON block by block; as one Python string it would take many times the memory."""
        file.write(
            f'{{"version":{_DAT_VERSION},"channels":1,"sample_rate":{self.sample_rate},'
            f'"samples_per_pixel":{self.frames_per_pixel},"bits":16,"length":{len(self.peaks)},"data":['
        )
        for first in range(0, len(self.peaks), _JSON_PIXELS):
            block: list[int] = self.peaks[first : first + _JSON_PIXELS].reshape(-1).tolist()
            file.write("," if first else "")
            file.write(",".join(map(str, block)))
        file.write("]}\n")


def waveforms_document(
    waveforms: Mapping[str, Waveform], levels: Sequence[int] = tuple(ZOOM_LEVELS)
) -> list[dict[str, object]]:
    """Returns the field `waveforms` of a callback: one entry for each stem and zoom level, coarsest first.

    `data` is the larger magnitude of the two peaks, 0 to 1 with four decimals. Points are 16384 frames apart at
    level 1, 4096 at 2, 1024 at 3. Raises KeyError for any other level.
    """
    document: list[dict[str, object]] = []
    for stem, waveform in waveforms.items():
        for level in levels:
            peaks = waveform.at(ZOOM_LEVELS[level]).peaks.astype(np.float64)
            sizes: npt.NDArray[np.float64] = np.abs(peaks).max(axis=1) / 32768
            document.append({"zoom_level": level, "stem_type": stem, "data": sizes.round(4).tolist()})
    return document


class PeakFile:
    """The peaks of `tracks` tracks of `frames` frames; frames may be added in any order and more than once.

    The peaks are stored in a file, so a killed process loses none that it added. The file holds 32767 - low and
    high + 32768 as unsigned numbers: an unwritten pixel is then 0, and merging is taking the larger. One writer at
    a time.
    """

    def __init__(self, path: Path, tracks: int, frames: int) -> None:
        """Opens the existing file at `path`, or creates one; raises OSError if there is no room for it."""
        self._path = path
        self._tracks = tracks
        self._frames = frames
        self._pixels = -(-frames // FRAMES_PER_PIXEL)
        self._descriptor = -1
        self.incomplete = False
        """Whether the file is new and not yet marked complete: peaks of samples written earlier are missing."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            if os.fstat(descriptor).st_size == self._bytes:
                self._descriptor = descriptor
                return
            os.close(descriptor)
        except FileNotFoundError:
            pass
        self.incomplete = True
        self._descriptor = os.open(self._incomplete_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self.clear()
        except BaseException:
            self.close()
            raise

    @property
    def _bytes(self) -> int:
        return self._tracks * self._pixels * _PIXEL_BYTES

    @property
    def _incomplete_path(self) -> Path:
        return self._path.with_name(f"{self._path.name}.new")

    def clear(self) -> None:
        """Discards all peaks; raises OSError if there is no room."""
        os.ftruncate(self._descriptor, 0)
        # Reserves the room now, so that a full disk fails the job before any work is done.
        os.posix_fallocate(self._descriptor, 0, max(1, self._bytes))
        os.ftruncate(self._descriptor, self._bytes)

    def mark_complete(self) -> None:
        """Marks a new file as complete: it has the peaks of all samples written so far, and is reused when reopened."""
        if self.incomplete:
            os.replace(self._incomplete_path, self._path)
            self.incomplete = False

    def add(self, track: int, start: int, samples: npt.NDArray[np.int16]) -> None:
        """Adds frames of a track, [frames, channels], that begin at frame `start`.

        Raises ValueError for frames outside the track, OSError if the file cannot be written.
        """
        count, channels = samples.shape
        if not (0 <= track < self._tracks and start >= 0 and start + count <= self._frames):
            raise ValueError("peaks of frames outside the track")
        if count == 0:
            return
        sums: npt.NDArray[np.integer] = samples[:, 0]
        for channel in range(1, channels):
            sums = np.add(sums, samples[:, channel], dtype=np.int32)
        pixel, inside = divmod(start, FRAMES_PER_PIXEL)
        cuts: npt.NDArray[np.intp] = np.arange(-inside, count, FRAMES_PER_PIXEL, dtype=np.intp)
        cuts[0] = 0
        # Division preserves the order of sums, so only the minima and maxima need dividing.
        new = np.empty((len(cuts), 2), "<u2")
        new[:, 0] = 32767 - _divided(np.minimum.reduceat(sums, cuts), channels)
        new[:, 1] = 32768 + _divided(np.maximum.reduceat(sums, cuts), channels)
        offset = (track * self._pixels + pixel) * _PIXEL_BYTES
        old = np.frombuffer(self._pread(new.nbytes, offset), "<u2").reshape(-1, 2)
        self._pwrite(np.maximum(new, old).tobytes(), offset)

    def waveform(self, track: int, sample_rate: int) -> Waveform:
        """Returns a track's waveform at the finest level, 4 bytes a pixel; frames not added yet count as silence."""
        return Waveform(sample_rate, FRAMES_PER_PIXEL, self.read(track, 0, self._pixels))

    def read(self, track: int, first_pixel: int, pixel_count: int) -> Peaks:
        """Reads a part of `waveform(track).peaks`; a pixel is final once all its frames were added.

        Raises ValueError for pixels outside the track, EOFError if the file was cut.
        """
        inside = 0 <= first_pixel <= first_pixel + pixel_count <= self._pixels
        if not (inside and 0 <= track < self._tracks):
            raise ValueError("pixels outside the track")
        offset = (track * self._pixels + first_pixel) * _PIXEL_BYTES
        raw = np.frombuffer(self._pread(pixel_count * _PIXEL_BYTES, offset), "<u2").reshape(-1, 2)
        peaks = np.stack([32767 - raw[:, 0].astype(np.int32), raw[:, 1].astype(np.int32) - 32768], axis=1)
        peaks[peaks[:, 0] > peaks[:, 1]] = 0
        return peaks.astype(np.int16)

    def _pread(self, size: int, offset: int) -> bytes:
        return _pread_all(self._descriptor, size, offset)

    def _pwrite(self, data: bytes, offset: int) -> None:
        left = memoryview(data)
        while left:
            written = os.pwrite(self._descriptor, left, offset)
            left, offset = left[written:], offset + written

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class DatFile:
    """A file that `Waveform.to_dat` wrote, opened to be read in parts; sizes are in pixels, `sample_rate` in Hz."""

    def __init__(self, path: Path) -> None:
        """Raises OSError if it cannot be opened, ValueError if it is of another kind or was cut."""
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            header = os.pread(self._descriptor, _DAT_HEADER.size, 0)
            size = os.fstat(self._descriptor).st_size
            self.sample_rate, self.frames_per_pixel, self.pixels = _parse_header(header, size)
        except BaseException:
            self.close()
            raise

    def read(self, first_pixel: int, pixel_count: int) -> Peaks:
        """Lowest and highest sample of these pixels, [pixels, 2]; raises ValueError for pixels outside the track."""
        if not 0 <= first_pixel <= first_pixel + pixel_count <= self.pixels:
            raise ValueError("pixels outside the track")
        offset = _DAT_HEADER.size + first_pixel * _PIXEL_BYTES
        data = _pread_all(self._descriptor, pixel_count * _PIXEL_BYTES, offset)
        return np.frombuffer(data, "<i2").reshape(-1, 2).astype(np.int16, copy=False)

    def close(self) -> None:
        """Closes the file; closing twice is fine."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _parse_header(content: bytes, file_bytes: int) -> tuple[int, int, int]:
    """Sample rate, frames a pixel and pixels of a .dat file of that size; raises ValueError if it is none."""
    if len(content) < _DAT_HEADER.size:
        raise ValueError("a waveform file is shorter than its header")
    version, flags, sample_rate, frames_per_pixel, length, channels = _DAT_HEADER.unpack_from(content)
    if (version, flags, channels) != (_DAT_VERSION, 0, 1):
        raise ValueError("a waveform file is not of version 2 with one channel of 16 bits")
    if frames_per_pixel < 1 or file_bytes != _DAT_HEADER.size + _PIXEL_BYTES * length:
        raise ValueError("a waveform file is not as long as its header says")
    return sample_rate, frames_per_pixel, length


def _pread_all(descriptor: int, size: int, offset: int) -> bytes:
    data = os.pread(descriptor, size, offset)
    while len(data) < size:
        more = os.pread(descriptor, size - len(data), offset + len(data))
        if not more:
            raise EOFError("the file of peaks became shorter")
        data += more
    return data


def _divided(sums: npt.NDArray[np.integer], channels: int) -> npt.NDArray[np.int32]:
    """Divides integers as C does, truncating towards zero."""
    wide = sums.astype(np.int32)
    return np.sign(wide) * (np.abs(wide) // channels)

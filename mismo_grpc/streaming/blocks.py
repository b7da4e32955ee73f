"""Audio of growing stems in the encoding a client wants: blocks that are cut into slices.

Blocks are PCM, cut at any frame, or FLAC, cut between its frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import google_crc32c

from mismo_grpc.audio.encode import Encoding, convert_pcm, pcm_integers, sample_bytes
from mismo_grpc.audio.flac import BLOCK_FRAMES, FlacBlocks
from mismo_grpc.errors import InvalidFieldError, StemNotFoundError
from mismo_grpc.separation.stems import StemLayout

DEFAULT_CHUNK_BYTES = 65_536
MIN_CHUNK_BYTES = 4_096
MAX_CHUNK_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class AudioSlice:
    """Consecutive audio of one stem as it is sent."""

    start_frame: int
    frame_count: int
    data: bytes


class Block(Protocol):
    """Consecutive audio of one stem that is cut off from its front."""

    def cut(self, limit: int, allowance: int) -> AudioSlice | None:
        """The next slice: at most `limit` bytes (FLAC: one FLAC frame may pass it), never more than
        `allowance`; None where not even the smallest slice fits that."""
        ...

    @property
    def empty(self) -> bool:
        """All of it was cut off."""
        ...


class PcmBlock:
    """PCM, cut at any frame."""

    def __init__(self, start_frame: int, data: bytes, frame_bytes: int) -> None:
        self._data = memoryview(data)
        self._at = 0
        self._start_frame = start_frame
        self._frame_bytes = frame_bytes

    @property
    def empty(self) -> bool:
        return self._at >= len(self._data)

    def cut(self, limit: int, allowance: int) -> AudioSlice | None:
        size = min(limit, allowance, len(self._data) - self._at)
        frames = size // self._frame_bytes
        if frames == 0:
            return None
        start = self._at
        self._at += frames * self._frame_bytes
        audio = AudioSlice(self._start_frame, frames, bytes(self._data[start : self._at]))
        self._start_frame += frames
        return audio


class FlacBlock:
    """FLAC frames, cut between them; each holds BLOCK_FRAMES frames of audio, the track's last one fewer."""

    def __init__(self, start_frame: int, end_frame: int, flac_frames: Sequence[bytes]) -> None:
        self._frames = deque(flac_frames)
        self._start_frame = start_frame
        self._end_frame = end_frame

    @property
    def empty(self) -> bool:
        return not self._frames

    def cut(self, limit: int, allowance: int) -> AudioSlice | None:
        taken: list[bytes] = []
        size = 0
        while self._frames:
            total = size + len(self._frames[0])
            if total > allowance or (taken and total > limit):
                break
            size = total
            taken.append(self._frames.popleft())
        if not taken:
            return None
        start = self._start_frame
        self._start_frame = min(start + len(taken) * BLOCK_FRAMES, self._end_frame)
        return AudioSlice(start, self._start_frame - start, b"".join(taken))


class WireFormat:
    """How stems of one layout travel in one encoding."""

    def __init__(self, layout: StemLayout, encoding: Encoding) -> None:
        self.layout = layout
        self.encoding = encoding
        self.unit_frames = BLOCK_FRAMES if encoding is Encoding.FLAC else 1
        """Audio is cut at multiples of this, or at the end of the track."""
        sized_as = layout.encoding if encoding is Encoding.FLAC else encoding
        self.frame_bytes = layout.channels * sample_bytes(sized_as)
        """Of one frame as PCM; the upper bound for FLAC, but for its frame headers."""
        self._flac: FlacBlocks | None = None
        if encoding is Encoding.FLAC:
            try:
                self._flac = FlacBlocks(
                    layout.sample_rate, layout.channels, 16 if layout.encoding is Encoding.PCM_S16LE else 24
                )
            except ValueError as error:
                raise InvalidFieldError(
                    "encoding: FLAC does not fit these stems; ask for PCM", field="encoding"
                ) from error

    @property
    def codec_header(self) -> bytes:
        """FLAC's stream header; empty for PCM."""
        return self._flac.stream_header(self.layout.total_frames) if self._flac is not None else b""

    def align(self, frame: int) -> int:
        """The start of the unit that holds a frame; the end of the track stays what it is."""
        return frame if frame >= self.layout.total_frames else frame - frame % self.unit_frames

    def align_up(self, frame: int) -> int:
        """The end of the last unit that is needed for the frames before `frame`."""
        return min(frame + -frame % self.unit_frames, self.layout.total_frames)

    def blocks(self, start_frame: int, frame_count: int, stored: Sequence[bytes]) -> list[Block]:
        """Stored audio of the same frames of several stems, made ready to be cut; encoding takes its time."""
        if self.encoding is self.layout.encoding:
            return [PcmBlock(start_frame, data, self.frame_bytes) for data in stored]
        return [self._block(start_frame, frame_count, data) for data in stored]

    def _block(self, start_frame: int, frame_count: int, stored: bytes) -> Block:
        layout = self.layout
        if self._flac is None:
            data = convert_pcm(stored, layout.encoding, self.encoding, layout.channels)
            return PcmBlock(start_frame, data, self.frame_bytes)
        samples = pcm_integers(stored, layout.encoding, layout.channels)
        flac_frames = self._flac.encode_blocks(samples, start_frame // BLOCK_FRAMES)
        return FlacBlock(start_frame, start_frame + frame_count, flac_frames)


def choose_stems(layout: StemLayout, names: Sequence[str], field: str) -> list[int]:
    """Positions in the layout of the stems asked for, in the order asked; all if none are named.

    Raises StemNotFoundError, and InvalidFieldError for one that is named twice.
    """
    if not names:
        return list(range(len(layout.stem_names)))
    if len(set(names)) != len(names):
        raise InvalidFieldError(f"{field} names a stem twice; name each once", field=field)
    return [stem_index(layout, name, field) for name in names]


def stem_index(layout: StemLayout, name: str, field: str) -> int:
    """Position of a stem in the layout; raises StemNotFoundError."""
    try:
        return layout.stem_names.index(name)
    except ValueError:
        known = ", ".join(layout.stem_names)
        raise StemNotFoundError(
            f"{field}: this job has no stem {name!r}; it has {known}", field=field
        ) from None


def check_chunk_bytes(chunk_bytes: int, field: str) -> int:
    """The payload of a chunk at most, in bytes; 0 means the default. Raises InvalidFieldError."""
    if chunk_bytes == 0:
        return DEFAULT_CHUNK_BYTES
    if not MIN_CHUNK_BYTES <= chunk_bytes <= MAX_CHUNK_BYTES:
        raise InvalidFieldError(
            f"{field} must be 0 or {MIN_CHUNK_BYTES} to {MAX_CHUNK_BYTES} bytes", field=field
        )
    return chunk_bytes


def check_start_frame(frame: int, total_frames: int, field: str) -> int:
    """A frame of the track or its end. Raises InvalidFieldError."""
    if not 0 <= frame <= total_frames:
        raise InvalidFieldError(f"{field} must be 0 to {total_frames}, the end of the track", field=field)
    return frame


def crc32c(data: bytes) -> int:
    """CRC-32C of a payload."""
    return cast("int", google_crc32c.value(data))

"""Blocks of a stem's audio in the client's encoding, which are cut into slices.

A PCM block is cut at any frame, a FLAC block between its FLAC frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from mismo_grpc.audio.flac import BLOCK_FRAMES

MIN_SLICE_BYTES = 4_096
"""Little credit never makes a slice smaller than this. Otherwise credit granted in small amounts would make all further
chunks small."""


@dataclass(frozen=True, slots=True)
class AudioSlice:
    """Consecutive encoded audio of one stem."""

    start_frame: int
    frame_count: int
    data: bytes


@dataclass(frozen=True, slots=True)
class SliceLimits:
    """The limits of a slice.

    `chunk_bytes` and `chunk_frames` limit every slice, but a slice of one FLAC frame may exceed them. `credit_bytes`
    and `credit_frames` are the client's credit, which no slice exceeds.
    """

    chunk_bytes: int
    chunk_frames: int
    credit_bytes: int
    credit_frames: int


@dataclass(frozen=True, slots=True)
class Shortage:
    """How much credit is missing for the next slice."""

    missing_bytes: int
    missing_frames: int

    def exceeds(self, other: Shortage) -> bool:
        """Whether more bytes or more frames are missing than `other` says."""
        return self.missing_bytes > other.missing_bytes or self.missing_frames > other.missing_frames


class Hash(Protocol):
    """A running checksum, like those of hashlib."""

    def update(self, data: bytes, /) -> None:
        """Adds bytes."""
        ...


class Block(Protocol):
    """Consecutive audio of one stem, from whose front slices are cut. Do not cut an empty block."""

    def cut(self, limits: SliceLimits) -> AudioSlice | Shortage:
        """Cuts the next slice, or returns the credit that is missing for the smallest allowed slice."""
        ...

    def is_short(self, chunk_frames: int) -> bool:
        """Whether the rest is too short for a slice of MIN_SLICE_BYTES and for one of `chunk_frames`."""
        ...

    def put_before(self, following: Block) -> Block:
        """Joins the rest of this block with the block that follows it."""
        ...

    def hash_into(self, checksum: Hash) -> None:
        """Adds the bytes of the rest to a checksum."""
        ...

    @property
    def empty(self) -> bool:
        """Whether all of it has been cut off."""
        ...


class PcmBlock:
    """A PCM block, cut at any frame."""

    def __init__(self, start_frame: int, data: bytes, frame_bytes: int) -> None:
        self._data = memoryview(data)
        self._at = 0
        self._start_frame = start_frame
        self._frame_bytes = frame_bytes

    @property
    def empty(self) -> bool:
        return self._at >= len(self._data)

    @property
    def _frames(self) -> int:
        return (len(self._data) - self._at) // self._frame_bytes

    def is_short(self, chunk_frames: int) -> bool:
        return self._frames < min(self._least_frames, chunk_frames)

    @property
    def _least_frames(self) -> int:
        return -(-MIN_SLICE_BYTES // self._frame_bytes)

    def put_before(self, following: Block) -> Block:
        if self.empty:
            return following
        assert isinstance(following, PcmBlock)
        data = b"".join((self._data[self._at :], following._data[following._at :]))
        return PcmBlock(self._start_frame, data, self._frame_bytes)

    def hash_into(self, checksum: Hash) -> None:
        checksum.update(bytes(self._data[self._at :]))

    def cut(self, limits: SliceLimits) -> AudioSlice | Shortage:
        most = min(limits.chunk_bytes // self._frame_bytes, limits.chunk_frames, self._frames)
        least = min(most, self._least_frames)
        frames = min(most, limits.credit_bytes // self._frame_bytes, limits.credit_frames)
        if frames < least:
            return Shortage(
                max(0, least * self._frame_bytes - limits.credit_bytes), max(0, least - limits.credit_frames)
            )
        start = self._at
        self._at += frames * self._frame_bytes
        audio = AudioSlice(self._start_frame, frames, bytes(self._data[start : self._at]))
        self._start_frame += frames
        return audio


class FlacBlock:
    """A block of FLAC frames, cut between them; each has BLOCK_FRAMES frames of audio, the last one of a track may have
    fewer.

    FLAC frames of quiet audio have few bytes. So a slice may have fewer than MIN_SLICE_BYTES if it has as many frames
    as are allowed, but never because there are few bytes of credit.
    """

    def __init__(self, start_frame: int, end_frame: int, flac_frames: Sequence[bytes]) -> None:
        self._frames = deque(flac_frames)
        self._start_frame = start_frame
        self._end_frame = end_frame

    @property
    def empty(self) -> bool:
        return not self._frames

    def is_short(self, chunk_frames: int) -> bool:
        return (
            self._end_frame - self._start_frame < chunk_frames
            and sum(map(len, self._frames)) < MIN_SLICE_BYTES
        )

    def put_before(self, following: Block) -> Block:
        if self.empty:
            return following
        assert isinstance(following, FlacBlock)
        return FlacBlock(self._start_frame, following._end_frame, [*self._frames, *following._frames])

    def hash_into(self, checksum: Hash) -> None:
        for flac_frame in self._frames:
            checksum.update(flac_frame)

    def cut(self, limits: SliceLimits) -> AudioSlice | Shortage:
        sizes = self._allowed_sizes(limits)
        if not sizes:
            first = min(BLOCK_FRAMES, self._end_frame - self._start_frame)
            return Shortage(
                max(0, len(self._frames[0]) - limits.credit_bytes), max(0, first - limits.credit_frames)
            )
        least = next((size for size in sizes if size >= MIN_SLICE_BYTES), sizes[-1])
        if least > limits.credit_bytes:
            return Shortage(least - limits.credit_bytes, 0)
        count = sum(size <= limits.credit_bytes for size in sizes)
        taken = [self._frames.popleft() for _ in range(count)]
        start = self._start_frame
        self._start_frame = min(start + count * BLOCK_FRAMES, self._end_frame)
        return AudioSlice(start, self._start_frame - start, b"".join(taken))

    def _allowed_sizes(self, limits: SliceLimits) -> list[int]:
        """The sizes in bytes of the slices that all limits except `credit_bytes` allow, ascending."""
        sizes: list[int] = []
        size = 0
        most = min(limits.credit_frames, max(limits.chunk_frames, BLOCK_FRAMES))
        for count, flac_frame in enumerate(islice(self._frames, -(-most // BLOCK_FRAMES)), 1):
            size += len(flac_frame)
            end = min(self._start_frame + count * BLOCK_FRAMES, self._end_frame)
            if end - self._start_frame > most or (sizes and size > limits.chunk_bytes):
                break
            sizes.append(size)
        return sizes

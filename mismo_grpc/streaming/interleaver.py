"""Reads several stems in blocks and returns their slices in the order of time.

A block of all stems is about a megabyte and is read by one call in a thread. While it is cut into slices, the next one
is read.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mismo_grpc.completion import run_to_completion
from mismo_grpc.streaming.blocks import AudioSlice, Block, Shortage, SliceLimits
from mismo_grpc.streaming.reader import StemReader
from mismo_grpc.streaming.wire_format import WireFormat

BLOCK_BYTES = 1 << 20
FIRST_BLOCK_BYTES = 1 << 16
BLOCK_GROWTH = 4
"""Each block may be this many times larger than the one before. The first one after a start is small, so that it is
ready soon."""


@dataclass(frozen=True)
class _Span:
    """A block to read, of stems (by their position in the interleaver) that were read up to the same frame."""

    positions: tuple[int, ...]
    start_frame: int
    end_frame: int


@dataclass(frozen=True)
class _Read:
    """The result of reading a span: a block for each stem, and each stem's checksum up to the end of its block."""

    blocks: list[Block]
    checksums: list[Any]


class StemInterleaver:
    """Interleaves several stems, each from its own start frame; the stem that is furthest behind comes next.

    `stem_indexes` are positions in the source's layout; the interleaver counts its stems from 0 in that order. It ends
    at `end_frame`. No slice has more than `chunk_bytes` (FLAC: one FLAC frame may exceed it). With `checksums` it
    hashes the slices, in the thread that reads.
    """

    def __init__(
        self,
        source: StemReader,
        wire_format: WireFormat,
        stem_indexes: Sequence[int],
        starts: Sequence[int],
        end_frame: int,
        chunk_bytes: int,
        *,
        checksums: bool = False,
    ) -> None:
        self._source = source
        self._format = wire_format
        self._stem_indexes = tuple(stem_indexes)
        self._end_frame = end_frame
        self._chunk_bytes = chunk_bytes
        self._with_checksums = checksums
        self.chunk_frames = wire_format.chunk_frames(chunk_bytes)
        """The most frames of a slice."""
        self._reading: tuple[_Span, asyncio.Task[_Read]] | None = None
        self._dropped: deque[asyncio.Task[_Read]] = deque()
        self._set_cursors(starts)

    def _set_cursors(self, starts: Sequence[int]) -> None:
        self.starts = tuple(self._format.align(start) for start in starts)
        """The start frame of each stem."""
        self._cursors = list(self.starts)
        self._read_to = list(self.starts)
        self._blocks: list[Block | None] = [None] * len(self.starts)
        self._checksums: list[Any] = [hashlib.sha256() for _ in self.starts]
        unit = self._format.unit_frames
        # Encoding is slow: the first block of FLAC is one FLAC frame of each stem.
        self._most_frames = unit if unit > 1 else FIRST_BLOCK_BYTES // self._format.frame_bytes
        """The most frames of the next block."""

    async def restart(self, frame: int) -> None:
        """Drops the blocks that were read; all stems continue at `frame`."""
        await self._drop_reading()
        self._set_cursors([frame] * len(self._cursors))

    async def _drop_reading(self) -> None:
        """Abandons a running read, so that nobody waits for it; at most one abandoned read is left running."""
        if self._reading is not None:
            if self._source.reads_end_at_once:
                self._reading[1].cancel()
            self._dropped.append(self._reading[1])
            self._reading = None
        await self._end_dropped(1)

    async def _end_dropped(self, most: int) -> None:
        """Waits until at most `most` dropped reads are running."""
        while len(self._dropped) > most:
            await asyncio.wait([self._dropped[0]])
            dropped = self._dropped.popleft()
            if not dropped.cancelled():
                dropped.exception()  # Marks the error as retrieved; the next read meets it again.

    async def close(self) -> None:
        """Waits for running reads, even if it is cancelled meanwhile, so that the source can be closed."""
        await run_to_completion(self._end_reads())

    async def _end_reads(self) -> None:
        await self._drop_reading()
        await self._end_dropped(0)

    @property
    def frame(self) -> int:
        """The lowest frame of all stems that has not been sent."""
        return min(self._cursors)

    def cursor(self, position: int) -> int:
        """The first frame of a stem that has not been sent."""
        return self._cursors[position]

    def ended(self, position: int) -> bool:
        """Whether a stem was sent up to the end."""
        return self._cursors[position] >= self._end_frame

    def sha256(self, position: int) -> str:
        """The hash of all slices of a stem that has ended, from its start frame on, in lower-case hex."""
        return self._checksums[position].hexdigest()

    def next(self) -> int | None:
        """The stem to send next; None at the end."""
        frame = self.frame
        return self._cursors.index(frame) if frame < self._end_frame else None

    def loaded(self, position: int) -> bool:
        """Whether a slice of that stem can be cut without reading.

        If the rest of a block is short and more frames are final, the next block is read first, so that no slice is
        small because a block ends.
        """
        block = self._blocks[position]
        if block is None or block.empty:
            return False
        read_to = self._read_to[position]
        return not block.is_short(self.chunk_frames) or self._final_end(read_to) <= read_to

    def _final_end(self, start: int) -> int:
        """The end of the frames that can be read from `start` on: final frames, whole units, up to `end_frame`."""
        ready = min(self._source.ready_end(start), self._end_frame)
        return ready if ready >= self._end_frame else max(start, ready - ready % self._format.unit_frames)

    def missing(self) -> int | None:
        """The first frame that must become ready before a block can be read; None if there is none."""
        frame = min(self._read_to)
        needed = self._format.align_up(frame + 1)
        ready = self._source.ready_end(frame)
        return ready if ready < needed else None

    def cut(
        self, position: int, chunk_bytes: int, credit_bytes: int, credit_frames: int
    ) -> AudioSlice | Shortage:
        """Cuts the next slice of a loaded stem, or returns the credit that is missing for it."""
        block = self._blocks[position]
        assert block is not None
        audio = block.cut(SliceLimits(chunk_bytes, self.chunk_frames, credit_bytes, credit_frames))
        if isinstance(audio, AudioSlice):
            self._cursors[position] += audio.frame_count
        return audio

    async def load(self, credit_bytes: int, credit_frames: int) -> None:
        """Reads the next block of all stems that were read up to the lowest frame.

        The credit determines its size, between one chunk for each stem and BLOCK_BYTES for all; after a start it is
        smaller. The block after it is read ahead only if the credit allows more than this block.
        """
        span = self._span(self._read_to, credit_bytes, credit_frames)
        reading = self._reading
        if reading is not None and (reading[0].start_frame, reading[0].positions) == (
            span.start_frame,
            span.positions,
        ):
            span, task = reading
        else:
            await self._drop_reading()
            task = self._begin(span)
        # If this wait is cancelled the thread continues to read: `close` waits for it before the files are closed.
        read = await asyncio.shield(task)
        self._reading = None
        self._most_frames = min(self._most_frames * BLOCK_GROWTH, BLOCK_BYTES)
        for number, position in enumerate(span.positions):
            before, block = self._blocks[position], read.blocks[number]
            self._blocks[position] = block if before is None else before.put_before(block)
            self._read_to[position] = span.end_frame
            if self._with_checksums:
                self._checksums[position] = read.checksums[number]
        self._read_ahead(span, credit_bytes, credit_frames)

    def _span(self, read_to: Sequence[int], credit_bytes: int, credit_frames: int) -> _Span:
        start = min(read_to)
        positions = tuple(i for i, frame in enumerate(read_to) if frame == start)
        unit = self._format.unit_frames
        least = self.chunk_frames
        frames = max(least, BLOCK_BYTES // (self._format.frame_bytes * len(positions)))
        if unit == 1:
            # The size of a FLAC block is known only after encoding, so bytes of credit do not limit it.
            frames = min(frames, max(least, credit_bytes // (self._format.frame_bytes * len(positions))))
        frames = min(frames, max(least, credit_frames), self._most_frames)
        frames = max(unit, frames - frames % unit)
        # The block ends where a stem further ahead begins: from there on one read can serve both.
        further = [frame for frame in read_to if frame > start]
        end = min(start + frames, self._end_frame, *further)
        return _Span(positions, start, min(end, self._final_end(start)))

    def _read_ahead(self, span: _Span, credit_bytes: int, credit_frames: int) -> None:
        frames = span.end_frame - span.start_frame
        credit_bytes -= frames * self._format.frame_bytes * len(span.positions)
        credit_frames -= frames
        if credit_bytes <= 0 or credit_frames <= 0 or span.end_frame >= self._end_frame:
            return
        following = self._span(self._read_to, credit_bytes, credit_frames)
        if following.end_frame > following.start_frame:
            self._begin(following)

    def _begin(self, span: _Span) -> asyncio.Task[_Read]:
        task = asyncio.ensure_future(self._read(span))
        self._reading = (span, task)
        return task

    async def _read(self, span: _Span) -> _Read:
        frames = span.end_frame - span.start_frame
        # Copies, because a span that was read ahead may be dropped.
        checksums = [self._checksums[p].copy() for p in span.positions] if self._with_checksums else []
        return await self._source.read(
            [self._stem_indexes[p] for p in span.positions],
            span.start_frame,
            frames,
            partial(self._prepare, span.start_frame, frames, checksums),
        )

    def _prepare(
        self, start_frame: int, frame_count: int, checksums: list[Any], stored: Sequence[bytes]
    ) -> _Read:
        blocks = self._format.blocks(start_frame, frame_count, stored)
        for block, checksum in zip(blocks, checksums, strict=False):
            block.hash_into(checksum)
        return _Read(blocks, checksums)

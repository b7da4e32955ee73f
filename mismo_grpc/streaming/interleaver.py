"""Several stems read in blocks and handed out in the order of time.

A block is about a megabyte over all stems: one hop to a thread fetches it, and while it is cut
into slices the next one is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mismo_grpc.streaming.blocks import AudioSlice, Block, WireFormat
from mismo_grpc.streaming.reader import StemReader

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class _Span:
    """A block to read: some stems (by their position here) that stand at the same frame."""

    positions: tuple[int, ...]
    start_frame: int
    end_frame: int


class StemInterleaver:
    """Several stems from frames of their own, always the one that is furthest behind next.

    `stem_indexes` are positions in the source's layout; the interleaver counts its stems from 0 in that order.
    It ends at `end_frame`.
    """

    def __init__(
        self,
        source: StemReader,
        wire_format: WireFormat,
        stem_indexes: Sequence[int],
        starts: Sequence[int],
        end_frame: int,
    ) -> None:
        self._source = source
        self._format = wire_format
        self._stem_indexes = tuple(stem_indexes)
        self._end_frame = end_frame
        self._cursors: list[int] = []
        self._blocks: list[Block | None] = []
        self._reading: tuple[_Span, asyncio.Task[list[Block]]] | None = None
        self._set_cursors(starts)

    def _set_cursors(self, starts: Sequence[int]) -> None:
        self._cursors = [self._format.align(start) for start in starts]
        self._blocks = [None] * len(self._cursors)

    async def restart(self, frame: int) -> None:
        """Drops what was read; all stems go on at `frame`."""
        await self.close()
        self._set_cursors([frame] * len(self._cursors))

    async def close(self) -> None:
        """Waits for a read that is under way, so that the source can be closed."""
        if self._reading is not None:
            _, task = self._reading
            await asyncio.wait([task])
            self._reading = None
            if not task.cancelled():
                task.exception()  # Nobody wants it any more; the next read meets the same error.

    @property
    def frame(self) -> int:
        """The first frame that is not sent yet, over all stems."""
        return min(self._cursors)

    def cursor(self, position: int) -> int:
        """The first frame of a stem that is not sent yet."""
        return self._cursors[position]

    def ended(self, position: int) -> bool:
        """Whether a stem was sent up to the end."""
        return self._cursors[position] >= self._end_frame

    def next(self) -> int | None:
        """The stem to be sent next; None at the end."""
        frame = self.frame
        return self._cursors.index(frame) if frame < self._end_frame else None

    def loaded(self, position: int) -> bool:
        """Whether a slice of that stem can be cut without reading."""
        block = self._blocks[position]
        return block is not None and not block.empty

    def missing(self) -> int | None:
        """The first frame that must become ready before anything can be read; None if there is none."""
        frame = self.frame
        needed = self._format.align_up(frame + 1)
        ready = self._source.ready_end(frame)
        return ready if ready < needed else None

    def cut(self, position: int, limit: int, allowance: int) -> AudioSlice | None:
        """The next slice of a loaded stem; None if it does not fit the allowance."""
        block = self._blocks[position]
        if block is None:
            return None
        audio = block.cut(limit, allowance)
        if audio is not None:
            self._cursors[position] += audio.frame_count
        return audio

    async def load(self, chunk_bytes: int, allowance: int) -> None:
        """Reads the next block of all stems that stand at the lowest frame.

        It is as large as the allowance asks for, between one chunk a stem and BLOCK_BYTES over all; only if
        more than the block is allowed, the one after it is read ahead.
        """
        span = self._span(self._cursors, chunk_bytes, allowance)
        reading = self._reading
        if reading is not None and (reading[0].start_frame, reading[0].positions) == (
            span.start_frame,
            span.positions,
        ):
            span, task = reading
        else:
            await self.close()
            task = self._begin(span)
        # If this wait is cancelled the thread still reads: `close` waits for it, then the files may be closed.
        blocks = await asyncio.shield(task)
        self._reading = None
        for position, block in zip(span.positions, blocks, strict=True):
            self._blocks[position] = block
        self._read_ahead(span, chunk_bytes, allowance)

    def _span(self, cursors: Sequence[int], chunk_bytes: int, allowance: int) -> _Span:
        start = min(cursors)
        positions = tuple(i for i, cursor in enumerate(cursors) if cursor == start)
        unit = self._format.unit_frames
        # What FLAC makes of a block is known only after the work, so its blocks are whole ones.
        budget = BLOCK_BYTES if unit > 1 else max(min(allowance, BLOCK_BYTES), chunk_bytes * len(positions))
        frames = max(unit, budget // (self._format.frame_bytes * len(positions)) // unit * unit)
        # Stems further on are met, not passed: from there on one read serves them too.
        further = [cursor for cursor in cursors if cursor > start]
        end = min(start + frames, self._end_frame, *further)
        ready = self._source.ready_end(start)
        if ready < end:
            end = ready - ready % unit
        return _Span(positions, start, end)

    def _read_ahead(self, span: _Span, chunk_bytes: int, allowance: int) -> None:
        allowance -= (span.end_frame - span.start_frame) * self._format.frame_bytes * len(span.positions)
        if allowance <= 0 or span.end_frame >= self._end_frame:
            return
        cursors = list(self._cursors)
        for position in span.positions:
            cursors[position] = span.end_frame
        following = self._span(cursors, chunk_bytes, allowance)
        if following.end_frame > following.start_frame:
            self._begin(following)

    def _begin(self, span: _Span) -> asyncio.Task[list[Block]]:
        task = asyncio.ensure_future(self._read(span))
        self._reading = (span, task)
        return task

    async def _read(self, span: _Span) -> list[Block]:
        frames = span.end_frame - span.start_frame
        return await self._source.read(
            [self._stem_indexes[p] for p in span.positions],
            span.start_frame,
            frames,
            partial(self._format.blocks, span.start_frame, frames),
        )

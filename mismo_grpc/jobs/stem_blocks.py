"""Audio of growing stems in the encoding a client wants, read in blocks and cut into pieces.

A block is about a megabyte over all stems: one hop to a thread fetches it, and while it is cut
into pieces the next one is read. Blocks are PCM, cut at any frame, or FLAC, cut between its frames.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar, cast

import google_crc32c

from mismo_grpc.audio.encode import Encoding, convert_pcm, pcm_integers, sample_bytes
from mismo_grpc.audio.flac import BLOCK_FRAMES, FlacBlocks
from mismo_grpc.errors import InvalidFieldError, StemNotFoundError
from mismo_grpc.separation.stems import StemLayout

DEFAULT_CHUNK_BYTES = 65_536
MIN_CHUNK_BYTES = 4_096
MAX_CHUNK_BYTES = 1_048_576
BLOCK_BYTES = 1 << 20

T = TypeVar("T")


class StemSource(Protocol):
    """Growing stems that are read; `jobs.stem_reader.StemReader` is one."""

    @property
    def layout(self) -> StemLayout:
        """What the stems are."""
        ...

    def ready_end(self, start_frame: int) -> int:
        """Frames [start_frame, result) are final; `start_frame` itself where none are."""
        ...

    async def wait_ready(self, start_frame: int, timeout: float) -> bool:
        """True once the frame is final, False after `timeout` seconds; raises the job's error."""
        ...

    async def read(
        self,
        stem_indexes: Sequence[int],
        start_frame: int,
        frame_count: int,
        prepare: Callable[[Sequence[bytes]], T],
    ) -> T:
        """What `prepare` makes of ready frames as stored, one buffer for each stem asked; both in a thread."""
        ...

    def follow(self, player: object, frame: int) -> None:
        """Tells the scheduler where a player is."""
        ...

    def unfollow(self, player: object) -> None:
        """That player is gone."""
        ...

    async def wait_finished(self, timeout: float) -> bool:
        """True once the job has ended and its checksums are known, False after `timeout` seconds."""
        ...

    def sha256(self, stem_index: int) -> str:
        """Of a finished stem's samples, lower-case hex; empty before."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive audio of one stem as it is sent."""

    start_frame: int
    frame_count: int
    data: bytes


class Block(Protocol):
    """Consecutive audio of one stem that is cut off from its front."""

    def cut(self, limit: int, allowance: int) -> Piece | None:
        """The next piece: at most `limit` bytes (FLAC: one FLAC frame may pass it), never more than
        `allowance`; None where not even the smallest piece fits that."""
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

    def cut(self, limit: int, allowance: int) -> Piece | None:
        size = min(limit, allowance, len(self._data) - self._at)
        frames = size // self._frame_bytes
        if frames == 0:
            return None
        start = self._at
        self._at += frames * self._frame_bytes
        piece = Piece(self._start_frame, frames, bytes(self._data[start : self._at]))
        self._start_frame += frames
        return piece


class FlacBlock:
    """FLAC frames, cut between them; each holds BLOCK_FRAMES frames of audio, the track's last one fewer."""

    def __init__(self, start_frame: int, end_frame: int, flac_frames: Sequence[bytes]) -> None:
        self._frames = deque(flac_frames)
        self._start_frame = start_frame
        self._end_frame = end_frame

    @property
    def empty(self) -> bool:
        return not self._frames

    def cut(self, limit: int, allowance: int) -> Piece | None:
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
        return Piece(start, self._start_frame - start, b"".join(taken))


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


@dataclass(frozen=True)
class _Span:
    """A block to read: some stems (by their place in the feed) that stand at the same frame."""

    places: tuple[int, ...]
    start_frame: int
    end_frame: int


class StemFeed:
    """Several stems from frames of their own, always the one that is furthest behind next.

    `stem_indexes` are places in the source's layout; the feed counts its stems from 0 in that order.
    The feed ends at `end_frame`.
    """

    def __init__(
        self,
        source: StemSource,
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
        self._place(starts)

    def _place(self, starts: Sequence[int]) -> None:
        self._cursors = [self._format.align(start) for start in starts]
        self._blocks = [None] * len(self._cursors)

    async def restart(self, frame: int) -> None:
        """Drops what was read; all stems go on at `frame`."""
        await self.close()
        self._place([frame] * len(self._cursors))

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

    def cursor(self, place: int) -> int:
        """The first frame of a stem that is not sent yet."""
        return self._cursors[place]

    def ended(self, place: int) -> bool:
        """Whether a stem was sent up to the end."""
        return self._cursors[place] >= self._end_frame

    def next(self) -> int | None:
        """The stem to be sent next; None at the end."""
        frame = self.frame
        return self._cursors.index(frame) if frame < self._end_frame else None

    def loaded(self, place: int) -> bool:
        """Whether a piece of that stem can be cut without reading."""
        block = self._blocks[place]
        return block is not None and not block.empty

    def missing(self) -> int | None:
        """The first frame that must become ready before anything can be read; None if there is none."""
        frame = self.frame
        needed = self._format.align_up(frame + 1)
        ready = self._source.ready_end(frame)
        return ready if ready < needed else None

    def cut(self, place: int, limit: int, allowance: int) -> Piece | None:
        """The next piece of a loaded stem; None if it does not fit the allowance."""
        block = self._blocks[place]
        if block is None:
            return None
        piece = block.cut(limit, allowance)
        if piece is not None:
            self._cursors[place] += piece.frame_count
        return piece

    async def load(self, chunk_bytes: int, allowance: int) -> None:
        """Reads the next block of all stems that stand at the lowest frame.

        It is as large as the allowance asks for, between one chunk a stem and BLOCK_BYTES over all; only if
        more than the block is allowed, the one after it is read ahead.
        """
        span = self._span(self._cursors, chunk_bytes, allowance)
        reading = self._reading
        if reading is not None and (reading[0].start_frame, reading[0].places) == (
            span.start_frame,
            span.places,
        ):
            span, task = reading
        else:
            await self.close()
            task = self._begin(span)
        # If this wait is cancelled the thread still reads: `close` waits for it, then the files may be closed.
        blocks = await asyncio.shield(task)
        self._reading = None
        for place, block in zip(span.places, blocks, strict=True):
            self._blocks[place] = block
        self._read_ahead(span, chunk_bytes, allowance)

    def _span(self, cursors: Sequence[int], chunk_bytes: int, allowance: int) -> _Span:
        start = min(cursors)
        places = tuple(i for i, cursor in enumerate(cursors) if cursor == start)
        unit = self._format.unit_frames
        # What FLAC makes of a block is known only after the work, so its blocks are whole ones.
        budget = BLOCK_BYTES if unit > 1 else max(min(allowance, BLOCK_BYTES), chunk_bytes * len(places))
        frames = max(unit, budget // (self._format.frame_bytes * len(places)) // unit * unit)
        # Stems further on are met, not passed: from there on one read serves them too.
        further = [cursor for cursor in cursors if cursor > start]
        end = min(start + frames, self._end_frame, *further)
        ready = self._source.ready_end(start)
        if ready < end:
            end = ready - ready % unit
        return _Span(places, start, end)

    def _read_ahead(self, span: _Span, chunk_bytes: int, allowance: int) -> None:
        allowance -= (span.end_frame - span.start_frame) * self._format.frame_bytes * len(span.places)
        if allowance <= 0 or span.end_frame >= self._end_frame:
            return
        cursors = list(self._cursors)
        for place in span.places:
            cursors[place] = span.end_frame
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
            [self._stem_indexes[p] for p in span.places],
            span.start_frame,
            frames,
            partial(self._format.blocks, span.start_frame, frames),
        )


def choose_stems(layout: StemLayout, names: Sequence[str], field: str) -> list[int]:
    """Places in the layout of the stems asked for, in the order asked; all if none are named.

    Raises StemNotFoundError, and InvalidFieldError for one that is named twice.
    """
    if not names:
        return list(range(len(layout.stem_names)))
    if len(set(names)) != len(names):
        raise InvalidFieldError(f"{field} names a stem twice; name each once", field=field)
    return [stem_index(layout, name, field) for name in names]


def stem_index(layout: StemLayout, name: str, field: str) -> int:
    """Place of a stem in the layout; raises StemNotFoundError."""
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

"""One StreamStems session after the track is decoded: credit, interleaving by time, seeks.

The rules:

* Stems are interleaved by time: the stem that is furthest behind is sent next.
* Credit counts payload bytes of all stems together, and, if the client's open grants any, frames of each stem from the
  earliest start of any stem. A chunk is sent only if the credit covers all of it. With less credit the chunk is
  shorter, but not below MIN_SLICE_BYTES, unless the stem or its final frames end there. If the credit does not suffice,
  AwaitingCredit says what is missing: at once, when it became more than the client knows, and at intervals.
* A seek drops the queued audio. Unused bytes of credit remain valid, so at most the granted credit is stale after a
  seek; the frames of credit are replaced by those of the seek. If several seeks wait, only the newest valid one is
  applied. A refused seek grants no credit.
* The first chunks of a generation are small, so that all stems are heard sooner.
* While the next frames are not final, NotReady is sent at once, when its range or reason changes, and at intervals.
* After End the client may still seek; the session ends when the client closes its side or sends nothing for too long.
* If the client closes its side before it granted enough credit, the session sends what the credit covers and ends
  without End.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from mismo_grpc.audio.checksum import crc32c
from mismo_grpc.completion import end_task
from mismo_grpc.errors import InvalidFieldError, StreamIdleError
from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.streaming.blocks import AudioSlice, Shortage
from mismo_grpc.streaming.interleaver import StemInterleaver
from mismo_grpc.streaming.messages import (
    AwaitingCredit,
    Chunk,
    End,
    EndOfStem,
    Info,
    NotReady,
    NotReadyReason,
    Open,
    Seek,
    SeekApplied,
    SeekRefused,
    ServerMessage,
)
from mismo_grpc.streaming.positions import field_of, frame_at, start_frame_of
from mismo_grpc.streaming.reader import StemReader
from mismo_grpc.streaming.stream_control import StreamControl
from mismo_grpc.streaming.wire_format import WireFormat, check_chunk_bytes, choose_stems, info_of

FIRST_CHUNK_BYTES = 8_192
"""The most bytes of each stem's first chunk in a generation; each further chunk may be twice as large, up to the
agreed size."""


class StreamSession:
    """The session after the track is decoded; each `step` produces one message, or waits.

    After `idle_seconds` without a message of the client the session ends. NotReady and AwaitingCredit are repeated
    every `repeat_seconds`.
    """

    def __init__(
        self,
        control: StreamControl,
        opened: Open,
        source: StemReader,
        *,
        idle_seconds: float,
        repeat_seconds: float,
    ) -> None:
        layout = source.layout
        self._control = control
        self._source = source
        self._idle_seconds = idle_seconds
        self._repeat_seconds = repeat_seconds
        self._chunk_bytes = check_chunk_bytes(opened.chunk_bytes, "open.chunk_bytes")
        self._follow = opened.follow
        self._total_frames = layout.total_frames
        self._sample_rate = layout.sample_rate
        self._stems = choose_stems(layout, opened.stem_names, "open.stem_names")
        self._format = WireFormat(layout, opened.encoding)
        starts = start_frames(opened, layout, self._stems)
        self._interleaver = StemInterleaver(
            source,
            self._format,
            self._stems,
            starts,
            layout.total_frames,
            self._chunk_bytes,
            checksums=True,
        )
        self._refused: deque[SeekRefused] = deque()
        self._waiting: tuple[int, asyncio.Future[bool]] | None = None
        self._begin_generation(opened.generation)

    def _begin_generation(self, generation: int) -> None:
        self._generation = generation
        self._first_frame = self._interleaver.frame
        self._sequence = 0
        self._chunks_sent = [0] * len(self._stems)
        self._ended = [position for position in range(len(self._stems)) if self._interleaver.ended(position)]
        self._end_sent = False
        self._followed: int | None = None
        self._stalled_at: float | None = None
        self._told_stalled_at = 0.0
        self._known_shortage: Shortage | None = None
        self._told: tuple[int, int, NotReadyReason] | None = None
        self._told_at = 0.0

    def info(self, server_epoch: str) -> Info:
        """The description of the stream."""
        run, stems = self._source.run, self._source.layout.stem_names
        return info_of(
            run,
            self._format,
            [stems[i] for i in self._stems],
            self._chunk_bytes,
            server_epoch,
            self._idle_seconds,
        )

    async def close(self) -> None:
        """Waits for running reads; afterwards the source can be closed."""
        self._source.unfollow(self)
        waiting = self._forget_wait()
        await self._interleaver.close()
        if waiting is not None:
            await end_task(waiting)

    async def step(self) -> ServerMessage | None:
        """Returns the next message, None if this step only waited or read.

        Raises SessionOver at the end of the session, StreamIdleError, and the job's error.
        """
        seek, refused = self._control.take_seeks(self._frame_of)
        self._refused.extend(self._refusal(each) for each in refused)
        if seek is not None:
            return await self._apply(*seek)
        if self._refused:
            return self._refused.popleft()
        if self._ended:
            return self._end_of_stem(self._ended.pop(0))
        position = self._interleaver.next()
        if position is None:
            return await self._after_the_end()
        if not self._interleaver.loaded(position):
            missing = self._interleaver.missing()
            if missing is not None:
                return await self._await_audio(missing)
            self._told = None
            self._tell_scheduler(every=self._sample_rate)
            await self._interleaver.load(self._control.bytes_left, self._last_frame - self._interleaver.frame)
            return None
        return await self._chunk(position)

    @property
    def _last_frame(self) -> int:
        """The frame up to which the credit allows to send."""
        return self._first_frame + self._control.frames

    # Seeks

    def _frame_of(self, seek: Seek) -> int | None:
        frame = frame_at(seek.start, self._sample_rate)
        return frame if frame < self._total_frames else None

    def _refusal(self, seek: Seek) -> SeekRefused:
        field = field_of(seek.start, "seek.start_frame", "seek.start_time")
        frame = frame_at(seek.start, self._sample_rate)
        return SeekRefused(
            seek.generation,
            f"{field} is frame {frame}; the track ends at {self._total_frames}: seek to a frame before that",
        )

    async def _apply(self, seek: Seek, frame: int) -> SeekApplied:
        self._forget_wait()
        await self._interleaver.restart(frame)
        self._begin_generation(seek.generation)
        self._tell_scheduler(every=1)
        return SeekApplied(seek.generation, self._interleaver.frame)

    # Audio

    async def _chunk(self, position: int) -> Chunk | AwaitingCredit | None:
        sent = self._chunks_sent[position]
        size = min(self._chunk_bytes, FIRST_CHUNK_BYTES << min(sent, 16))
        credit_frames = self._last_frame - self._interleaver.cursor(position)
        audio = self._interleaver.cut(position, size, self._control.bytes_left, credit_frames)
        if isinstance(audio, Shortage):
            return await self._await_credit(audio)
        self._stalled_at = self._known_shortage = None
        self._chunks_sent[position] = sent + 1
        self._control.bytes_left -= len(audio.data)
        if self._interleaver.ended(position):
            self._ended.append(position)
        sequence = self._sequence
        self._sequence += 1
        return self._chunk_message(position, sequence, audio)

    def _chunk_message(self, position: int, sequence: int, audio: AudioSlice) -> Chunk:
        return Chunk(
            position,
            self._generation,
            sequence,
            audio.start_frame,
            audio.frame_count,
            audio.data,
            crc32c(audio.data),
        )

    def _end_of_stem(self, position: int) -> EndOfStem:
        return EndOfStem(
            position,
            self._generation,
            self._interleaver.sha256(position),
            self._interleaver.starts[position],
            self._source.sha256(self._stems[position]),
        )

    # Waits

    async def _await_credit(self, shortage: Shortage) -> AwaitingCredit | None:
        if self._control.half_closed:
            raise SessionOver
        now = self._control.clock()
        if self._stalled_at is None:
            self._stalled_at = now
        patience = self._patience(self._stalled_at)
        if patience <= 0:
            raise StreamIdleError(
                f"credit: none came for {self._idle_seconds:g} s; open the stream again where it stopped",
                field="credit",
            )
        # More can be missing than the client knows: a larger chunk became ready, or credit of frames allows one.
        known, self._known_shortage = self._known_shortage, shortage
        if known is None or shortage.exceeds(known) or now >= self._told_stalled_at + self._repeat_seconds:
            self._told_stalled_at = now
            return AwaitingCredit(self._generation, shortage.missing_bytes, shortage.missing_frames)
        await self._control.change(min(patience, self._told_stalled_at + self._repeat_seconds - now))
        return None

    async def _await_audio(self, missing: int) -> NotReady | None:
        # The reason of an ended job would be a wrong one.
        self._source.check_growing()
        self._tell_scheduler(every=1)
        waits_for = self._waits_for(missing)
        now = self._control.clock()
        if waits_for != self._told or now >= self._told_at + self._repeat_seconds:
            self._forget_wait()
            self._told, self._told_at = waits_for, now
            start, end, reason = waits_for
            return NotReady(self._generation, start, end, reason, self._source.expected_seconds(missing))
        if self._waiting is not None and self._waiting[0] == missing:
            ready = self._waiting[1]
            if not ready.done():
                await self._control.change(None)
                return None
            self._waiting = None
            ready.result()
            return None
        self._forget_wait()
        wait = self._source.wait_ready(
            missing, self._told_at + self._repeat_seconds - now, lambda: self._waits_for(missing) != waits_for
        )
        self._waiting = (missing, asyncio.ensure_future(wait))
        self._waiting[1].add_done_callback(self._control.wake)
        return None

    def _waits_for(self, missing: int) -> tuple[int, int, NotReadyReason]:
        """The range that is not final, from the next frame of the stem that is furthest behind, and the reason."""
        end = self._source.next_ready(missing)
        return self._interleaver.frame, end, self._source.waiting_reason(missing)

    async def _after_the_end(self) -> End | None:
        if not self._end_sent:
            self._end_sent = True
            self._stalled_at = self._control.clock()
            return End(self._generation)
        if self._control.half_closed or not await self._control.change(
            self._patience(self._stalled_at or 0.0)
        ):
            raise SessionOver
        return None

    def _patience(self, since: float) -> float:
        return max(since, self._control.heard_at) + self._idle_seconds - self._control.clock()

    def _tell_scheduler(self, every: int) -> None:
        frame = self._interleaver.frame
        if not self._follow or frame >= self._total_frames:
            return
        if self._followed is None or frame >= self._followed + every:
            self._followed = frame
            self._source.follow(self, frame)

    def _forget_wait(self) -> asyncio.Future[bool] | None:
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return None
        waiting[1].cancel()
        return waiting[1]


class SessionOver(Exception):  # noqa: N818 it is no error
    """The session is complete; the stream ends without an error."""


def start_frames(opened: Open, layout: StemLayout, stems: Sequence[int]) -> list[int]:
    """The start frame of each stem: its resume point, else the common start.

    Raises InvalidFieldError, StemNotFoundError.
    """
    rate, total = layout.sample_rate, layout.total_frames
    start = start_frame_of(opened.start, rate, total, "open.start_frame", "open.start_time")
    points, field = opened.resume_points, "open.resume_points"
    choose_stems(layout, [point.stem_name for point in points], field)
    resumed = {
        point.stem_name: start_frame_of(point.start_frame, rate, total, field, field) for point in points
    }
    asked = [layout.stem_names[i] for i in stems]
    if not resumed.keys() <= set(asked):
        raise InvalidFieldError(f"{field} names a stem that open.stem_names leaves out", field=field)
    return [resumed.get(name, start) for name in asked]

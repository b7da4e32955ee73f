"""One StreamStems session without its transport: credits, interleaving by time, seeks.

The rules, all in one place:

* Stems are interleaved by time: the stem that is furthest behind is sent next.
* Credit is bytes granted minus payload bytes sent, over all stems. A chunk is sent only if its whole
  payload fits; with less credit than a chunk the chunk is shorter. A seek leaves the credit as it is: what
  was granted and not used is still granted, so at most the granted credit is stale after a seek.
* A seek drops what is queued. Of seeks that pile up only the newest is applied; each must carry a greater
  generation than the one before.
* While the next frames are still being made, NotReady tells so at once and then at intervals.
* After End the client may still seek; the session ends when the client closes its side or falls silent.
* A client that closes its side before it granted enough gets what it granted: the session ends without End.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from mismo_grpc.errors import InvalidFieldError, MismoError, StreamIdleError, StreamProtocolError
from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.streaming.blocks import (
    WireFormat,
    check_chunk_bytes,
    check_start_frame,
    choose_stems,
    crc32c,
)
from mismo_grpc.streaming.interleaver import StemInterleaver
from mismo_grpc.streaming.messages import (
    Chunk,
    ClientMessage,
    End,
    EndOfStem,
    Info,
    NotReady,
    Open,
    Seek,
    SeekApplied,
    ServerMessage,
)
from mismo_grpc.streaming.reader import StemReader
from mismo_grpc.streaming.stream_control import StreamControl

KEEPALIVE_SECONDS = 5.0
CHECKSUM_SECONDS = 10.0
"""How long the end of a stem waits for the sum of a job that is just being finished."""
OPENING_SECONDS = 0.1
"""A finished job opens within this; only after it the client is told to wait."""


class StreamSession:
    """The session once the track is decoded: each `step` is one message, or a wait."""

    def __init__(
        self,
        control: StreamControl,
        opened: Open,
        source: StemReader,
        *,
        idle_seconds: float,
        keepalive_seconds: float,
    ) -> None:
        layout = source.layout
        self._control = control
        self._source = source
        self._idle_seconds = idle_seconds
        self._keepalive_seconds = keepalive_seconds
        self._chunk_bytes = check_chunk_bytes(opened.chunk_bytes, "open.chunk_bytes")
        self._follow = opened.follow
        self._total_frames = layout.total_frames
        self._sample_rate = layout.sample_rate
        self._stems = choose_stems(layout, opened.stem_names, "open.stem_names")
        self._format = WireFormat(layout, opened.encoding)
        starts = start_frames(opened, layout, self._stems)
        self._interleaver = StemInterleaver(source, self._format, self._stems, starts, layout.total_frames)
        self._generation = 0
        self._sequence = 0
        self._ended: list[int] = []
        self._end_sent = False
        self._followed: int | None = None
        self._waiting: tuple[int, asyncio.Future[bool]] | None = None
        self._summing: asyncio.Future[bool] | None = None
        self._stalled_at: float | None = None
        self._begin_generation(0)

    def info(self, server_epoch: str) -> Info:
        """What is going to be sent."""
        layout = self._source.layout
        return Info(
            self._format.encoding,
            tuple(layout.stem_names[i] for i in self._stems),
            layout.total_frames,
            layout.sample_rate,
            layout.channels,
            self._format.codec_header,
            server_epoch,
        )

    async def close(self) -> None:
        """Waits for reads under way; the source can be closed after it."""
        self._source.unfollow(self)
        waiting = self._forget_wait()
        if self._summing is not None:
            await settle(self._summing)
        await self._interleaver.close()
        if waiting is not None:
            await settle(waiting)

    async def step(self) -> ServerMessage | None:
        """The next message; None if there was only something to wait for or to prepare.

        Raises SessionOver when all is said, StreamIdleError, and the job's error.
        """
        seek = self._control.take_seek()
        if seek is not None:
            return await self._apply(seek)
        position = self._interleaver.next()
        # Audio first: a stem's end may have to wait for its checksum.
        if self._ended and (position is None or self._source.sha256(self._stems[self._ended[0]])):
            return await self._end_of_stem()
        if position is None:
            return await self._after_the_end()
        if not self._interleaver.loaded(position):
            missing = self._interleaver.missing()
            if missing is not None:
                return await self._await_audio(missing)
            self._tell_scheduler(every=self._sample_rate)
            await self._interleaver.load(self._chunk_bytes, self._control.credit)
            return None
        return self._chunk(position) or await self._await_credit()

    def _begin_generation(self, generation: int) -> None:
        self._generation = generation
        self._sequence = 0
        self._ended = [position for position in range(len(self._stems)) if self._interleaver.ended(position)]
        self._end_sent = False
        self._followed = None
        self._stalled_at = None

    async def _apply(self, seek: Seek) -> SeekApplied:
        frame = check_start_frame(seek.start_frame, self._total_frames, "seek.start_frame")
        self._forget_wait()
        await self._interleaver.restart(frame)
        self._begin_generation(seek.generation)
        self._tell_scheduler(every=1)
        return SeekApplied(seek.generation, self._interleaver.frame)

    def _chunk(self, position: int) -> Chunk | None:
        audio = self._interleaver.cut(position, self._chunk_bytes, self._control.credit)
        if audio is None:
            return None
        self._stalled_at = None
        self._control.credit -= len(audio.data)
        if self._interleaver.ended(position):
            self._ended.append(position)
        sequence = self._sequence
        self._sequence += 1
        return Chunk(
            position,
            self._generation,
            sequence,
            audio.start_frame,
            audio.frame_count,
            audio.data,
            crc32c(audio.data),
        )

    async def _end_of_stem(self) -> EndOfStem | None:
        """Tells the checksum too: all frames are final a moment before the files are closed and summed."""
        position = self._ended[0]
        sha256 = self._source.sha256(self._stems[position])
        if not sha256 and self._summing is None:
            self._summing = asyncio.ensure_future(self._source.wait_finished(CHECKSUM_SECONDS))
            self._summing.add_done_callback(self._control.wake)
        if not sha256 and self._summing is not None and not self._summing.done():
            await self._control.change(None)
            return None
        self._ended.pop(0)
        return EndOfStem(position, self._generation, sha256)

    async def _await_credit(self) -> None:
        if self._control.half_closed:
            raise SessionOver
        if self._stalled_at is None:
            self._stalled_at = self._control.clock()
        if not await self._control.change(self._patience(self._stalled_at)):
            raise StreamIdleError(
                f"credit: none came for {self._idle_seconds:g} s; open the stream again where it stopped",
                field="credit",
            )

    async def _await_audio(self, missing: int) -> NotReady | None:
        self._tell_scheduler(every=1)
        if self._waiting is not None and self._waiting[0] == missing:
            ready = self._waiting[1]
            if not ready.done():
                await self._control.change(None)
                return None
            self._waiting = None
            if ready.result():
                return None
        self._forget_wait()
        ready = asyncio.ensure_future(self._source.wait_ready(missing, self._keepalive_seconds))
        ready.add_done_callback(self._control.wake)
        self._waiting = (missing, ready)
        chunk_frames = max(1, self._chunk_bytes // self._format.frame_bytes)
        return NotReady(self._generation, missing, min(missing + chunk_frames, self._total_frames))

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
    """All is said; the stream ends well."""


class StemStream:
    """One session; the transport feeds `on_message` and sends what `messages` yields.

    `open_stems` holds a job's stems open once the track is decoded.
    """

    def __init__(
        self,
        open_stems: Callable[[str], AbstractAsyncContextManager[StemReader]],
        *,
        server_epoch: str,
        idle_seconds: float,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
        opening_seconds: float = OPENING_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_stems = open_stems
        self._server_epoch = server_epoch
        self._idle_seconds = idle_seconds
        self._keepalive_seconds = keepalive_seconds
        self._opening_seconds = opening_seconds
        self._control = StreamControl(clock)

    def on_message(self, message: ClientMessage) -> None:
        """Takes a message of the client; one that is not allowed ends `messages` with its error."""
        try:
            self._control.accept(message)
        except MismoError as error:
            self._control.fail(error)

    def on_half_close(self) -> None:
        """The client sends nothing any more."""
        self._control.half_closed = True
        self._control.wake()

    def fail(self, error: MismoError) -> None:
        """Ends `messages` with this error."""
        self._control.fail(error)

    async def messages(self) -> AsyncGenerator[ServerMessage, None]:
        """What is to be sent, in order. Close it (`aclosing`) so that the job's stems are let go at once.

        Raises StreamError, InvalidFieldError, StemNotFoundError, JobNotFoundError, and the job's error.
        """
        opened = await self._first_message()
        async with AsyncExitStack() as stack:
            opening = asyncio.ensure_future(stack.enter_async_context(self._open_stems(opened.job_id)))
            opening.add_done_callback(self._control.wake)
            stack.push_async_callback(settle, opening)
            due = self._control.clock() + self._opening_seconds
            while not opening.done():
                self._control.look()
                if not await self._control.change(due - self._control.clock()):
                    due = self._control.clock() + self._keepalive_seconds
                    yield NotReady(0, opened.start_frame, opened.start_frame)
            session = StreamSession(
                self._control,
                opened,
                opening.result(),
                idle_seconds=self._idle_seconds,
                keepalive_seconds=self._keepalive_seconds,
            )
            stack.push_async_callback(session.close)
            yield session.info(self._server_epoch)
            while True:
                self._control.look()
                try:
                    message = await session.step()
                except SessionOver:
                    return
                if message is not None:
                    yield message

    async def _first_message(self) -> Open:
        while True:
            self._control.look()
            if self._control.opened is not None:
                return self._control.opened
            if self._control.half_closed:
                raise StreamProtocolError("the stream was closed before open came", field="open")
            if not await self._control.change(self._idle_seconds):
                raise StreamIdleError(f"open did not come within {self._idle_seconds:g} s", field="open")


def start_frames(opened: Open, layout: StemLayout, stems: Sequence[int]) -> list[int]:
    """Where each stem begins: its resume point, else the common start.

    Raises InvalidFieldError, StemNotFoundError.
    """
    start = check_start_frame(opened.start_frame, layout.total_frames, "open.start_frame")
    points = opened.resume_points
    choose_stems(layout, [point.stem_name for point in points], "open.resume_points")
    resumed = {
        point.stem_name: check_start_frame(point.start_frame, layout.total_frames, "open.resume_points")
        for point in points
    }
    asked = [layout.stem_names[i] for i in stems]
    if not resumed.keys() <= set(asked):
        raise InvalidFieldError(
            "open.resume_points names a stem that open.stem_names leaves out", field="open.resume_points"
        )
    return [resumed.get(name, start) for name in asked]


async def settle(task: asyncio.Future[Any]) -> None:
    """Ends a task that is not needed any more, whatever comes out of it."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()

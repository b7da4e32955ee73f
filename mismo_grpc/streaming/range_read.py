"""Reads one stem from a frame on, in order, for clients that need no seek and no credit."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.errors import JobNotReadyError
from mismo_grpc.streaming.blocks import AudioSlice
from mismo_grpc.streaming.interleaver import BLOCK_BYTES, StemInterleaver
from mismo_grpc.streaming.messages import Info
from mismo_grpc.streaming.positions import Position, check_not_negative, frames_in, start_frame_of
from mismo_grpc.streaming.reader import StemReader
from mismo_grpc.streaming.stream_control import UNLIMITED_FRAMES
from mismo_grpc.streaming.wire_format import WireFormat, check_chunk_bytes, info_of, stem_index

WAIT_SECONDS = 60.0
"""After this time without the frame the position is reported again."""
ALLOWED_BYTES = 2 * BLOCK_BYTES
"""Takes the place of a client's credit: it suffices for any slice, and for reading the next block ahead."""


class StemRangeRead:
    """Reads `limit` (0: to the end; a time is rounded up to a frame) of one stem from `start` on.

    With `follow` it waits for frames that are not separated yet and reports its position to the scheduler; without,
    it raises JobNotReadyError there. Raises StemNotFoundError and InvalidFieldError for wrong arguments.
    """

    def __init__(
        self,
        source: StemReader,
        stem_name: str,
        encoding: Encoding,
        *,
        start: Position = 0,
        limit: Position = 0,
        follow: bool = False,
        chunk_bytes: int = 0,
    ) -> None:
        layout = source.layout
        rate, total = layout.sample_rate, layout.total_frames
        self._format = WireFormat(layout, encoding)
        self._source = source
        self._stem_name = stem_name
        self._stem_index = stem_index(layout, stem_name, "stem_name")
        first = start_frame_of(start, rate, total, "start_frame", "start_time")
        self.start_frame = self._format.align(first)
        check_not_negative(limit, "frame_limit", "time_limit")
        frames = frames_in(limit, rate)
        self._end_frame = self._format.align_up(min(first + frames, total) if frames else total)
        self._follow = follow
        self._chunk_bytes = check_chunk_bytes(chunk_bytes, "chunk_bytes")

    def info(self, server_epoch: str) -> Info:
        """The description of the stream."""
        return info_of(self._source.run, self._format, [self._stem_name], self._chunk_bytes, server_epoch)

    async def slices(self) -> AsyncGenerator[AudioSlice, None]:
        """The audio as consecutive slices. Close the generator (`aclosing`) before the source is closed.

        Raises JobNotReadyError, and the job's error if the job ended without a requested frame.
        """
        interleaver = StemInterleaver(
            self._source,
            self._format,
            [self._stem_index],
            [self.start_frame],
            self._end_frame,
            self._chunk_bytes,
        )
        try:
            while interleaver.next() is not None:
                if not interleaver.loaded(0):
                    missing = interleaver.missing()
                    if missing is not None:
                        await self._wait(missing)
                        continue
                    await interleaver.load(ALLOWED_BYTES, UNLIMITED_FRAMES)
                    continue
                audio = interleaver.cut(0, self._chunk_bytes, ALLOWED_BYTES, UNLIMITED_FRAMES)
                assert isinstance(audio, AudioSlice), "ALLOWED_BYTES suffice for any slice"
                yield audio
        finally:
            self._source.unfollow(self)
            await interleaver.close()

    async def _wait(self, frame: int) -> None:
        if not self._follow:
            # Raises the error of a job that ended without this frame; a running job is not ready.
            if not await self._source.wait_ready(frame, 0.0, _never):
                raise JobNotReadyError(
                    f"frame {frame} is not separated yet; ask again later, or set follow to wait for it",
                    metadata={"frame": str(frame)},
                )
            return
        self._source.follow(self, frame)
        await self._source.wait_ready(frame, WAIT_SECONDS, _never)


def _never() -> bool:
    return False

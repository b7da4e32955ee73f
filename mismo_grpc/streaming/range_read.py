"""One stem from a frame on, in order, for readers that need no seek and no credit."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.errors import InvalidFieldError, JobNotReadyError
from mismo_grpc.streaming.blocks import (
    AudioSlice,
    WireFormat,
    check_chunk_bytes,
    check_start_frame,
    stem_index,
)
from mismo_grpc.streaming.interleaver import BLOCK_BYTES, StemInterleaver
from mismo_grpc.streaming.reader import StemReader

WAIT_SECONDS = 60.0


class StemRangeRead:
    """Reads `frame_limit` frames of one stem (0: to the end) from `start_frame` on.

    With `follow` it waits for what is not separated yet, and tells the scheduler that it does; without, it
    stops there with JobNotReadyError. Raises StemNotFoundError and InvalidFieldError for wrong arguments.
    """

    def __init__(
        self,
        source: StemReader,
        stem_name: str,
        encoding: Encoding,
        *,
        start_frame: int = 0,
        frame_limit: int = 0,
        follow: bool = False,
        chunk_bytes: int = 0,
    ) -> None:
        layout = source.layout
        self.wire_format = WireFormat(layout, encoding)
        self._source = source
        self._stem_index = stem_index(layout, stem_name, "stem_name")
        start = check_start_frame(start_frame, layout.total_frames, "start_frame")
        self.start_frame = self.wire_format.align(start)
        if frame_limit < 0:
            raise InvalidFieldError("frame_limit must not be negative", field="frame_limit")
        end = min(start_frame + frame_limit, layout.total_frames) if frame_limit else layout.total_frames
        self._end_frame = self.wire_format.align_up(end)
        self._follow = follow
        self._chunk_bytes = check_chunk_bytes(chunk_bytes, "chunk_bytes")

    async def slices(self) -> AsyncGenerator[AudioSlice, None]:
        """The audio; its slices touch. Close it (`aclosing`) so that the source can be closed after it.

        Raises JobNotReadyError, and the job's error if it ended without what is waited for.
        """
        interleaver = StemInterleaver(
            self._source, self.wire_format, [self._stem_index], [self.start_frame], self._end_frame
        )
        try:
            while interleaver.next() is not None:
                if not interleaver.loaded(0):
                    missing = interleaver.missing()
                    if missing is not None:
                        await self._wait(missing)
                        continue
                    await interleaver.load(self._chunk_bytes, 2 * BLOCK_BYTES)
                audio = interleaver.cut(0, self._chunk_bytes, 2 * BLOCK_BYTES)
                if audio is not None:
                    yield audio
        finally:
            self._source.unfollow(self)
            await interleaver.close()

    async def _wait(self, frame: int) -> None:
        if not self._follow:
            # A job that ended without this frame says why; one that goes on is not ready.
            if not await self._source.wait_ready(frame, 0.0):
                raise JobNotReadyError(
                    f"frame {frame} is not separated yet; ask again later, or set follow to wait for it",
                    metadata={"frame": str(frame)},
                )
            return
        self._source.follow(self, frame)
        await self._source.wait_ready(frame, WAIT_SECONDS)

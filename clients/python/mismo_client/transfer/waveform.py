"""Peaks of stems for drawing, also while they are made."""

from __future__ import annotations

import sys
from array import array
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

import grpc

from mismo.analysis.v1 import transfer_service_pb2, transfer_service_pb2_grpc
from mismo_client.errors import ClientError, StreamCorruptError
from mismo_client.retry import Attempts
from mismo_client.runs import StreamRun
from mismo_client.streaming import reopened
from mismo_client.transfer.ranges import Ranges

PIXEL_BYTES = 4
"""Of the lowest and the highest sample of one pixel, 16 bits each."""


@dataclass(frozen=True)
class WaveformRequest:
    """Which stems (empty: all) at how many frames a pixel (0: 256).

    With `follow` further peaks are waited for until the stems are whole.
    """

    job_id: str
    expected_run_id: str = ""
    stem_names: Sequence[str] = ()
    frames_per_pixel: int = 0
    follow: bool = False


@dataclass(frozen=True)
class WaveformFormat:
    """The form of the peaks: `total_pixels` a stem, each of `frames_per_pixel` frames at `sample_rate` Hz."""

    run_id: str
    stem_names: tuple[str, ...]
    sample_rate: int
    total_frames: int
    frames_per_pixel: int
    total_pixels: int

    @classmethod
    def of(cls, info: transfer_service_pb2.WaveformInfo) -> WaveformFormat:
        """From the first message of a stream."""
        return cls(
            info.run_id,
            tuple(info.stem_names),
            info.sample_rate,
            info.total_frames,
            info.frames_per_pixel,
            info.total_pixels,
        )


class WaveformRange(NamedTuple):
    """Consecutive pixels of one stem.

    `peaks` has for each pixel the lowest and the highest sample, mean over the channels, as 16-bit
    little-endian integers: what numpy reads with `frombuffer(peaks, "<i2").reshape(-1, 2)`.
    """

    stem_index: int
    stem_name: str
    start_pixel: int
    peaks: bytes

    @property
    def pixel_count(self) -> int:
        """Number of pixels."""
        return len(self.peaks) // PIXEL_BYTES

    def pairs(self) -> list[tuple[int, int]]:
        """Lowest and highest sample of each pixel, -32768 to 32767."""
        samples = array("h", self.peaks)
        if sys.byteorder == "big":
            samples.byteswap()
        return list(zip(samples[0::2], samples[1::2], strict=True))


class WaveformReading:
    """An async iterator of ranges, no pixel twice; goes on after a broken stream.

    Ranges of a running job come in the order in which its segments are made. Raises MismoRpcError,
    RunReplacedError, StreamCorruptError.
    """

    def __init__(
        self,
        stub: transfer_service_pb2_grpc.TransferServiceAsyncStub,
        request: WaveformRequest,
        attempts: Attempts,
    ) -> None:
        self._stub = stub
        self._request = request
        self._attempts = attempts
        self._run = StreamRun(request.job_id, request.expected_run_id)
        self._format: WaveformFormat | None = None
        self._known: defaultdict[int, Ranges] = defaultdict(Ranges)
        self._first: WaveformRange | None = None
        self._ranges = self._read()

    async def format(self) -> WaveformFormat:
        """The form of the peaks; waits for it. Before the first range or between ranges."""
        if self._format is None:
            self._first = await anext(self._ranges, None)
        return self._known_format()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WaveformRange:
        first, self._first = self._first, None
        return first if first is not None else await anext(self._ranges)

    async def aclose(self) -> None:
        """Ends the reading."""
        await self._ranges.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _read(self) -> AsyncGenerator[WaveformRange, None]:
        while True:
            broken: ClientError | None = None
            async with aclosing(reopened(self._open, self._attempts)) as messages:
                try:
                    async for message in messages:
                        for part in self._take(message):
                            yield part
                except StreamCorruptError as error:
                    broken = error
            if broken is None:
                self._known_format()
                return
            await self._attempts.after(broken, stream=True)

    def _open(
        self,
    ) -> grpc.aio.UnaryStreamCall[
        transfer_service_pb2.ReadWaveformRequest, transfer_service_pb2.ReadWaveformResponse
    ]:
        request = self._request
        return self._stub.ReadWaveform(
            transfer_service_pb2.ReadWaveformRequest(
                job_id=request.job_id,
                expected_run_id=self._run.run_id,
                stem_names=request.stem_names,
                frames_per_pixel=request.frames_per_pixel,
                follow=request.follow,
            )
        )

    def _take(self, message: transfer_service_pb2.ReadWaveformResponse) -> list[WaveformRange]:
        if message.HasField("info"):
            form = WaveformFormat.of(message.info)
            self._run.check(form.run_id)
            self._format = form
        form = self._known_format()
        parts: list[WaveformRange] = []
        for ranged in message.ranges:
            if len(ranged.peaks) % PIXEL_BYTES:
                raise StreamCorruptError(f"peaks at pixel {ranged.start_pixel} are not whole")
            index, start = ranged.stem_index, ranged.start_pixel
            # A new call sends again what an earlier one did.
            for begin, end in self._known[index].add(start, start + len(ranged.peaks) // PIXEL_BYTES):
                peaks = ranged.peaks[(begin - start) * PIXEL_BYTES : (end - start) * PIXEL_BYTES]
                parts.append(WaveformRange(index, form.stem_names[index], begin, peaks))
        if parts:
            self._attempts.progressed()
        return parts

    def _known_format(self) -> WaveformFormat:
        if self._format is None:
            raise StreamCorruptError("the stream of peaks did not begin with its form")
        return self._format

"""Converts waveforms to the messages of the waveform stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from mismo.analysis.v1 import transfer_service_pb2 as transfer
from mismo_grpc.streaming.waveform_reader import GrowingWaveform, PeakRange, WaveformReader


async def waveform_messages(
    waveform: GrowingWaveform, request: transfer.ReadWaveformRequest
) -> AsyncGenerator[transfer.ReadWaveformResponse]:
    """The response messages from an open waveform. Close the generator (`aclosing`) before the waveform.

    Raises StemNotFoundError, InvalidFieldError, and with `follow` the job's error.
    """
    reader = WaveformReader(waveform, request.stem_names, request.frames_per_pixel)
    yield transfer.ReadWaveformResponse(info=_info(waveform, reader))
    async with aclosing(reader.parts(follow=request.follow)) as parts:
        async for part in parts:
            yield transfer.ReadWaveformResponse(ranges=map(_range, part))


def _info(waveform: GrowingWaveform, reader: WaveformReader) -> transfer.WaveformInfo:
    return transfer.WaveformInfo(
        job_id=waveform.job_id,
        run_id=waveform.run_id,
        stem_names=reader.stem_names,
        sample_rate=waveform.layout.sample_rate,
        total_frames=waveform.layout.total_frames,
        frames_per_pixel=reader.frames_per_pixel,
        total_pixels=reader.total_pixels,
    )


def _range(part: PeakRange) -> transfer.WaveformRange:
    return transfer.WaveformRange(stem_index=part.stem_index, start_pixel=part.start_pixel, peaks=part.peaks)

"""The waveform of a job over HTTP, for clients that poll: the final pixels, while the job runs and afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.gateway.ranges import etag_matches
from mismo_grpc.gateway.services import services_of
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.streaming.waveform_reader import (
    GrowingWaveform,
    PeakRange,
    WaveformReader,
    check_frames_per_pixel,
)

MAX_BODY_BYTES = 4 << 20
PIXEL_BYTES = 14
"""The most bytes of a pixel in JSON: two numbers of 6 characters, and their commas."""

router = APIRouter(tags=["stems"])

_INTEGER = {"type": "integer"}
_RANGE = {
    "type": "object",
    "properties": {
        "start_pixel": _INTEGER,
        "peaks": {
            "type": "array",
            "items": _INTEGER,
            "description": "the lowest and the highest sample of each pixel, -32768 to 32767",
        },
    },
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The pixels whose frames are all final, in ranges that are not adjacent",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "job_id": {"type": "string"},
                        "run_id": {"type": "string"},
                        "sample_rate": {**_INTEGER, "description": "Hz"},
                        "total_frames": _INTEGER,
                        "frames_per_pixel": _INTEGER,
                        "total_pixels": _INTEGER,
                        "complete": {"type": "boolean", "description": "whether all pixels are final"},
                        "stems": {
                            "type": "object",
                            "description": "the ranges by stem name",
                            "additionalProperties": {"type": "array", "items": _RANGE},
                        },
                    },
                },
                "example": {
                    "job_id": "abc123def456",
                    "run_id": "6b1d6c9c0f0b4a51a3a5a7a6f3a3f7d2",
                    "sample_rate": 44100,
                    "total_frames": 9702000,
                    "frames_per_pixel": 1024,
                    "total_pixels": 9475,
                    "complete": False,
                    "stems": {"bass": [{"start_pixel": 0, "peaks": [-1200, 1187, -3040, 2911]}]},
                },
            }
        },
    },
    304: {"description": "No pixel has become final since the response with the ETag of If-None-Match"},
    404: {"description": "There is no such job or stem, or the finished job has no waveforms"},
    409: {"description": "The track is not decoded yet, or the job failed or was cancelled"},
}


@router.get(
    "/jobs/{job_id}/waveform", summary="Peaks of the stems, also while the job runs", responses=ANSWERS
)
async def waveform(
    request: Request,
    job_id: str,
    stems: Annotated[str, Query(description="stem names, separated by commas; empty: all")] = "",
    frames_per_pixel: Annotated[int, Query(description="a multiple of 256 up to 1048576")] = 1024,
) -> Response:
    """The ETag changes when more pixels are final; until then a request with If-None-Match gets 304.

    If the whole waveform at this `frames_per_pixel` is over 4 MiB, the response is 422, and its message says what fits.
    """
    check_frames_per_pixel(frames_per_pixel)
    async with services_of(request).jobs.open_waveform(job_id) as growing:
        reader = WaveformReader(growing, stems.split(",") if stems else (), frames_per_pixel, "stems")
        _check_size(reader, growing.layout.total_frames)
        final = reader.final()
        etag = _etag(growing.run_id, reader, final)
        headers = {"ETag": f'"{etag}"', "Cache-Control": "no-cache"}
        if etag_matches(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)
        parts: list[PeakRange] = []
        async with aclosing(reader.read(final)) as reading:
            async for part in reading:
                parts.extend(part)
        body = await growing.in_thread(_document, growing, reader, final, parts)
    return Response(body, 200, headers, "application/json")


def _check_size(reader: WaveformReader, total_frames: int) -> None:
    """Checks the size of the whole waveform, so that a client that begins to poll can continue to the end."""
    most = MAX_BODY_BYTES // PIXEL_BYTES // max(1, len(reader.stem_names))
    if reader.total_pixels > most:
        fits = -(-total_frames // most)
        fits += -fits % 256
        raise InvalidFieldError(
            f"frames_per_pixel: the response would be over 4 MiB; use {fits} or more, or request fewer stems",
            field="frames_per_pixel",
        )


def _etag(run_id: str, reader: WaveformReader, final: RangeSet) -> str:
    """Builds the ETag; which pixels are final suffices, because they never change within a run."""
    shown = (run_id, reader.stem_names, reader.frames_per_pixel, list(final))
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:32]


def _document(
    growing: GrowingWaveform, reader: WaveformReader, final: RangeSet, parts: Sequence[PeakRange]
) -> bytes:
    """Builds the response; blocks, but holds other Python threads up only for the time of one part."""
    head = {
        "job_id": growing.job_id,
        "run_id": growing.run_id,
        "sample_rate": growing.layout.sample_rate,
        "total_frames": growing.layout.total_frames,
        "frames_per_pixel": reader.frames_per_pixel,
        "total_pixels": reader.total_pixels,
        "complete": final.covers(0, reader.total_pixels),
    }
    stems = (
        f"{json.dumps(name)}:[{_ranges([part for part in parts if part.stem_index == index])}]"
        for index, name in enumerate(reader.stem_names)
    )
    return f'{json.dumps(head, separators=(",", ":"))[:-1]},"stems":{{{",".join(stems)}}}}}'.encode()


def _ranges(parts: Sequence[PeakRange]) -> str:
    """Renders the parts of one stem in order; adjacent parts become one range."""
    text: list[str] = []
    end = -1
    for part in parts:
        peaks: npt.NDArray[np.int16] = np.frombuffer(part.peaks, "<i2")
        numbers = json.dumps(peaks.tolist(), separators=(",", ":"))[1:-1]
        if part.start_pixel == end:
            text.append(f",{numbers}")
        else:
            text.append(f'{"]}," if text else ""}{{"start_pixel":{part.start_pixel},"peaks":[{numbers}')
        end = part.start_pixel + len(peaks) // 2
    return "".join(text) + ("]}" if text else "")

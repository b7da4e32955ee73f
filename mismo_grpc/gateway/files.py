"""Serves the results of a finished job over HTTP: its stems in the job's delivery mode, and each file with ranges."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from mismo_grpc.delivery.json_body import Body
from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.gateway.ranges import HeldResponse, file_response
from mismo_grpc.gateway.services import services_of
from mismo_grpc.jobs.export_options import ExportFormat
from mismo_grpc.jobs.job import DeliveryMode
from mismo_grpc.results.artifacts import STEMS_JSON, STEMS_ZIP
from mismo_grpc.results.exports.plan import STEM_MP4, ZIPS

router = APIRouter(tags=["stems"])


@router.get("/jobs/{job_id}/stems", summary="All stems as paths, links or base64, as the job requested")
async def stems(
    request: Request,
    job_id: str,
    mode: Annotated[str, Query(description="poll, path or callback, instead of the job's own")] = "",
) -> Response:
    """The `data` of the stems callback, for clients that poll or did not receive the callback."""
    if mode and mode not in {known.value for known in DeliveryMode}:
        raise InvalidFieldError(f"mode must be one of {', '.join(DeliveryMode)}", field="mode")
    services = services_of(request)
    stack = AsyncExitStack()
    try:
        job = await stack.enter_async_context(services.jobs.artifacts.finished(job_id))
        body = await services.bodies.stems(job, DeliveryMode(mode) if mode else None)
        stack.callback(body.close)
    except BaseException:
        await stack.aclose()
        raise
    headers = {"Content-Length": str(body.length)}
    return HeldResponse(stack, _blocks(body), 200, headers, "application/json")


async def _blocks(body: Body) -> AsyncGenerator[bytes]:
    async for block in body:
        yield block


@router.head("/jobs/{job_id}/stems/{stem}.wav", include_in_schema=False)
@router.get("/jobs/{job_id}/stems/{stem}.wav", summary="One stem as WAV; ranges are served")
async def stem(request: Request, job_id: str, stem: str) -> Response:
    """The WAV file is 16-bit PCM unless the job requested another encoding."""
    opening = services_of(request).jobs.artifacts.open_stem(job_id, stem)
    return await file_response(request, opening, filename=f"{job_id}-{stem}.wav")


@router.head("/jobs/{job_id}/stems/{stem}.flac", include_in_schema=False)
@router.get("/jobs/{job_id}/stems/{stem}.flac", summary="One stem as FLAC; ranges are served")
async def stem_flac(request: Request, job_id: str, stem: str) -> Response:
    """The file is made at the first request, which takes seconds; then it is kept as long as the job."""
    return await _artifact(request, job_id, f"{stem}.flac")


@router.head("/jobs/{job_id}/stems/{stem}.mp3", include_in_schema=False)
@router.get("/jobs/{job_id}/stems/{stem}.mp3", summary="One stem as MP3; ranges are served")
async def stem_mp3(request: Request, job_id: str, stem: str) -> Response:
    """The file is made at the first request, which takes seconds; then it is kept as long as the job."""
    return await _artifact(request, job_id, f"{stem}.mp3")


@router.head("/jobs/{job_id}/stems-flac.zip", include_in_schema=False)
@router.get("/jobs/{job_id}/stems-flac.zip", summary="All stems as FLAC in one archive")
async def stems_flac_zip(request: Request, job_id: str) -> Response:
    """The files are made at the first request, which takes seconds; ranges are served."""
    return await _artifact(request, job_id, ZIPS[ExportFormat.FLAC])


@router.head("/jobs/{job_id}/stems-mp3.zip", include_in_schema=False)
@router.get("/jobs/{job_id}/stems-mp3.zip", summary="All stems as MP3 in one archive")
async def stems_mp3_zip(request: Request, job_id: str) -> Response:
    """The files are made at the first request, which takes seconds; ranges are served."""
    return await _artifact(request, job_id, ZIPS[ExportFormat.MP3])


@router.head("/jobs/{job_id}/track.stem.mp4", include_in_schema=False)
@router.get("/jobs/{job_id}/track.stem.mp4", summary="One NI STEM file for DJ software")
async def track_stem_mp4(request: Request, job_id: str) -> Response:
    """The file is made at the first request, which takes seconds; then it is kept as long as the job."""
    return await _artifact(request, job_id, STEM_MP4)


@router.head("/jobs/{job_id}/stems.zip", include_in_schema=False)
@router.get("/jobs/{job_id}/stems.zip", summary="All stems in one archive")
async def stems_zip(request: Request, job_id: str) -> Response:
    """The archive is not compressed; ranges are served."""
    return await _artifact(request, job_id, STEMS_ZIP)


@router.head("/jobs/{job_id}/stems.json", include_in_schema=False)
@router.get("/jobs/{job_id}/stems.json", summary="Checksums, settings, timings")
async def stems_json(request: Request, job_id: str) -> Response:
    """The `stems.json` of the job's folder."""
    return await _artifact(request, job_id, STEMS_JSON)


@router.head("/jobs/{job_id}/artifacts/{name}", include_in_schema=False)
@router.get("/jobs/{job_id}/artifacts/{name}", summary="Any artifact, such as a waveform or annotation.jams")
async def artifact(request: Request, job_id: str, name: str) -> Response:
    """Each analysis has one, such as basic_features.json; all names are in the job's `artifacts` over gRPC."""
    return await _artifact(request, job_id, name)


async def _artifact(request: Request, job_id: str, name: str) -> Response:
    opening = services_of(request).jobs.artifacts.open(job_id, name)
    return await file_response(request, opening, filename=f"{job_id}-{name}")

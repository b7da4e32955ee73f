"""The calls of an app server that keeps its tracks in a blob container: analyse one, generate stems."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from mismo_grpc.errors import (
    JobIdActiveError,
    NotSupportedYetError,
    RequestIdReusedError,
    UnsupportedContentTypeError,
)
from mismo_grpc.gateway.request_body import whole_body
from mismo_grpc.gateway.services import Services, services_of
from mismo_grpc.gateway.submission import MAX_JSON_BYTES
from mismo_grpc.gateway.views import STATUSES, moment
from mismo_grpc.gateway.workers.requests import analyze_request, generate_request, named_as_here
from mismo_grpc.generation.options import (
    GENERATORS,
    MAX_BPM,
    MAX_SECONDS,
    MAX_SEED,
    MAX_TEMPERATURE,
    MIN_BPM,
    MIN_SECONDS,
    TARGET_STEMS,
)
from mismo_grpc.jobs.job import Job, JobRequest, JobState
from mismo_grpc.storage.blobs.sources import NO_CONTAINER

router = APIRouter(tags=["workers"])

_TEXT = {"type": ["string", "null"]}
_CALLBACK = {**_TEXT, "example": "http://api:8080/api/audio/analysis-callback"}
_CHORDS = {
    "type": ["array", "string", "null"],
    "items": {"type": "string"},
    "description": "one chord symbol a bar, repeated",
    "example": ["Am", "F", "C", "G"],
}


def _number(low: float, high: float, kind: str = "number") -> dict[str, Any]:
    return {"type": [kind, "null"], "minimum": low, "maximum": high}


PARAMETERS_DOC: dict[str, Any] = {
    "target_bpm": {**_number(MIN_BPM, MAX_BPM), "description": "beats a minute; 120 if left out"},
    "duration_seconds": {**_number(MIN_SECONDS, MAX_SECONDS), "description": "10 if left out"},
    "style": {**_TEXT, "example": "rock"},
    "chord_progression": _CHORDS,
    "key": {**_TEXT, "example": "A minor"},
    "prompt": {**_TEXT, "description": "a description in words, for musicgen"},
    "temperature": {**_number(0, MAX_TEMPERATURE), "description": "for musicgen; 1 if left out"},
    "random_seed": {
        **_number(0, MAX_SEED, "integer"),
        "description": "made from generation_request_id if left out",
    },
    "generator": {"enum": [*GENERATORS, None], "description": "the server's default if left out"},
}


def _json_body(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


ANALYZE_DOC = _json_body(
    ["audio_file_id", "blob_uri"],
    {
        "audio_file_id": {
            "type": "string",
            "description": "becomes the job_id and the folder of the results",
        },
        "blob_uri": {
            "type": "string",
            "description": "the track in the blob container, without a query",
            "example": "az://audio-files/test.mp3",
        },
        "callback_url": _CALLBACK,
    },
)
GENERATE_DOC = _json_body(
    ["generation_request_id", "audio_file_id", "target_stems"],
    {
        "generation_request_id": {"type": "string", "description": "becomes the job_id"},
        "audio_file_id": {"type": "string", "description": "the folder of the results"},
        "target_stems": {
            "type": "array",
            "items": {"type": "string"},
            "description": f"one or more of {', '.join(TARGET_STEMS)}",
            "example": ["guitar", "bass", "drums"],
        },
        "parameters": {
            "type": ["object", "null"],
            "properties": PARAMETERS_DOC,
            "additionalProperties": False,
            "example": {"target_bpm": 120.0, "duration_seconds": 10.0, "style": "rock"},
        },
        "callback_url": _CALLBACK,
    },
)


@router.post("/analyze", status_code=202, openapi_extra=ANALYZE_DOC, summary="Analyse and separate a track")
async def analyze(request: Request) -> dict[str, object]:
    """Responds once the job is stored. One callback reports its end; the results are in the blob container then."""
    services = services_of(request)
    body = await _body(request, services)
    with named_as_here("audio_file_id"):
        job = await _submit(services, analyze_request(body, services.check_url))
    return {"audio_file_id": job.job_id, **_accepted(job)}


@router.post("/generate", status_code=202, openapi_extra=GENERATE_DOC, summary="Generate stems")
async def generate(request: Request) -> dict[str, object]:
    """Responds once the job is stored. One callback reports its end; the stems are in the blob container then."""
    services = services_of(request)
    body = await _body(request, services)
    asked = generate_request(body, services.check_url)
    with named_as_here():
        earlier = await services.jobs.find(asked.job_id)
        if earlier is not None and earlier.options != asked.options:
            raise _reused()
        try:
            job = await _submit(services, asked)
        except JobIdActiveError as error:
            # Another request came at the same time.
            raise _reused() from error
    return {
        "generation_request_id": job.job_id,
        "audio_file_id": job.options.blob_prefix,
        **_accepted(job),
    }


def _reused() -> RequestIdReusedError:
    return RequestIdReusedError(
        "generation_request_id was used for another request; make a new one for each request",
        field="generation_request_id",
    )


async def _body(request: Request, services: Services) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedContentTypeError("Content-Type must be application/json", field="Content-Type")
    if not services.jobs.blob_links.has_container:
        raise NotSupportedYetError(NO_CONTAINER)
    return await whole_body(request, MAX_JSON_BYTES)


async def _submit(services: Services, asked: JobRequest) -> Job:
    return (await services.jobs.submit(asked)).job


def _accepted(job: Job) -> dict[str, object]:
    return {
        "job_id": job.job_id,
        "status": STATUSES[JobState.QUEUED],
        "created_at": moment(job.created_at),
        "callback_url": job.delivery.callback_url or None,
    }

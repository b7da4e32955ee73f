"""Jobs over HTTP: submit, get, list, replay, delete."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from mismo_grpc.errors import InvalidFieldError, MismoError, UnsupportedContentTypeError
from mismo_grpc.gateway.multipart import FormReader
from mismo_grpc.gateway.request_body import body_chunks, whole_body
from mismo_grpc.gateway.services import Services, services_of
from mismo_grpc.gateway.submission import MAX_JSON_BYTES, OPTIONS, Submission, from_form, from_json
from mismo_grpc.gateway.views import STATUSES, accepted, job_view
from mismo_grpc.jobs.job import Source, SourceKind

FORM_OVERHEAD_BYTES = 1 << 20
"""The fields that a form may have besides its file."""
FIELDS = {
    "source.path": "file_path",
    "source.blob_uri": "blob_uri",
    "source.upload_id": "file",
    "job_id": "track_hash",
}
"""The names of fields in errors, mapped to the names in this API."""

router = APIRouter(tags=["jobs"])

_SHARED_PROPERTIES: dict[str, Any] = {
    "track_hash": {"type": "string", "description": "becomes the job_id: 1 to 128 of A-Z a-z 0-9 . _ -"},
    "options": {
        "type": "object",
        "properties": {name: {"type": "boolean"} for name in OPTIONS},
        "additionalProperties": False,
        "example": {"stems": True, "basic_features": True, "characteristics": True},
    },
    "callback_url": {"type": "string", "example": "http://127.0.0.1:3000/api/analysis/callback"},
    "stem_delivery_mode": {"type": "string", "enum": ["poll", "path", "callback"], "default": "poll"},
    "priority": {"type": "string", "enum": ["high", "normal", "low"], "default": "normal"},
}


def _body_schema(sources: dict[str, Any]) -> dict[str, Any]:
    """The schema of a submit with one of these sources."""
    return {
        "type": "object",
        "required": ["track_hash"],
        "oneOf": [{"required": [name]} for name in sources],
        "properties": {**sources, **_SHARED_PROPERTIES},
    }


_JSON_SOURCES = {
    "file_path": {
        "type": "string",
        "description": "absolute path of the track on the server, in an allowed folder",
    },
    "blob_uri": {
        "type": "string",
        "description": "instead of file_path: the track in the blob container",
        "example": "az://audio-files/track.mp3",
    },
}
_FORM_SOURCES = {"file": {"type": "string", "format": "binary"}}
SUBMIT_DOC: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _body_schema(_JSON_SOURCES)},
            "multipart/form-data": {"schema": _body_schema(_FORM_SOURCES)},
        },
    }
}


@router.post(
    "/jobs", openapi_extra=SUBMIT_DOC, summary="Submit a track by its path or blob (JSON), or whole (form)"
)
async def submit(request: Request) -> dict[str, object]:
    """Responds once the job is stored; callbacks and `GET /jobs/{job_id}` report its progress."""
    services = services_of(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    with _fields_named_as_here():
        if kind == "multipart/form-data":
            return await _submit_form(request, services)
        if kind == "application/json":
            submission = from_json(await whole_body(request, MAX_JSON_BYTES), services.check_url)
            assert submission.source is not None
            return await _accept(services, submission, submission.source)
    raise UnsupportedContentTypeError(
        "Content-Type must be application/json or multipart/form-data", field="Content-Type"
    )


async def _submit_form(request: Request, services: Services) -> dict[str, object]:
    limit = services.settings.max_upload_bytes + FORM_OVERHEAD_BYTES
    async with services.spooled_uploads.file("file") as file:
        reader = FormReader(request.headers["content-type"], "file", file)
        form = await reader.read(body_chunks(request, limit, field="file"))
        submission = from_form(form.fields, form.filename is not None, services.check_url)
        upload_id = await file.finish((form.filename or "")[:255], time.time())
    async with _for_once(services, upload_id):
        return await _accept(services, submission, Source(SourceKind.UPLOAD, upload_id))


async def _accept(services: Services, submission: Submission, source: Source) -> dict[str, object]:
    submitted = await services.jobs.submit(submission.request(source))
    return accepted(submitted.job)


@asynccontextmanager
async def _for_once(services: Services, upload_id: str) -> AsyncGenerator[None]:
    """Discards the upload when the block ends: by then the job has linked the file, or was refused."""
    try:
        yield
    finally:
        await services.uploads.discard(upload_id)


@contextmanager
def _fields_named_as_here() -> Generator[None]:
    """Makes errors use this API's name of their field."""
    try:
        yield
    except MismoError as error:
        if error.field in FIELDS:
            here = FIELDS[error.field]
            error.message = error.message.replace(error.field, here)
            error.field = here
        raise


@router.get("/jobs", summary="All jobs, newest first, in pages")
async def list_jobs(
    request: Request,
    page_size: Annotated[int, Query(description="0 to 1000; 0 is 100")] = 0,
    page_token: Annotated[str, Query(description="next_page_token of the page before")] = "",
    status: Annotated[list[str] | None, Query(description=f"any of {', '.join(STATUSES.values())}")] = None,
    dead_letters: Annotated[
        bool, Query(description="only jobs that failed from a cause that may pass")
    ] = False,
) -> Response:
    """`next_page_token` is empty on the last page. The results of the analyses are in each job's own response."""
    services = services_of(request)
    by_name = {name: state for state, name in STATUSES.items()}
    unknown = [name for name in status or () if name not in by_name]
    if unknown:
        raise InvalidFieldError(f"status must be any of {', '.join(by_name)}", field="status")
    states = [by_name[name] for name in status or ()]
    jobs, token = await services.jobs.list(states, {}, page_size, page_token, dead_letters=dead_letters)
    views = [services.jobs.view(job) for job in jobs]
    return await _json(
        lambda: {"jobs": [job_view(view, results=False) for view in views], "next_page_token": token}
    )


@router.get("/jobs/{job_id}", summary="One job: status, progress, stages, results, error, callbacks")
async def get_job(request: Request, job_id: str) -> Response:
    """`progress` is a number from 0 to 1; `results` has those of the analyses; `error` is null without one."""
    services = services_of(request)
    job = await services.jobs.get(job_id)
    callbacks = await services.jobs.callbacks_of(job_id)
    view = services.jobs.view(job)
    return await _json(lambda: job_view(view, callbacks))


@router.post("/jobs/{job_id}/replay", summary="Try a failed job once more")
async def replay_job(
    request: Request,
    job_id: str,
    expected_run_id: Annotated[str, Query(description="refuse any other run of the job")] = "",
) -> Response:
    """The job with its new run. Stages that have a result keep it; `GET /jobs/{job_id}` reports the others."""
    services = services_of(request)
    job = await services.jobs.replay(job_id, expected_run_id)
    callbacks = await services.jobs.callbacks_of(job_id)
    view = services.jobs.view(job)
    return await _json(lambda: job_view(view, callbacks))


async def _json(content: Callable[[], dict[str, object]]) -> Response:
    """Responds with what a function returns; in a thread, as the results of two hours take a quarter of a second."""
    return await asyncio.to_thread(lambda: JSONResponse(content()))


@router.delete("/jobs/{job_id}", summary="Cancel a job, delete it and remove its files")
async def delete_job(request: Request, job_id: str) -> dict[str, object]:
    """A repeated call gets 404."""
    await services_of(request).jobs.changes.delete(job_id)
    return {"job_id": job_id, "status": "deleted"}

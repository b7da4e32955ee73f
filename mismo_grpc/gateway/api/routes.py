"""The REST API of the Demucs web server: upload, look, download, cancel."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from mismo_grpc.errors import JobNotReadyError, UnsupportedContentTypeError
from mismo_grpc.gateway.api.capabilities import capabilities
from mismo_grpc.gateway.api.filenames import stem_of
from mismo_grpc.gateway.api.formats import ARCHIVES, format_of
from mismo_grpc.gateway.api.requests import ALL_STEMS, FILE_FIELD, FILENAME_LABEL, named_as_here, upload_form
from mismo_grpc.gateway.api.views import links_of, status_view, track_view
from mismo_grpc.gateway.multipart import FormReader
from mismo_grpc.gateway.ranges import file_response
from mismo_grpc.gateway.request_body import body_chunks
from mismo_grpc.gateway.services import Services, services_of
from mismo_grpc.gateway.submission import PRIORITIES
from mismo_grpc.gateway.views import STATUSES, moment
from mismo_grpc.jobs.job import Job, JobState
from mismo_grpc.separation.catalog import ModelDescription

FORM_OVERHEAD_BYTES = 1 << 20
"""The fields that a form may have besides its file."""
PAGE = 20
MAX_PAGE = 100

router = APIRouter(prefix="/api", tags=["web"])

UPLOAD_DOC: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FILE_FIELD],
                    "properties": {
                        FILE_FIELD: {"type": "string", "format": "binary"},
                        "model": {"type": "string", "description": "the server's default if left out"},
                        "stems": {
                            "type": "string",
                            "description": "all, one stem, or several separated by commas",
                            "default": ALL_STEMS,
                        },
                        "format": {"type": "string", "enum": list(ARCHIVES), "default": "wav"},
                        "priority": {"type": "string", "enum": list(PRIORITIES), "default": "normal"},
                    },
                    "additionalProperties": False,
                }
            }
        },
    }
}


@router.get("/info", summary="What the server can do: models, stems, formats, limits")
async def info(request: Request) -> dict[str, object]:
    """`models` has a `reason` for each model that is not available."""
    return await asyncio.to_thread(capabilities, services_of(request))


@router.post("/upload", status_code=202, openapi_extra=UPLOAD_DOC, summary="Upload a track to separate it")
async def upload(request: Request) -> dict[str, object]:
    """Responds once the job is stored; `GET /api/status/{job_id}` and Socket.IO report its progress."""
    services = services_of(request)
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        raise UnsupportedContentTypeError(
            f"Content-Type must be multipart/form-data, with the track in {FILE_FIELD}", field="Content-Type"
        )
    models = await asyncio.to_thread(_models, services)
    with named_as_here(models):
        return _accepted(await _submit(request, services, models))


async def _submit(request: Request, services: Services, models: list[ModelDescription]) -> Job:
    limit = services.settings.max_upload_bytes + FORM_OVERHEAD_BYTES
    async with services.spooled_uploads.file(FILE_FIELD) as file:
        reader = FormReader(request.headers["content-type"], FILE_FIELD, file)
        form = await reader.read(body_chunks(request, limit, field=FILE_FIELD))
        default = await asyncio.to_thread(services.status.default_model)
        checked = upload_form(form.fields, form.filename, models, default)
        upload_id = await file.finish(checked.filename, time.time())
    try:
        return (await services.jobs.submit(checked.request(upload_id))).job
    finally:
        # By now the job has linked the file, or was refused.
        await services.uploads.discard(upload_id)


def _models(services: Services) -> list[ModelDescription]:
    return [each.description for each in services.status.models()]


def _accepted(job: Job) -> dict[str, object]:
    # Also if the job reuses a result and has ended: clients expect it, and look at the status next.
    return {
        "job_id": job.job_id,
        "status": STATUSES[JobState.QUEUED],
        "message": "The track was uploaded; follow its progress at /api/status or over Socket.IO",
        **track_view(job),
        "created_at": moment(job.created_at),
        "links": {**links_of(job), "download": None},
    }


@router.get("/status/{job_id}", summary="One job: status, progress 0 to 100, message, error, times, links")
async def status(request: Request, job_id: str) -> dict[str, object]:
    """`progress` never falls, and is 100 only once the job is `completed`."""
    services = services_of(request)
    job = await services.jobs.get(job_id)
    return status_view(services.jobs, services.jobs.view(job))


@router.get("/jobs", summary="Recent jobs, newest first, in pages")
async def list_jobs(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description=f"1 to {MAX_PAGE}")] = PAGE,
    page_token: Annotated[str, Query(description="next_page_token of the page before")] = "",
) -> dict[str, object]:
    """`next_page_token` is empty on the last page. The jobs of all clients, also those over gRPC."""
    services = services_of(request)
    jobs, token = await services.jobs.list((), {}, limit, page_token)
    views = [status_view(services.jobs, services.jobs.view(job)) for job in jobs]
    return {"jobs": views, "next_page_token": token}


@router.head("/download/{job_id}", include_in_schema=False)
@router.get("/download/{job_id}", summary="A ZIP of the stems, in the format that the upload asked for")
async def download(request: Request, job_id: str) -> Response:
    """Ranges are served, so a broken download can be continued. 409 until the job is `completed`."""
    services = services_of(request)
    job = await services.jobs.get(job_id)
    if job.state is not JobState.SUCCEEDED:
        raise _not_ready(job)
    name = ARCHIVES[format_of(job)]
    saved = f"{stem_of(job.labels.get(FILENAME_LABEL, job_id))} - stems.zip"
    opening = services.jobs.artifacts.open(job_id, name, job.run_id)
    return await file_response(request, opening, filename=f"{job_id}-{name}", save_as=saved)


def _not_ready(job: Job) -> JobNotReadyError:
    status = STATUSES[job.state]
    if job.state is JobState.FAILED and job.error is not None:
        remedy = f"it failed: {job.error.message}"
    elif job.state.ended:
        remedy = "it was cancelled; upload the track again"
    else:
        remedy = f"its status is {status}; wait until it is completed"
    return JobNotReadyError(
        f"job {job.job_id} has nothing to download: {remedy}",
        metadata={"job_id": job.job_id, "status": status},
    )


@router.post("/cancel/{job_id}", summary="Cancel a job")
async def cancel(request: Request, job_id: str) -> dict[str, object]:
    """Responds with the job as it is now; one that has ended is not changed."""
    services = services_of(request)
    job = await services.jobs.changes.cancel(job_id)
    return status_view(services.jobs, services.jobs.view(job))


@router.delete("/jobs/{job_id}", summary="Cancel a job, delete it and remove its files")
async def delete_job(request: Request, job_id: str) -> dict[str, object]:
    """A repeated call gets 404."""
    await services_of(request).jobs.changes.delete(job_id)
    return {"job_id": job_id, "status": "deleted"}

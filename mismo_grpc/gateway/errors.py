"""Converts every error to JSON in one form, whatever raised it.

    {"error": {"code": "INVALID_FIELD", "message": "...", "field": "options.stems",
               "retryable": false, "metadata": {}}}

`field` is null if no field is at fault. A retryable error with a known delay has a Retry-After header.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from mismo_grpc.errors import MismoError
from mismo_grpc.wire_forms import wire

log: structlog.stdlib.BoundLogger = structlog.get_logger("mismo_grpc.gateway")


class ErrorFields(BaseModel):
    """The fields of an error."""

    code: str = Field(description="the reason, for programs: docs/errors.md", examples=["JOB_NOT_FOUND"])
    message: str = Field(
        description="what happened and what to do", examples=["there is no job 'track-1'; submit it first"]
    )
    field: str | None = Field(description="the field at fault, if one is", examples=["job_id"])
    retryable: bool = Field(description="whether the same request can succeed later", examples=[False])
    metadata: dict[str, str] = Field(description="details of this kind of error", examples=[{}])


class ErrorDocument(BaseModel):
    """The body of every response that reports an error."""

    error: ErrorFields


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorDocument, "description": "the request cannot be served as it is"},
    "5XX": {"model": ErrorDocument, "description": "the server cannot serve it now, or failed"},
}
"""What each route may respond besides its result, for OpenAPI."""

HTTP_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}


def error_body(
    code: str,
    message: str,
    *,
    field: str | None = None,
    retryable: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """Builds the JSON of an error."""
    return {
        "error": {
            "code": code,
            "message": message,
            "field": field,
            "retryable": retryable,
            "metadata": dict(metadata or {}),
        }
    }


def error_response(error: MismoError) -> JSONResponse:
    """Builds the response for a MismoError, with its HTTP status."""
    form = wire(error)
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    if form.http_status in (408, 413):
        # The rest of the request's body is not read, so the connection cannot be reused.
        headers["Connection"] = "close"
    body = error_body(
        form.reason, error.message, field=error.field, retryable=form.retryable, metadata=error.metadata
    )
    return JSONResponse(body, form.http_status, headers)


def add_error_handlers(app: FastAPI) -> None:
    """Makes every exception of a handler a response in this form."""

    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, MismoError)
        return error_response(error)

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = HTTP_CODES.get(error.status_code, "INVALID_REQUEST")
        message = str(error.detail)
        if error.status_code == 404:
            message = f"there is nothing at {request.url.path[:200]}; /docs lists all routes"
        if error.status_code == 405:
            message = f"{request.method} is not allowed here; /docs lists all routes"
        return JSONResponse(error_body(code, message), error.status_code, error.headers)

    async def unforeseen(request: Request, error: Exception) -> Response:
        incident = uuid.uuid4().hex
        log.error("a request failed", path=request.url.path, incident=incident, exc_info=error)
        message = "the server failed on this request; its log has the details under this incident id"
        return JSONResponse(error_body("INTERNAL", message, metadata={"incident": incident}), 500)

    app.add_exception_handler(MismoError, ours)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(Exception, unforeseen)

"""Health, readiness and metrics."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from mismo_grpc import __version__
from mismo_grpc.gateway.errors import error_body
from mismo_grpc.gateway.metrics import CONTENT_TYPE
from mismo_grpc.gateway.services import services_of

router = APIRouter(tags=["system"])


@router.get("/health", summary="200 if jobs are accepted; the model may still be loading")
async def health(request: Request) -> Response:
    """503 while the server shuts down, and while nothing can be separated: accepted jobs then wait."""
    jobs = services_of(request).jobs
    if jobs.draining:
        body = error_body("SERVER_DRAINING", "the server is shutting down; try again shortly", retryable=True)
        return JSONResponse({"status": "draining", **body}, 503, {"Retry-After": "5"})
    failure = services_of(request).engine_health().failure
    if failure:
        return JSONResponse({"status": "degraded", **_not_separating(failure)}, 503)
    return JSONResponse(
        {
            "status": "ok",
            "version": __version__,
            "jobs_queued": jobs.queued_count,
            "jobs_processing": jobs.running_count,
        }
    )


@router.get("/ready", summary="200 once the default model is loaded")
async def ready(request: Request) -> Response:
    """Before that, and while the server shuts down, 503."""
    services = services_of(request)
    engine = services.engine_health()
    if engine.failure:
        return JSONResponse(_not_separating(engine.failure), 503)
    if services.jobs.draining or not engine.model_is_warm:
        message = "the model is not loaded yet; jobs are accepted and wait for it"
        if engine.model_failure:
            message = f"the model is not loaded ({engine.model_failure}); loading is tried again"
        return JSONResponse(error_body("NOT_READY", message, retryable=True), 503, {"Retry-After": "1"})
    model = await asyncio.to_thread(services.status.default_model)
    return JSONResponse({"status": "ready", "model": model})


def _not_separating(failure: str) -> dict[str, object]:
    message = f"nothing can be separated until the server is restarted; jobs wait for that: {failure}"
    return error_body("NOT_SEPARATING", message)


@router.get("/metrics", summary="Metrics for Prometheus")
async def metrics(request: Request) -> Response:
    """In Prometheus' text format."""
    services = services_of(request)
    return Response(services.metrics.text(await services.gauges()), media_type=CONTENT_TYPE)

"""The HTTP application: its routes, middleware, error handlers, and the count of sent bytes."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response
from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send

from mismo_grpc import __version__
from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.gateway import files, jobs, system, waveforms
from mismo_grpc.gateway.api import routes as api
from mismo_grpc.gateway.api.cors import AllowedOrigins
from mismo_grpc.gateway.api.live_progress import LiveProgress, LiveProgressRoute
from mismo_grpc.gateway.errors import DOCUMENTED, add_error_handlers, error_response
from mismo_grpc.gateway.hosts import KnownHosts
from mismo_grpc.gateway.lingering_close import LingeringClose
from mismo_grpc.gateway.overload import BoundedRequests
from mismo_grpc.gateway.pages import routes as pages
from mismo_grpc.gateway.pages.assets import read_assets
from mismo_grpc.gateway.pages.security import NoSniffing
from mismo_grpc.gateway.services import Services
from mismo_grpc.gateway.websocket import calls
from mismo_grpc.gateway.workers import routes as workers

DESCRIPTION = """\
Separates tracks into stems, analyses them, and generates stems. This is the HTTP API, for clients that submit, poll and
receive callbacks; over gRPC (`mismo.analysis.v1`) stems are streamed while they are made.

Every error has the form `{"error": {"code", "message", "field", "retryable", "metadata"}}`.
"""


def build_application(services: Services | None = None, lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """Builds the application; without `services` the lifespan must set `app.state.services`."""
    app = FastAPI(
        title="mismo_grpc",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        responses=DOCUMENTED,
        # FastAPI's own take their scripts from another host; pages/ has one without.
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    add_error_handlers(app)

    async def wrong_parameter(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"][1:]) or "request"
        return error_response(InvalidFieldError(f"{name}: {problem['msg']}", field=name))

    app.add_exception_handler(RequestValidationError, wrong_parameter)
    for room in (system, jobs, files, waveforms, workers, api, calls):
        app.include_router(room.router)
    app.include_router(pages.build_router(read_assets()))
    live: LiveProgress = LiveProgress(lambda: app.state.services)
    app.state.live_progress = live
    app.add_middleware(_CountedBytes)
    app.add_middleware(LiveProgressRoute, live=live)
    app.add_middleware(BoundedRequests)
    app.add_middleware(AllowedOrigins)
    app.add_middleware(KnownHosts)
    app.add_middleware(NoSniffing)
    app.add_middleware(_CountedResponses)
    app.add_middleware(LingeringClose)
    return app


_DOWNLOADS = ("/jobs/", "/api/download/")


class _CountedResponses:
    """Counts all responses, also those of the other middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        services: Services = scope["app"].state.services

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                services.metrics.on_response(scope["method"], message["status"])
            await send(message)

        await self._app(scope, receive, counted)


class _CountedBytes:
    """Counts the bytes of the responses of the routes of jobs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_DOWNLOADS):
            await self._app(scope, receive, send)
            return
        services: Services = scope["app"].state.services

        async def counted(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body":
                services.metrics.on_bytes("http", len(message.get("body", b"")))

        await self._app(scope, receive, counted)

"""The objects that the routes call; the gRPC services use the same ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request

from mismo_grpc.delivery.body import Bodies
from mismo_grpc.gateway.metrics import Gauges, Metrics
from mismo_grpc.orchestration.server_status import ServerStatus
from mismo_grpc.orchestration.service import Jobs
from mismo_grpc.separation.host import EngineHealth
from mismo_grpc.settings import Settings
from mismo_grpc.uploads.spooled_upload import SpooledUploads
from mismo_grpc.uploads.uploads import Uploads


@dataclass(frozen=True)
class Services:
    """Everything that a route needs; `check_url` raises InvalidFieldError for a forbidden callback URL."""

    jobs: Jobs
    uploads: Uploads
    spooled_uploads: SpooledUploads
    status: ServerStatus
    settings: Settings
    metrics: Metrics
    gauges: Callable[[], Awaitable[Gauges]]
    bodies: Bodies
    check_url: Callable[[str], object]
    engine_health: Callable[[], EngineHealth]


def services_of(request: Request) -> Services:
    """Returns the services of the request's application."""
    services: Services = request.app.state.services
    return services

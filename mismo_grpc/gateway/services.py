"""The objects that the routes call; the gRPC services use the same ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from fastapi import Request

from mismo_grpc.delivery.body import Bodies
from mismo_grpc.gateway.metrics import Gauges, Metrics
from mismo_grpc.orchestration.server_status import ServerStatus
from mismo_grpc.orchestration.service import Jobs
from mismo_grpc.separation.host import EngineHealth
from mismo_grpc.settings import Settings
from mismo_grpc.uploads.spooled_upload import SpooledUploads
from mismo_grpc.uploads.uploads import Uploads


class Channel(Protocol):
    """The messages of one call over a WebSocket. Both methods raise CancelledError once the client is gone."""

    async def read(self) -> bytes | None:
        """Waits for the next message of the client; None once the client has sent its last one."""
        ...

    async def write(self, message: bytes) -> None:
        """Sends a message; waits while the client reads too slowly."""
        ...


class Call(Protocol):
    """A method of the gRPC contract that can be called over a Channel."""

    client_streams: bool
    """Whether the client sends any number of messages; otherwise one."""

    async def serve(self, channel: Channel) -> None:
        """Serves one call to its end; raises MismoError if it fails. Cancel it when the client is gone."""
        ...


@dataclass(frozen=True)
class Services:
    """Everything that a route needs.

    `check_url` raises InvalidFieldError for a forbidden callback URL. `find_call` returns a method of the contract by
    its name, such as `mismo.analysis.v1.JobService/GetJob`, or None.
    """

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
    find_call: Callable[[str], Call | None]


def services_of(request: Request) -> Services:
    """Returns the services of the request's application."""
    services: Services = request.app.state.services
    return services

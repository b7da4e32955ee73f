"""The gRPC server: services, health, reflection, limits, and how it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1._async import (
    HealthServicer,  # health.aio by another name: type checkers do not see that one
)
from grpc_reflection.v1alpha import reflection

from mismo.analysis.v1 import job_service_pb2, system_service_pb2, transfer_service_pb2
from mismo.analysis.v1.job_service_pb2_grpc import add_JobServiceServicer_to_server
from mismo.analysis.v1.system_service_pb2_grpc import add_SystemServiceServicer_to_server
from mismo.analysis.v1.transfer_service_pb2_grpc import add_TransferServiceServicer_to_server
from mismo_grpc.jobs.service import Jobs
from mismo_grpc.jobs.status import ServerStatus
from mismo_grpc.jobs.uploads import Uploads
from mismo_grpc.rpc.interceptor import Gate
from mismo_grpc.rpc.job_service import JobService
from mismo_grpc.rpc.open_streams import OpenStreams
from mismo_grpc.rpc.system_service import SystemService
from mismo_grpc.rpc.transfer_service import TransferService
from mismo_grpc.settings import Settings

JOB_SERVICE = job_service_pb2.DESCRIPTOR.services_by_name["JobService"].full_name
TRANSFER_SERVICE = transfer_service_pb2.DESCRIPTOR.services_by_name["TransferService"].full_name
SYSTEM_SERVICE = system_service_pb2.DESCRIPTOR.services_by_name["SystemService"].full_name
MODEL_HEALTH = "mismo.analysis.v1.Model"
"""SERVING in grpc.health.v1 while the default model is warm; no RPC service has this name."""

MAX_MESSAGE_BYTES = 4 << 20

OPTIONS: tuple[tuple[str, int], ...] = (
    # A second server on the same port is an error, not a lottery between two.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A player that lost its network is noticed within 45 s, also while nothing is sent.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 15_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)


class GrpcServer:
    """All services on one grpc.aio server; make, start and stop it on one event loop."""

    def __init__(
        self,
        jobs: Jobs,
        uploads: Uploads,
        status: ServerStatus,
        settings: Settings,
        *,
        on_bytes: Callable[[int], None],
        check_url: Callable[[str, str], object],
    ) -> None:
        """`on_bytes` is told of the payload that is streamed out; `check_url` as for JobService."""
        self.streams = OpenStreams(settings.max_streams)
        self._host = settings.host
        self._port = settings.grpc_port
        self._health = HealthServicer()
        self._reporting: set[asyncio.Task[None]] = set()
        gate = Gate(self.streams, idle_seconds=settings.stream_idle_seconds)
        self._server = grpc.aio.server(interceptors=[gate], options=OPTIONS)
        add_JobServiceServicer_to_server(JobService(jobs, check_url), self._server)
        add_TransferServiceServicer_to_server(
            TransferService(jobs, uploads, on_bytes, idle_seconds=settings.stream_idle_seconds), self._server
        )
        add_SystemServiceServicer_to_server(SystemService(jobs, status, settings), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (JOB_SERVICE, TRANSFER_SERVICE, SYSTEM_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self) -> int:
        """Listens and takes jobs; answers the port, which port 0 leaves to the system.

        Raises RuntimeError if the port is taken.
        """
        host = f"[{self._host}]" if ":" in self._host else self._host
        await self._set_health(True, "", JOB_SERVICE, TRANSFER_SERVICE, SYSTEM_SERVICE)
        await self._set_health(False, MODEL_HEALTH)
        port = self._server.add_insecure_port(f"{host}:{self._port}")
        await self._server.start()
        return port

    def report_health(self, *, separates: bool, model_is_warm: bool) -> None:
        """Tells health whether segments can be computed, now or once all is loaded, and whether the model is."""

        async def report() -> None:
            # Uploads and finished stems need no device.
            await self._set_health(separates, "", JOB_SERVICE)
            await self._set_health(separates and model_is_warm, MODEL_HEALTH)

        task = asyncio.create_task(report())
        self._reporting.add(task)
        task.add_done_callback(self._reporting.discard)

    async def _set_health(self, serving: bool, *names: str) -> None:
        states = health_pb2.HealthCheckResponse
        for name in names:
            await self._health.set(name, states.SERVING if serving else states.NOT_SERVING)

    async def drain(self, patience: float) -> None:
        """Health says NOT_SERVING, new streams are refused; those still open after `patience` seconds end as
        UNAVAILABLE, so that their clients take them up again elsewhere. Unary calls go on.
        """
        await self._health.enter_graceful_shutdown()
        await self.streams.end_all(patience)

    async def stop(self, grace: float) -> None:
        """Refuses all calls; what is left after `grace` seconds is cut."""
        await self._server.stop(grace)
        await asyncio.gather(*self._reporting)

"""The gRPC server: services, health, reflection and limits; how it starts, drains and stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1._async import (
    HealthServicer,  # the class of health.aio under a name that type checkers know
)
from grpc_reflection.v1alpha import reflection

from mismo.analysis.v1 import job_service_pb2, system_service_pb2, transfer_service_pb2
from mismo.analysis.v1.job_service_pb2_grpc import add_JobServiceServicer_to_server
from mismo.analysis.v1.system_service_pb2_grpc import add_SystemServiceServicer_to_server
from mismo.analysis.v1.transfer_service_pb2_grpc import add_TransferServiceServicer_to_server
from mismo_grpc.orchestration.server_status import ServerStatus
from mismo_grpc.orchestration.service import Jobs
from mismo_grpc.rpc.call_limits import CallLimit, CallLimits
from mismo_grpc.rpc.connections import MAX_MESSAGE_BYTES, USUAL_TIMES, ConnectionTimes, server_options
from mismo_grpc.rpc.interceptor import Gate
from mismo_grpc.rpc.job_service import JobService
from mismo_grpc.rpc.message_calls import MessageCalls
from mismo_grpc.rpc.open_streams import OpenStreams
from mismo_grpc.rpc.system_service import SystemService
from mismo_grpc.rpc.transfer_service import TransferService
from mismo_grpc.settings import Settings
from mismo_grpc.uploads.uploads import Uploads

JOB_SERVICE = job_service_pb2.DESCRIPTOR.services_by_name["JobService"].full_name
TRANSFER_SERVICE = transfer_service_pb2.DESCRIPTOR.services_by_name["TransferService"].full_name
SYSTEM_SERVICE = system_service_pb2.DESCRIPTOR.services_by_name["SystemService"].full_name
MODEL_HEALTH = "mismo.analysis.v1.Model"
"""The health service name that is SERVING while the default model is loaded; no RPC service has this name."""

CALL_LIMITS = CallLimits(
    # A page of 1,000 jobs takes a quarter of a second, in threads that other calls share.
    unary={f"/{JOB_SERVICE}/ListJobs": CallLimit(at_work=1, waiting=31)},
    request_bytes={f"/{TRANSFER_SERVICE}/UploadAudio": MAX_MESSAGE_BYTES},
)


class GrpcServer:
    """All services on one grpc.aio server; create, start and stop it on one event loop."""

    def __init__(
        self,
        jobs: Jobs,
        uploads: Uploads,
        status: ServerStatus,
        settings: Settings,
        *,
        on_bytes: Callable[[str, int], None],
        check_url: Callable[[str, str], object],
        times: ConnectionTimes = USUAL_TIMES,
    ) -> None:
        """`on_bytes` gets the way, "grpc" or "websocket", and the payload bytes of each streamed message.

        `check_url` as for JobService.
        """
        self.streams = OpenStreams(settings.max_streams)
        self._host = settings.host
        self._port = settings.grpc_port
        self._health = HealthServicer()
        self._reporting: set[asyncio.Task[None]] = set()
        gate = Gate(self.streams, CALL_LIMITS, idle_seconds=settings.stream_idle_seconds)
        self._server = grpc.aio.server(interceptors=[gate], options=server_options(times))
        self.message_calls = MessageCalls(gate)
        """The same methods for transports other than gRPC."""
        idle_seconds = settings.stream_idle_seconds
        for way, server in (
            ("grpc", self._server),
            ("websocket", cast("grpc.aio.Server", self.message_calls)),
        ):
            transfer = TransferService(jobs, uploads, partial(on_bytes, way), idle_seconds=idle_seconds)
            add_JobServiceServicer_to_server(JobService(jobs, check_url), server)
            add_TransferServiceServicer_to_server(transfer, server)
            add_SystemServiceServicer_to_server(SystemService(jobs, status, settings), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (JOB_SERVICE, TRANSFER_SERVICE, SYSTEM_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self) -> int:
        """Starts listening and accepts jobs; returns the port (the system chooses one for port 0).

        Raises RuntimeError if the port is in use.
        """
        host = f"[{self._host}]" if ":" in self._host else self._host
        await self._set_health(True, "", JOB_SERVICE, TRANSFER_SERVICE, SYSTEM_SERVICE)
        await self._set_health(False, MODEL_HEALTH)
        port = self._server.add_insecure_port(f"{host}:{self._port}")
        await self._server.start()
        return port

    def report_health(self, *, separates: bool, model_is_warm: bool) -> None:
        """Sets the health statuses: whether segments can be computed, now or once all is loaded, and whether the
        default model is loaded."""

        async def report() -> None:
            # Not TransferService: uploads and finished stems need no device.
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
        """Sets health to NOT_SERVING and refuses new streams; unary calls are still served.

        Streams that are open after `patience` seconds end with UNAVAILABLE, so that their clients resume elsewhere.
        """
        await self._health.enter_graceful_shutdown()
        await self.streams.end_all(patience)

    async def stop(self, grace: float) -> None:
        """Refuses all calls; cancels those that still run after `grace` seconds."""
        await self._server.stop(grace)
        await asyncio.gather(*self._reporting)

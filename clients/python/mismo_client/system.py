"""Calls about the server itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import grpc

from mismo.analysis.v1 import system_service_pb2, system_service_pb2_grpc
from mismo_client.durations import duration
from mismo_client.jobs import retried
from mismo_client.options import ClientOptions
from mismo_client.streaming import reopened


class SystemCalls:
    """SystemService; methods raise MismoRpcError."""

    def __init__(self, stub: system_service_pb2_grpc.SystemServiceAsyncStub, options: ClientOptions) -> None:
        self._stub = stub
        self._options = options
        self._timeout = options.call_timeout

    async def info(self) -> system_service_pb2.GetServerInfoResponse:
        """What the server is and how it fares."""
        request = system_service_pb2.GetServerInfoRequest()
        return await retried(lambda: self._stub.GetServerInfo(request, timeout=self._timeout), self._options)

    async def models(self) -> list[system_service_pb2.Model]:
        """Every model it knows, usable or not."""
        request = system_service_pb2.ListModelsRequest()
        answer = await retried(lambda: self._stub.ListModels(request, timeout=self._timeout), self._options)
        return list(answer.models)

    async def stages(self) -> list[system_service_pb2.StageInfo]:
        """Every stage of the contract, offered or not."""
        request = system_service_pb2.ListStagesRequest()
        answer = await retried(lambda: self._stub.ListStages(request, timeout=self._timeout), self._options)
        return list(answer.stages)

    async def watch_resources(
        self, interval: float | None = None
    ) -> AsyncGenerator[system_service_pb2.WatchResourcesResponse, None]:
        """Samples every `interval` seconds until the consumer leaves."""

        def open_call() -> grpc.aio.UnaryStreamCall[
            system_service_pb2.WatchResourcesRequest, system_service_pb2.WatchResourcesResponse
        ]:
            return self._stub.WatchResources(
                system_service_pb2.WatchResourcesRequest(interval=duration(interval))
            )

        attempts = self._options.stream_attempts()
        async with aclosing(reopened(open_call, attempts)) as samples:
            async for sample in samples:
                attempts.progressed()
                yield sample

"""Implements SystemService with `ServerStatus` and `Jobs`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import Any

import grpc

from mismo.analysis.v1 import system_service_pb2 as pb
from mismo.analysis.v1.system_service_pb2_grpc import SystemServiceServicer
from mismo_grpc import __version__
from mismo_grpc.orchestration.server_status import ModelStatus, ResourceSample, ServerStatus
from mismo_grpc.orchestration.service import Jobs
from mismo_grpc.rpc.connections import MIN_KEEPALIVE_SECONDS
from mismo_grpc.rpc.job_messages import stage_number
from mismo_grpc.rpc.values import ENCODINGS, bounded_seconds, duration, timestamp
from mismo_grpc.separation.catalog import ModelState
from mismo_grpc.settings import Settings
from mismo_grpc.stages.table import TABLE, StageRow
from mismo_grpc.streaming.wire_format import MAX_CHUNK_BYTES

Context = grpc.aio.ServicerContext[Any, Any]

_MODEL_STATES = {
    ModelState.WARM: pb.MODEL_STATE_WARM,
    ModelState.AVAILABLE: pb.MODEL_STATE_AVAILABLE,
    ModelState.UNAVAILABLE: pb.MODEL_STATE_UNAVAILABLE,
}


class SystemService(SystemServiceServicer):
    """Reports the server's properties, models, stages and load."""

    def __init__(self, jobs: Jobs, status: ServerStatus, settings: Settings) -> None:
        self._jobs = jobs
        self._status = status
        self._limits = pb.Limits(
            max_upload_bytes=settings.max_upload_bytes,
            max_track_duration=duration(settings.max_track_seconds),
            max_chunk_bytes=MAX_CHUNK_BYTES,
            max_streams=settings.max_streams,
            default_result_ttl=duration(settings.job_retention_hours * 3600),
            stream_idle_timeout=duration(settings.stream_idle_seconds),
            min_keepalive_interval=duration(MIN_KEEPALIVE_SECONDS),
        )

    async def GetServerInfo(
        self, request: pb.GetServerInfoRequest, context: Context
    ) -> pb.GetServerInfoResponse:
        devices = await asyncio.to_thread(self._status.devices)
        return pb.GetServerInfoResponse(
            version=__version__,
            server_epoch=self._jobs.epoch,
            start_time=timestamp(self._status.started_at),
            devices=_devices(devices),
            warm_models=self._status.warm_models(),
            default_model=await asyncio.to_thread(self._status.default_model),
            queue_depth=self._jobs.active_count,
            queue_capacity=self._jobs.queue_capacity,
            limits=self._limits,
            encodings=ENCODINGS.values(),
            draining=self._jobs.draining,
        )

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        models = await asyncio.to_thread(self._status.models)
        return pb.ListModelsResponse(models=[_model(model) for model in models])

    async def ListStages(self, request: pb.ListStagesRequest, context: Context) -> pb.ListStagesResponse:
        reasons = await asyncio.to_thread(self._status.unavailable_stages)
        return pb.ListStagesResponse(stages=[_stage(row, reasons.get(row.stage, "")) for row in TABLE])

    async def WatchResources(
        self, request: pb.WatchResourcesRequest, context: Context
    ) -> AsyncGenerator[pb.WatchResourcesResponse, None]:
        interval = bounded_seconds(
            request.interval if request.HasField("interval") else None, 1.0, 0.1, 60.0, "interval"
        )
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            sample = await asyncio.to_thread(self._status.resources)
            yield self._resources(sample)
            # A slow client gets fewer samples, but never outdated ones.
            due = max(due + interval, loop.time())
            await asyncio.sleep(due - loop.time())

    def _resources(self, sample: ResourceSample) -> pb.WatchResourcesResponse:
        return pb.WatchResourcesResponse(
            time=timestamp(sample.time),
            cpu_utilization=sample.cpu_utilization,
            memory_used_bytes=sample.memory_used,
            memory_total_bytes=sample.memory_total,
            disk_free_bytes=sample.disk_free,
            disk_used_by_jobs_bytes=sample.disk_used_by_jobs,
            jobs_queued=self._jobs.queued_count,
            jobs_running=self._jobs.running_count,
            segments_waiting=sample.segments_waiting,
            devices=_devices(sample.devices),
        )


def _devices(devices: Iterable[Any]) -> list[pb.Device]:
    return [
        pb.Device(
            name=device.name,
            description=device.description,
            precision=device.precision,
            max_batch=device.max_batch,
            memory_total_bytes=device.memory_total,
            memory_used_bytes=device.memory_used,
        )
        for device in devices
    ]


def _stage(row: StageRow, reason: str) -> pb.StageInfo:
    return pb.StageInfo(
        stage=stage_number(row.stage),
        available=not reason,
        reason=reason,
        needs=[stage_number(need) for need in (*row.needs, *row.needs_one[:1])],
    )


def _model(model: ModelStatus) -> pb.Model:
    known = model.description
    return pb.Model(
        name=known.name,
        stem_names=known.sources,
        sample_rate=known.sample_rate,
        segment_frames=known.segment_frames,
        state=_MODEL_STATES[known.state],
        reason=known.reason,
        realtime_factor=model.realtime_factor,
        is_default=model.default,
    )

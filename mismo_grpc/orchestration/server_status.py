"""The server's properties, models and load, for people and load balancers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import psutil

from mismo_grpc.jobs.job import Stage
from mismo_grpc.separation.catalog import ModelCatalog, ModelDescription, ModelState
from mismo_grpc.separation.device import DeviceInfo
from mismo_grpc.separation.engine import SegmentEngine
from mismo_grpc.storage.disk import Disk

OVERLAP_OF_FACTOR = 0.25
"""Realtime factors are reported for this overlap, the default."""


class SegmentPace:
    """A moving average of the time that a segment of each model takes, in seconds; any thread may report."""

    WEIGHT = 0.3

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def report(self, model: str, seconds: float) -> None:
        """Adds the time of one segment, in seconds."""
        before = self._seconds.get(model)
        self._seconds[model] = seconds if before is None else before + self.WEIGHT * (seconds - before)

    def seconds(self, model: str) -> float:
        """The average time of a segment, in seconds; 0 if none was measured yet."""
        return self._seconds.get(model, 0.0)


@dataclass(frozen=True)
class ModelStatus:
    """A model and its measured speed."""

    description: ModelDescription
    realtime_factor: float
    default: bool


@dataclass(frozen=True)
class ResourceSample:
    """One sample of the machine's load; sizes in bytes, shares from 0 to 1, time in seconds since the epoch."""

    time: float
    cpu_utilization: float
    memory_used: int
    memory_total: int
    disk_free: int
    disk_used_by_jobs: int
    segments_waiting: int
    devices: tuple[DeviceInfo, ...]


class ServerStatus:
    """Answers for GetServerInfo, ListModels and WatchResources; methods block, call them in a thread."""

    def __init__(
        self,
        catalog: ModelCatalog,
        pace: SegmentPace,
        disk: Disk,
        jobs_dir: Path,
        *,
        engine: Callable[[], SegmentEngine | None],
        default_model: Callable[[], str],
        used_by_jobs: Callable[[], int],
        started_at: float,
        stage_reasons: Mapping[Stage, Callable[[], str]] = MappingProxyType({}),
    ) -> None:
        """`stage_reasons` return why a stage is not available, "" if it is; they may block."""
        self.started_at = started_at
        self._catalog = catalog
        self._pace = pace
        self._disk = disk
        self._jobs_dir = jobs_dir
        self._engine = engine
        self.default_model = default_model
        self._used_by_jobs = used_by_jobs
        self._stage_reasons = stage_reasons
        self._process = psutil.Process()

    def devices(self) -> tuple[DeviceInfo, ...]:
        """The devices; none while the engine starts."""
        engine = self._engine()
        return tuple(device.info() for device in engine.devices) if engine is not None else ()

    def warm_models(self) -> tuple[str, ...]:
        """Names of the models in memory."""
        engine = self._engine()
        return tuple(engine.devices[0].pool.warm()) if engine is not None and engine.devices else ()

    def models(self) -> list[ModelStatus]:
        """All known models; one whose last load failed is unavailable until a job or the warm-up loads it."""
        engine = self._engine()
        warm = self.warm_models()
        failures = engine.devices[0].pool.failures() if engine is not None else {}
        default = self.default_model()
        models: list[ModelStatus] = []
        for name in self._catalog.names():
            description = self._catalog.describe(name)
            if name in warm:
                description = replace(description, state=ModelState.WARM, reason="")
            elif name in failures:
                description = replace(description, state=ModelState.UNAVAILABLE, reason=failures[name])
            models.append(self._model(description, name == default))
        return models

    def unavailable_stages(self) -> dict[Stage, str]:
        """Why stages are not available, for those that are not."""
        found = {stage: reason() for stage, reason in self._stage_reasons.items()}
        return {stage: reason for stage, reason in found.items() if reason}

    def _model(self, description: ModelDescription, default: bool) -> ModelStatus:
        seconds = self._pace.seconds(description.name)
        stride = description.segment_frames * (1 - OVERLAP_OF_FACTOR) / description.sample_rate
        return ModelStatus(description, stride / seconds if seconds else 0.0, default)

    def disk_free(self) -> int:
        """The bytes that can still be written in the jobs folder; raises OSError."""
        return self._disk.free_bytes(self._jobs_dir)

    @property
    def disk_used_by_jobs(self) -> int:
        """The bytes of finished jobs, as of the last sweep; does not block."""
        return self._used_by_jobs()

    def resources(self) -> ResourceSample:
        """Takes a sample; its CPU load is the average since the last sample."""
        engine = self._engine()
        memory = psutil.virtual_memory()
        return ResourceSample(
            time.time(),
            psutil.cpu_percent(None) / 100.0,
            self._process.memory_info().rss,
            memory.total,
            self.disk_free(),
            self.disk_used_by_jobs,
            engine.scheduler.waiting if engine is not None else 0,
            self.devices(),
        )

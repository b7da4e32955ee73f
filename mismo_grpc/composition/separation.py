"""Builds the parts that separate: the models, the scheduler, and the host that starts the engine in the background."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from mismo_grpc.executors import Executors
from mismo_grpc.orchestration.admission import default_model
from mismo_grpc.orchestration.server_status import SegmentPace
from mismo_grpc.separation.catalog import ModelCatalog
from mismo_grpc.separation.device import Device, torch_device
from mismo_grpc.separation.engine import SegmentEngine
from mismo_grpc.separation.host import EngineHost
from mismo_grpc.separation.models import ModelPool
from mismo_grpc.separation.scheduler import Scheduler
from mismo_grpc.settings import Settings


@dataclass(frozen=True)
class SeparationParts:
    """The parts that separate; the engine is built only by `engines.start`."""

    catalog: ModelCatalog
    pace: SegmentPace
    scheduler: Scheduler
    engines: EngineHost
    default_model: Callable[[], str]
    """Returns the model of jobs that name none."""


def build_separation(
    settings: Settings,
    executors: Executors,
    *,
    on_segment: Callable[[str, float, float], None],
    on_failure: Callable[[], None],
    wrap_device: Callable[[Device], Device],
) -> SeparationParts:
    """Builds all parts but the engine, which imports torch.

    `on_segment` is called in any thread for each segment, with the model's name, the seconds that it took, and its
    share of the track in seconds; `on_failure` is called if the engine cannot be built; `wrap_device` gets each device
    and returns the one that the engine uses in its place.
    """
    catalog = ModelCatalog(settings.model_dirs)
    pace = SegmentPace()
    scheduler = Scheduler(time.monotonic)

    def segment_done(model: str, seconds: float, audio_seconds: float) -> None:
        pace.report(model, seconds)
        on_segment(model, seconds, audio_seconds)

    def build_engine() -> SegmentEngine:
        device = torch_device(
            settings.device,
            lambda device: ModelPool(
                catalog, device, settings.model_memory_bytes, keep_warm=settings.keep_models_warm
            ),
            precision=settings.precision,
            max_batch=settings.max_batch,
            cpu_threads=settings.cpu_threads,
        )
        return SegmentEngine([wrap_device(device)], scheduler, segment_done)

    def name_default() -> str:
        return default_model(catalog, settings.model)

    engines = EngineHost(
        build_engine,
        name_default,
        wanted_model=settings.model,
        hub=settings.hub,
        on_failure=on_failure,
        in_thread=executors.model,
    )
    return SeparationParts(catalog, pace, scheduler, engines, name_default)

"""What separates: the models, the scheduler, and the engine that is brought up behind the open port."""

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
    """The engine is not built before `engines.start`."""

    catalog: ModelCatalog
    pace: SegmentPace
    scheduler: Scheduler
    engines: EngineHost
    default_model: Callable[[], str]
    """The model of a job that names none."""


def build_separation(
    settings: Settings,
    executors: Executors,
    *,
    on_segment: Callable[[str, float], None],
    on_failure: Callable[[], None],
    wrap_device: Callable[[Device], Device],
) -> SeparationParts:
    """Builds all but the engine, which imports torch.

    `on_segment` gets a model's name and the seconds of each segment, in any thread; `on_failure` is called if there
    can be no engine; `wrap_device` gets each device and answers what the engine uses in its place.
    """
    catalog = ModelCatalog(settings.model_dirs)
    pace = SegmentPace()
    scheduler = Scheduler(time.monotonic)

    def segment_done(model: str, seconds: float) -> None:
        pace.report(model, seconds)
        on_segment(model, seconds)

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

"""Builds the parts that talk to clients: the gRPC server, the HTTP gateway, the outbox of callbacks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from mismo_grpc.composition.orchestration import OrchestrationParts
from mismo_grpc.composition.persistence import Persistence
from mismo_grpc.composition.separation import SeparationParts
from mismo_grpc.delivery.attempts import RetryPolicy
from mismo_grpc.delivery.body import Bodies
from mismo_grpc.delivery.guard import UrlGuard
from mismo_grpc.delivery.outbox import Outbox
from mismo_grpc.delivery.resolver import Resolver
from mismo_grpc.delivery.sender import Sender
from mismo_grpc.executors import Executors
from mismo_grpc.gateway.application import build_application
from mismo_grpc.gateway.metrics import Gauges, Metrics
from mismo_grpc.gateway.server import HttpServer
from mismo_grpc.gateway.services import Services
from mismo_grpc.orchestration.server_status import ServerStatus
from mismo_grpc.results.waveforms import read_waveforms
from mismo_grpc.rpc.server import GrpcServer
from mismo_grpc.separation.host import EngineHealth
from mismo_grpc.settings import Settings


@dataclass(frozen=True)
class FrontEnds:
    """The parts that talk to clients; none listens or sends before it is started."""

    grpc: GrpcServer
    http: HttpServer
    services: Services
    outbox: Outbox


def build_front_ends(
    settings: Settings,
    executors: Executors,
    persistence: Persistence,
    separation: SeparationParts,
    orchestration: OrchestrationParts,
    metrics: Metrics,
) -> FrontEnds:
    """Builds the front ends and connects them, metrics and health to the objects that they report on."""
    repository, engines, jobs = persistence.repository, separation.engines, orchestration.jobs
    guard = UrlGuard(Resolver(), settings.callback_allowed_hosts)
    bodies = Bodies(persistence.runs, read_waveforms, executors.bulk, orchestration.copies)
    repository.on_accepted.append(metrics.on_accepted)
    repository.on_change.append(metrics.on_change)
    server = GrpcServer(
        jobs,
        persistence.uploads,
        orchestration.status,
        settings,
        on_bytes=metrics.on_bytes,
        check_url=guard.check_callback_url,
    )

    def report_health(health: EngineHealth) -> None:
        server.report_health(separates=not health.failure, model_is_warm=health.model_is_warm)

    engines.on_change.append(report_health)

    async def gauges() -> Gauges:
        status, health = orchestration.status, engines.health
        return Gauges(
            draining=jobs.draining,
            separating=not health.failure,
            queued=jobs.queued_count,
            running=jobs.running_count,
            retrying=jobs.retrying_count,
            dead_letters=orchestration.sweeper.dead_letters,
            queue_capacity=jobs.queue_capacity,
            segments_waiting=separation.scheduler.waiting,
            streams_open=server.streams.count,
            uploads_open=persistence.uploads.writers_count,
            callbacks_sending=outbox.sending_count,
            model_warm=health.model_is_warm,
            warm_models=status.warm_models(),
            devices=status.devices(),
            disk_free=await _disk_free(status),
            disk_used_by_jobs=status.disk_used_by_jobs,
            disk_budget=settings.disk_budget_bytes,
        )

    services = Services(
        jobs,
        persistence.uploads,
        persistence.spooled_uploads,
        orchestration.status,
        settings,
        metrics,
        gauges,
        check_url=guard.check_callback_url,
        bodies=bodies,
        engine_health=lambda: engines.health,
        find_call=server.message_calls.find,
    )
    outbox = Outbox(
        repository,
        persistence.runs,
        bodies,
        Sender(
            guard,
            timeout=settings.callback_timeout,
            secret=settings.callback_secret.get_secret_value(),
            now=repository.now,
        ),
        RetryPolicy(settings.callback_retries, settings.callback_retry_delay),
        metrics.on_callback,
        partial(metrics.on_bytes, "callback"),
    )
    http = HttpServer(build_application(services), settings.host, settings.http_port)
    return FrontEnds(server, http, services, outbox)


async def _disk_free(status: ServerStatus) -> int | None:
    """Returns the free bytes for jobs; None if the disk does not say: metrics matter when it is broken, too."""
    try:
        return await asyncio.to_thread(status.disk_free)
    except OSError:
        return None

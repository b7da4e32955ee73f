"""The composition root: `build_app` makes one complete server, which is then started and stopped in order."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import structlog

from mismo_grpc import __version__
from mismo_grpc.composition.analyses import start_analyses
from mismo_grpc.composition.front_ends import FrontEnds, build_front_ends
from mismo_grpc.composition.orchestration import OrchestrationParts, build_orchestration
from mismo_grpc.composition.persistence import Persistence, open_persistence
from mismo_grpc.composition.separation import SeparationParts, build_separation
from mismo_grpc.errors import MismoError
from mismo_grpc.executors import Executors
from mismo_grpc.gateway.metrics import Metrics
from mismo_grpc.listening import cannot_listen, check_address
from mismo_grpc.separation.device import Device
from mismo_grpc.settings import Settings
from mismo_grpc.storage.disk import Disk, FileSystemDisk

log = structlog.get_logger(__name__)

BLOCKING_THREADS = 32
STREAM_PATIENCE_SECONDS = 1.0
"""How long open streams may continue once the server stops."""
HTTP_PATIENCE_SECONDS = 2.0
"""How long HTTP may continue; longer than the streams, which also end over WebSockets with their own error."""


async def build_app(
    settings: Settings,
    *,
    disk: Disk | None = None,
    now: Callable[[], float] = time.time,
    serve_http: bool = True,
    wrap_device: Callable[[Device], Device] = lambda device: device,
) -> App:
    """Opens the jobs folder and builds the whole server; nothing listens before `App.start`.

    With `serve_http` false an external HTTP server serves `App.services`. `now` returns seconds since the epoch. For
    `wrap_device` see `build_separation`. Raises StoreError if the jobs folder cannot be used, OSError if the gRPC port
    is in use.
    """
    await asyncio.to_thread(check_address, settings.host, settings.grpc_port, "--grpc-port")
    # For quick calls; asyncio's default has only a few threads.
    asyncio.get_running_loop().set_default_executor(
        ThreadPoolExecutor(BLOCKING_THREADS, thread_name_prefix="blocking")
    )
    executors, failed, epoch = Executors(), asyncio.Event(), uuid.uuid4().hex
    metrics = Metrics()
    persistence = await asyncio.to_thread(
        open_persistence, settings, executors, disk or FileSystemDisk(), now
    )
    try:
        separation = build_separation(
            settings,
            executors,
            on_segment=metrics.on_segment,
            on_failure=failed.set,
            wrap_device=wrap_device,
        )
        orchestration = build_orchestration(settings, executors, persistence, separation, epoch)
        front_ends = build_front_ends(settings, executors, persistence, separation, orchestration, metrics)
    except BaseException:
        await asyncio.to_thread(persistence.repository.close)
        raise
    return App(
        settings,
        epoch,
        executors,
        persistence,
        separation,
        orchestration,
        front_ends,
        failed,
        serve_http=serve_http,
    )


class App:
    """One server, built by `build_app`: call `start`, then `stop`, on the event loop."""

    def __init__(
        self,
        settings: Settings,
        epoch: str,
        executors: Executors,
        persistence: Persistence,
        separation: SeparationParts,
        orchestration: OrchestrationParts,
        front_ends: FrontEnds,
        failed: asyncio.Event,
        *,
        serve_http: bool,
    ) -> None:
        self.settings = settings
        self.epoch = epoch
        self.executors = executors
        self.store = persistence.store
        self.repository = persistence.repository
        self.disk = persistence.disk
        self.runs = persistence.runs
        self.uploads = persistence.uploads
        self.scheduler = separation.scheduler
        self.engines = separation.engines
        self.stem_files = orchestration.stem_files
        self.exports = orchestration.exports
        self.decoder = orchestration.decoder
        self.analyses = orchestration.analyses
        self.runner = orchestration.runner
        self.jobs = orchestration.jobs
        self.sweeper = orchestration.sweeper
        self.status = orchestration.status
        self.server = front_ends.grpc
        self.http = front_ends.http
        self.services = front_ends.services
        self.outbox = front_ends.outbox
        self.failed = failed
        """Set when the server has failed; the log says why."""
        self.grpc_port = 0
        self.http_port = 0
        self._serve_http = serve_http
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts everything; returns once the server accepts jobs.

        Raises OSError if a port or the ready file cannot be used, after stopping what had started.
        """
        settings, begin = self.settings, time.perf_counter()
        try:
            recovered = await self.jobs.recover()
            self.grpc_port = await self._listen()
            if self._serve_http:
                self.http_port = await self._listen_http()
            self.outbox.start()
            self.engines.start()
            start_analyses(self.analyses, settings)
            self._sweeping = asyncio.create_task(self.sweeper.run(), name="sweeper")
            await asyncio.to_thread(self._write_ready_file)
        except BaseException:
            await self.stop()
            raise
        log.info(
            "accepting jobs",
            version=__version__,
            grpc=f"{settings.host}:{self.grpc_port}",
            http=f"{settings.host}:{self.http_port}" if self._serve_http else None,
            jobs_dir=str(settings.jobs_dir),
            taken_up=recovered,
            seconds=round(time.perf_counter() - begin, 3),
        )

    async def _listen(self) -> int:
        try:
            return await self.server.start()
        except RuntimeError as error:
            raise cannot_listen(
                self.settings.host, self.settings.grpc_port, "another process took it just now", "--grpc-port"
            ) from error

    async def _listen_http(self) -> int:
        try:
            return await self.http.start()
        except OSError as error:
            settings = self.settings
            raise cannot_listen(settings.host, settings.http_port, error.strerror, "--http-port") from error

    def _write_ready_file(self) -> None:
        path = self.settings.ready_file
        if path is None:
            return
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(
            json.dumps({"grpc_port": self.grpc_port, "http_port": self.http_port, "pid": os.getpid()})
        )
        os.replace(temporary, path)

    async def stop(self) -> None:
        """Stops in order, within the grace time: refuses jobs, ends streams, finishes the current segment."""
        begin = time.perf_counter()
        grace = self.settings.grace_seconds
        self.jobs.refuse()
        if self.settings.ready_file is not None:
            await asyncio.to_thread(self.settings.ready_file.unlink, missing_ok=True)
        # The current segment is finished and stored while streams end and responses are sent.
        await asyncio.gather(
            self.http.stop(min(HTTP_PATIENCE_SECONDS, grace / 2)),
            self.outbox.stop(min(STREAM_PATIENCE_SECONDS, grace / 4)),
            self.server.drain(min(STREAM_PATIENCE_SECONDS, grace / 4)),
            self.engines.stop(grace * 0.6),
        )
        await self.engines.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping], timeout=grace)
        await self.jobs.drain()
        # What was not finished is made again when it is needed.
        await self.exports.close()
        # What they were at was cancelled with its job, and is done again at the next start.
        await self.analyses.close(0.0)
        await self.server.stop(max(0.1, grace / 4))
        # Files that are not removed in time stay in the trash until the next start.
        with suppress(TimeoutError):
            async with asyncio.timeout(grace / 4):
                await self.runs.removed()
        self.decoder.close()
        try:
            await asyncio.to_thread(self.repository.close)
        except MismoError as error:
            # Nothing is lost: changes that are not in the database file yet stay in its write-ahead log.
            log.error("the job store could not be closed cleanly", reason=error.message)
        self.executors.close()
        log.info("stopped", seconds=round(time.perf_counter() - begin, 3))

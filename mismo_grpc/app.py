"""The composition root: builds every object once from the settings, starts and stops them in order."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

import structlog

from mismo_grpc import __version__
from mismo_grpc.delivery.attempts import RetryPolicy
from mismo_grpc.delivery.body import Bodies
from mismo_grpc.delivery.guard import UrlGuard
from mismo_grpc.delivery.outbox import Outbox
from mismo_grpc.delivery.resolver import Resolver
from mismo_grpc.delivery.sender import Sender
from mismo_grpc.errors import MismoError, StoreError
from mismo_grpc.executors import Executors
from mismo_grpc.gateway.application import build_application
from mismo_grpc.gateway.metrics import Gauges, Metrics
from mismo_grpc.gateway.server import HttpServer
from mismo_grpc.gateway.services import Services
from mismo_grpc.jobs.repository import JobRepository
from mismo_grpc.jobs.store.sqlite_store import SqliteJobStore
from mismo_grpc.listening import cannot_listen, check_address
from mismo_grpc.orchestration.admission import Admission, default_model
from mismo_grpc.orchestration.queue import JobQueue
from mismo_grpc.orchestration.runner import JobRunner
from mismo_grpc.orchestration.server_status import SegmentPace, ServerStatus
from mismo_grpc.orchestration.service import Jobs
from mismo_grpc.orchestration.submissions import Submissions
from mismo_grpc.results.retention import STATE_FOLDER
from mismo_grpc.results.run_recovery import Recovered, recover_runs
from mismo_grpc.results.runs import Runs
from mismo_grpc.results.sweeper import Sweeper
from mismo_grpc.results.waveforms import read_waveforms
from mismo_grpc.rpc.server import GrpcServer
from mismo_grpc.separation.catalog import ModelCatalog
from mismo_grpc.separation.device import torch_device
from mismo_grpc.separation.engine import SegmentEngine
from mismo_grpc.separation.host import EngineHealth, EngineHost
from mismo_grpc.separation.models import ModelPool
from mismo_grpc.separation.scheduler import Scheduler
from mismo_grpc.settings import Settings
from mismo_grpc.stages.decode import TrackDecoder
from mismo_grpc.storage.boot import boot_id
from mismo_grpc.storage.disk import Disk, FileSystemDisk, sync
from mismo_grpc.storage.disk_reserve import DiskReserve
from mismo_grpc.streaming.file_cache import StemFileCache
from mismo_grpc.uploads.spooled_upload import SpooledUploads
from mismo_grpc.uploads.uploads import Uploads

log = structlog.get_logger(__name__)

BLOCKING_THREADS = 32
SPARE_FILE = "spare"
STREAM_PATIENCE_SECONDS = 1.0
"""How long open streams may run on once the server stops."""


class App:
    """One server: `start`, then `stop`. On the event loop."""

    def __init__(
        self,
        settings: Settings,
        *,
        disk: Disk | None = None,
        now: Callable[[], float] = time.time,
        serve_http: bool = True,
    ) -> None:
        """`serve_http` is off where somebody else listens and passes the requests on to `services`."""
        self.settings = settings
        self._serve_http = serve_http
        self.epoch = uuid.uuid4().hex
        self._disk = disk or FileSystemDisk()
        self._now = now
        self.executors = Executors()
        self._sweeping: asyncio.Task[None] | None = None
        self.failed = asyncio.Event()
        """Set when the server cannot go on; the log says why."""
        self.grpc_port = 0
        self.http_port = 0

    async def start(self) -> None:
        """Brings everything up; returns once jobs are accepted.

        Raises StoreError if the jobs folder cannot be used, OSError if the port or the ready file cannot.
        """
        settings, begin = self.settings, time.perf_counter()
        await asyncio.to_thread(check_address, settings.host, settings.grpc_port, "--grpc-port")
        self._build(await asyncio.to_thread(self._open_store, settings.jobs_dir))
        try:
            recovered = await self.jobs.recover()
            self.grpc_port = await self._listen()
            if self._serve_http:
                self.http_port = await self._listen_http()
            self.outbox.start()
            self.engines.start()
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
                self.settings.host, self.settings.grpc_port, "taken a moment ago", "--grpc-port"
            ) from error

    async def _listen_http(self) -> int:
        try:
            return await self.http.start()
        except OSError as error:
            settings = self.settings
            raise cannot_listen(settings.host, settings.http_port, error.strerror, "--http-port") from error

    def _build(self, store: SqliteJobStore) -> None:
        settings = self.settings
        jobs_dir, bulk = settings.jobs_dir, self.executors.bulk
        self.store = store
        self.repository = JobRepository(self.store, self._now, self.spare)
        self.catalog = ModelCatalog(settings.model_dirs)
        self.pace = SegmentPace()
        self.scheduler = Scheduler(time.monotonic)
        self.engines = EngineHost(
            self._build_engine,
            self._default_model,
            wanted_model=settings.model,
            hub=settings.hub,
            on_change=self._report_health,
            on_failure=self.failed.set,
            in_thread=self.executors.model,
        )
        self.stem_files = StemFileCache(self.executors.player)
        boot = boot_id()
        admission = Admission(
            self.repository,
            self.uploads,
            self.catalog,
            self._disk,
            self.runs,
            roots=settings.allowed_path_prefixes,
            paths_allowed=settings.allow_file_paths,
            default_model=self._default_model,
            wanted_model=settings.model,
            max_track_seconds=settings.max_track_seconds,
            disk_reserve=settings.disk_reserve_bytes,
            default_ttl=settings.job_retention_hours * 3600,
            device=self.engines.device,
            device_now=self.engines.device_now,
            bulk=bulk,
            checksum=self.executors.checksum,
        )
        decoder = TrackDecoder(
            self.runs,
            resolve=admission.resolve,
            sample_rate_of=lambda model: self.catalog.describe(model).sample_rate,
            max_track_seconds=settings.max_track_seconds,
            disk=self._disk,
            disk_reserve=settings.disk_reserve_bytes,
            boot=boot,
        )
        self.runner = JobRunner(
            self.repository,
            self.stem_files,
            self.engines.ready,
            self.engines.load,
            decoder,
            self.runs,
            default_ttl=settings.job_retention_hours * 3600,
            disk=self._disk,
            disk_reserve=settings.disk_reserve_bytes,
            boot=boot,
            bulk=bulk,
        )
        queue = JobQueue(self.repository, self.runner, settings.max_concurrent_jobs)
        self.jobs = Jobs(
            self.repository,
            self.runner,
            queue,
            self.stem_files,
            self.runs,
            Submissions(self.repository, queue, admission, self.runs, self.uploads, settings.queue_capacity),
            self.scheduler,
            self.executors,
            epoch=self.epoch,
            queue_capacity=settings.queue_capacity,
            segment_seconds=self.pace.seconds,
        )
        self.sweeper = Sweeper(
            self.repository, self.runs, self.uploads.sweep, settings.disk_budget_bytes, bulk
        )
        self.status = ServerStatus(
            self.catalog,
            self.pace,
            self._disk,
            jobs_dir,
            engine=lambda: self.engines.engine,
            default_model=self._default_model,
            used_by_jobs=lambda: self.sweeper.used_bytes,
            started_at=self._now(),
        )
        guard = UrlGuard(Resolver(), settings.callback_allowed_hosts)
        bodies = Bodies(self.runs, read_waveforms, bulk)
        loop = asyncio.get_running_loop()
        # Quick calls; the default is a handful of threads.
        loop.set_default_executor(ThreadPoolExecutor(BLOCKING_THREADS, thread_name_prefix="blocking"))
        self.metrics = Metrics(self._gauges)
        self.repository.on_accepted.append(self.metrics.on_accepted)
        self.repository.on_change.append(self.metrics.on_change)
        self.server = GrpcServer(
            self.jobs,
            self.uploads,
            self.status,
            settings,
            on_bytes=partial(self.metrics.on_bytes, "grpc"),
            check_url=guard.check_callback_url,
        )
        self.services = Services(
            self.jobs,
            self.uploads,
            self.spooled_uploads,
            self.status,
            settings,
            self.metrics,
            check_url=guard.check_callback_url,
            bodies=bodies,
            engine_health=lambda: self.engines.health,
        )
        self.outbox = Outbox(
            self.repository,
            self.runs,
            bodies,
            Sender(
                guard,
                timeout=settings.callback_timeout,
                secret=settings.callback_secret.get_secret_value(),
                now=self._now,
            ),
            RetryPolicy(settings.callback_retries, settings.callback_retry_delay),
            self.metrics.on_callback,
            partial(self.metrics.on_bytes, "callback"),
        )
        self.http = HttpServer(build_application(self.services), settings.host, settings.http_port)

    def _report_health(self, health: EngineHealth) -> None:
        self.server.report_health(separates=not health.failure, model_is_warm=health.model_is_warm)

    def _gauges(self) -> Gauges:
        return Gauges(
            queued=self.jobs.queued_count,
            running=self.jobs.running_count,
            queue_capacity=self.jobs.queue_capacity,
            segments_waiting=self.scheduler.waiting,
            streams_open=self.server.streams.count,
            model_warm=self.engines.health.model_is_warm,
            device_memory={device.name: device.memory_used for device in self.status.devices()},
        )

    def _open_store(self, jobs_dir: Path) -> SqliteJobStore:
        """All of the start that reads or writes the jobs folder."""
        store: SqliteJobStore | None = None
        try:
            (jobs_dir / STATE_FOLDER).mkdir(parents=True, exist_ok=True)
            # A power cut right after the first start must not lose the folder with all that it holds.
            sync(jobs_dir)
            with suppress(PermissionError):
                sync(jobs_dir.parent)
            store = SqliteJobStore(jobs_dir / STATE_FOLDER / "jobs.sqlite3")
            self.runs = Runs(jobs_dir, self.executors.bulk)
            recovered = recover_runs(self.runs, store.standing_runs())
            self._open_uploads(jobs_dir / STATE_FOLDER, store)
        except (OSError, StoreError) as error:
            if store is not None:
                store.close()
            if isinstance(error, StoreError):
                raise
            raise StoreError(
                f"the jobs folder {jobs_dir} cannot be used ({error.strerror}); set JOBS_DIR to one that can"
            ) from error
        if recovered != Recovered():
            log.info("job folders put right", **asdict(recovered))
        return store

    def _open_uploads(self, folder: Path, store: SqliteJobStore) -> None:
        settings = self.settings
        self.spare = DiskReserve(folder / SPARE_FILE)
        self.uploads = Uploads(
            folder / "uploads",
            store,
            self._disk,
            max_upload_bytes=settings.max_upload_bytes,
            idle_seconds=settings.upload_idle_seconds,
            keep_seconds=settings.job_retention_hours * 3600,
            reserve_bytes=settings.disk_reserve_bytes,
            in_thread=self.executors.bulk,
            checksum=self.executors.checksum,
        )
        self.spooled_uploads = SpooledUploads(
            folder / "incoming",
            self.uploads,
            self._disk,
            max_bytes=settings.max_upload_bytes,
            reserve_bytes=settings.disk_reserve_bytes,
            in_thread=self.executors.bulk,
        )

    def _default_model(self) -> str:
        return default_model(self.catalog, self.settings.model)

    def _build_engine(self) -> SegmentEngine:
        settings = self.settings
        device = torch_device(
            settings.device,
            lambda device: ModelPool(
                self.catalog, device, settings.model_memory_bytes, keep_warm=settings.keep_models_warm
            ),
            precision=settings.precision,
            max_batch=settings.max_batch,
            cpu_threads=settings.cpu_threads,
        )

        def on_segment(model: str, seconds: float) -> None:
            self.pace.report(model, seconds)
            self.metrics.on_segment(model, seconds)

        return SegmentEngine([device], self.scheduler, on_segment)

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
        """Stops in order, within the grace time: no new jobs, streams end, the segment in work ends, all is stored."""
        begin = time.perf_counter()
        grace = self.settings.grace_seconds
        self.jobs.refuse()
        if self.settings.ready_file is not None:
            await asyncio.to_thread(self.settings.ready_file.unlink, missing_ok=True)
        # The segment in work is finished and kept while streams play out and answers go out.
        await asyncio.gather(
            self.http.stop(min(STREAM_PATIENCE_SECONDS, grace / 4)),
            self.outbox.stop(min(STREAM_PATIENCE_SECONDS, grace / 4)),
            self.server.drain(min(STREAM_PATIENCE_SECONDS, grace / 4)),
            self.engines.stop(grace * 0.6),
        )
        await self.engines.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping], timeout=grace)
        await self.jobs.drain()
        await self.server.stop(max(0.1, grace / 4))
        # What is not removed in time lies in the trash, for the next start.
        with suppress(TimeoutError):
            async with asyncio.timeout(grace / 4):
                await self.runs.removed()
        self.runner.close()
        try:
            await asyncio.to_thread(self.repository.close)
        except MismoError as error:
            # Nothing is lost: what could not be folded into the file stays in its log.
            log.error("the job store could not be closed well", reason=error.message)
        self.executors.close()
        log.info("stopped", seconds=round(time.perf_counter() - begin, 3))

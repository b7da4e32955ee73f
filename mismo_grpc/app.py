"""The composition root: builds every object once from the settings, starts and stops them in order."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
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
from mismo_grpc.gateway.application import build_application
from mismo_grpc.gateway.metrics import Gauges, Metrics
from mismo_grpc.gateway.server import HttpServer
from mismo_grpc.gateway.services import Services
from mismo_grpc.jobs.admission import Admission, default_model
from mismo_grpc.jobs.decoding import TrackDecoder
from mismo_grpc.jobs.incoming import Incoming
from mismo_grpc.jobs.ledger import JobLedger
from mismo_grpc.jobs.queue import JobQueue
from mismo_grpc.jobs.retention import STATE_FOLDER
from mismo_grpc.jobs.run_recovery import Recovered, recover_runs
from mismo_grpc.jobs.runner import JobRunner
from mismo_grpc.jobs.runs import Runs
from mismo_grpc.jobs.service import Jobs
from mismo_grpc.jobs.spare_room import SpareRoom
from mismo_grpc.jobs.sqlite_store import SqliteJobStore
from mismo_grpc.jobs.status import ServerStatus, TilePace
from mismo_grpc.jobs.stem_shelf import StemShelf
from mismo_grpc.jobs.submissions import Submissions
from mismo_grpc.jobs.sweeper import Sweeper
from mismo_grpc.jobs.uploads import Uploads
from mismo_grpc.jobs.waveforms import read_waveforms
from mismo_grpc.rpc.server import GrpcServer
from mismo_grpc.separation.catalog import ModelCatalog, download
from mismo_grpc.separation.device import DeviceInfo, torch_device
from mismo_grpc.separation.engine import SegmentEngine
from mismo_grpc.separation.models import ModelPool
from mismo_grpc.separation.scheduler import Scheduler
from mismo_grpc.settings import Settings
from mismo_grpc.storage.boot import boot_id
from mismo_grpc.storage.disk import Disk, FileSystemDisk, sync

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
        self._engine: SegmentEngine | None = None
        self._engine_ready: asyncio.Future[SegmentEngine] | None = None
        self._warming: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._warm = False
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
            self._warming = asyncio.create_task(self._warm_up(), name="warm up")
            self._sweeping = asyncio.create_task(self.sweeper.run(), name="sweeper")
            self._write_ready_file()
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
        jobs_dir = settings.jobs_dir
        self.store = store
        self.ledger = JobLedger(self.store, self._now, SpareRoom(jobs_dir / STATE_FOLDER / SPARE_FILE))
        self.catalog = ModelCatalog(settings.model_dirs)
        self.pace = TilePace()
        self.scheduler = Scheduler(time.monotonic)
        self.shelf = StemShelf(self.runs)
        boot = boot_id()
        self.uploads = Uploads(
            jobs_dir / STATE_FOLDER / "uploads",
            self.store,
            self._disk,
            max_upload_bytes=settings.max_upload_bytes,
            idle_seconds=settings.upload_idle_seconds,
            keep_seconds=settings.job_retention_hours * 3600,
            reserve_bytes=settings.disk_reserve_bytes,
        )
        admission = Admission(
            self.ledger,
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
            device=self._await_device,
            device_now=lambda: self._engine.devices[0].info() if self._engine is not None else None,
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
            self.ledger,
            self.shelf,
            self._await_engine,
            decoder,
            self.runs,
            default_ttl=settings.job_retention_hours * 3600,
            disk=self._disk,
            disk_reserve=settings.disk_reserve_bytes,
            boot=boot,
        )
        queue = JobQueue(self.ledger, self.runner, settings.max_concurrent_jobs)
        self.jobs = Jobs(
            self.ledger,
            self.runner,
            queue,
            self.shelf,
            self.runs,
            Submissions(self.ledger, queue, admission, self.runs, self.uploads, settings.queue_capacity),
            self.scheduler,
            epoch=self.epoch,
            queue_capacity=settings.queue_capacity,
            tile_seconds=self.pace.seconds,
        )
        self.sweeper = Sweeper(self.ledger, self.runs, self.uploads, settings.disk_budget_bytes)
        self.status = ServerStatus(
            self.catalog,
            self.pace,
            self._disk,
            jobs_dir,
            engine=lambda: self._engine,
            default_model=self._default_model,
            used_by_jobs=lambda: self.sweeper.used_bytes,
            started_at=self._now(),
        )
        guard = UrlGuard(Resolver(), settings.callback_allowed_hosts)
        bodies = Bodies(self.runs, read_waveforms)
        loop = asyncio.get_running_loop()
        # Reads, checksums and model loads wait on the disk side by side; the default is a handful of threads.
        loop.set_default_executor(ThreadPoolExecutor(BLOCKING_THREADS, thread_name_prefix="blocking"))
        self._engine_ready = loop.create_future()
        self.metrics = Metrics(self._gauges)
        self.ledger.on_accepted.append(self.metrics.on_accepted)
        self.ledger.on_change.append(self.metrics.on_change)
        self.server = GrpcServer(
            self.jobs,
            self.uploads,
            self.status,
            settings,
            on_bytes=partial(self.metrics.on_bytes, "grpc"),
            check_url=guard.check_callback_url,
        )
        incoming = Incoming(
            jobs_dir / STATE_FOLDER / "incoming",
            self.uploads,
            self._disk,
            max_bytes=settings.max_upload_bytes,
            reserve_bytes=settings.disk_reserve_bytes,
        )
        self.services = Services(
            self.jobs,
            self.uploads,
            incoming,
            self.status,
            settings,
            self.metrics,
            check_url=guard.check_callback_url,
            bodies=bodies,
            model_is_warm=lambda: self._warm,
        )
        self.outbox = Outbox(
            self.ledger,
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

    def _gauges(self) -> Gauges:
        return Gauges(
            queued=self.jobs.queued_count,
            running=self.jobs.running_count,
            queue_capacity=self.jobs.queue_capacity,
            segments_waiting=self.scheduler.waiting,
            streams_open=self.server.streams.count,
            model_warm=self._warm,
            device_memory={device.name: device.memory_used for device in self.status.devices()},
        )

    def _open_store(self, jobs_dir: Path) -> SqliteJobStore:
        store: SqliteJobStore | None = None
        try:
            (jobs_dir / STATE_FOLDER).mkdir(parents=True, exist_ok=True)
            # A power cut right after the first start must not lose the folder with all that it holds.
            sync(jobs_dir)
            with suppress(PermissionError):
                sync(jobs_dir.parent)
            store = SqliteJobStore(jobs_dir / STATE_FOLDER / "jobs.sqlite3")
            self.runs = Runs(jobs_dir)
            recovered = recover_runs(self.runs, store.standing_runs())
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

    def _default_model(self) -> str:
        return default_model(self.catalog, self.settings.model)

    async def _await_engine(self) -> SegmentEngine:
        assert self._engine_ready is not None
        return await asyncio.shield(self._engine_ready)

    async def _await_device(self) -> DeviceInfo:
        return (await self._await_engine()).devices[0].info()

    async def _warm_up(self) -> None:
        """Imports torch and loads the default model behind the open port."""
        assert self._engine_ready is not None
        settings = self.settings
        try:
            engine = await asyncio.to_thread(self._build_engine)
        except MismoError as error:
            log.critical("the device cannot be used", reason=error.message)
            self.failed.set()
            return
        except Exception:
            log.critical("the device cannot be used", exc_info=True)
            self.failed.set()
            return
        self._engine = engine
        engine.start()
        self._engine_ready.set_result(engine)
        chosen = self._default_model()
        if chosen != settings.model:
            log.warning(
                "model not available, jobs that name no model get another",
                wanted=settings.model,
                model=chosen,
            )
            if settings.hub:
                threading.Thread(target=self._fetch, args=(settings.model,), name="hub", daemon=True).start()
        try:
            begin = time.perf_counter()
            await asyncio.to_thread(engine.load, chosen)
            self.server.model_is_warm(True)
            self._warm = True
            device = engine.devices[0].info()
            log.info(
                "model warm",
                model=chosen,
                device=device.name,
                precision=device.precision,
                seconds=round(time.perf_counter() - begin, 3),
            )
        except MismoError as error:
            log.error("the default model cannot be loaded", model=chosen, reason=error.message)

    def _build_engine(self) -> SegmentEngine:
        settings = self.settings
        device = torch_device(
            settings.device,
            lambda place: ModelPool(
                self.catalog, place, settings.model_memory_bytes, keep_warm=settings.keep_models_warm
            ),
            use_gpu=settings.use_gpu,
            precision=settings.precision,
            max_batch=settings.max_batch,
            cpu_threads=settings.cpu_threads,
        )

        def on_segment(model: str, seconds: float) -> None:
            self.pace.report(model, seconds)
            self.metrics.on_segment(model, seconds)

        return SegmentEngine([device], self.scheduler, on_segment)

    def _fetch(self, model: str) -> None:
        if download(model, lambda text: log.info("model hub", message=text)):
            log.info("model fetched from the hub; new jobs get it", model=model)

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
            self.settings.ready_file.unlink(missing_ok=True)
        engine = self._engine
        # The segment in work is finished and kept while streams play out and answers go out.
        await asyncio.gather(
            self.http.stop(min(STREAM_PATIENCE_SECONDS, grace / 4)),
            self.outbox.stop(min(STREAM_PATIENCE_SECONDS, grace / 4)),
            self.server.drain(min(STREAM_PATIENCE_SECONDS, grace / 4)),
            asyncio.to_thread(engine.stop, grace * 0.6) if engine is not None else asyncio.sleep(0),
        )
        tasks = [task for task in (self._sweeping, self._warming) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        await self.jobs.drain()
        await self.server.stop(max(0.1, grace / 4))
        # What is not removed in time lies in the trash, for the next start.
        with suppress(TimeoutError):
            async with asyncio.timeout(grace / 4):
                await self.runs.removed()
        self.runner.close()
        try:
            await asyncio.to_thread(self.ledger.close)
        except MismoError as error:
            # Nothing is lost: what could not be folded into the file stays in its log.
            log.error("the job store could not be closed well", reason=error.message)
        log.info("stopped", seconds=round(time.perf_counter() - begin, 3))


def check_address(host: str, port: int, option: str) -> None:
    """Raises OSError, in words for a person, if nothing can listen there; blocks on name look-up."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        raise cannot_listen(host, port, error.strerror, option) from error


def cannot_listen(host: str, port: int, reason: str | None, option: str) -> OSError:
    """The error of an address that is taken or not this machine's."""
    return OSError(
        f"cannot listen on {host}:{port} ({reason}); choose another {option} (0: a free one) or --host"
    )

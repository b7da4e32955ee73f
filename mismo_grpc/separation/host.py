"""Starts the engine while the server already accepts jobs, keeps the default model loaded, and reports engine health.

Loading the default model is retried until it succeeds; loading a job's model is retried only if memory was short,
because that may pass.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import structlog

from mismo_grpc.errors import MismoError, OutOfMemoryError
from mismo_grpc.executors import InThread
from mismo_grpc.separation.catalog import download
from mismo_grpc.separation.device import DeviceInfo
from mismo_grpc.separation.engine import SegmentEngine
from mismo_grpc.separation.models import Bag

log = structlog.get_logger(__name__)

RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Waits between attempts to load the default model; the last one repeats."""
MEMORY_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 60.0, 60.0)
"""Waits between attempts to load a job's model while memory is short: four minutes in total, then the job fails."""


@dataclass(frozen=True)
class EngineHealth:
    """`failure`: why nothing can be separated; `model_failure`: why the default model did not load. Both "" if none.

    The first start of the engine and the first load of the default model are no failure: jobs wait for them.
    """

    failure: str = ""
    model_failure: str = ""
    model_is_warm: bool = False


class EngineHost:
    """Owns the engine and starts it in the background; on the event loop only."""

    def __init__(
        self,
        build: Callable[[], SegmentEngine],
        default_model: Callable[[], str],
        *,
        wanted_model: str,
        hub: bool,
        on_failure: Callable[[], None],
        in_thread: InThread = asyncio.to_thread,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`build` imports torch and blocks. `default_model` returns the model of jobs that name none; `wanted_model` is
        the configured one, which is fetched from the hub if `hub` is true. `on_failure` is called if the engine cannot
        be built; `in_thread` loads models.
        """
        self.engine: SegmentEngine | None = None
        self.health = EngineHealth()
        self.on_change: list[Callable[[EngineHealth], None]] = []
        """Called on the event loop with every change of health."""
        self._build = build
        self._find_default = default_model
        self._default = ""
        self._wanted_model = wanted_model
        self._hub = hub
        self._on_failure = on_failure
        self._in_thread = in_thread
        self._sleep = sleep
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[SegmentEngine] = self._loop.create_future()
        self._default_failed = asyncio.Event()
        self._warming: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts building the engine and loading the default model."""
        self._warming = asyncio.create_task(self._warm_up(), name="warm up")

    async def ready(self) -> SegmentEngine:
        """Waits for the engine and returns it."""
        return await asyncio.shield(self._ready)

    async def device(self) -> DeviceInfo:
        """Waits for the engine and returns its device."""
        return (await self.ready()).devices[0].info()

    def device_now(self) -> DeviceInfo | None:
        """Returns the engine's device; None while the engine starts."""
        return self.engine.devices[0].info() if self.engine is not None else None

    async def load(self, model: str) -> Bag:
        """Loads a model for a job; while memory is short it retries after each of MEMORY_SECONDS.

        Raises ModelUnavailableError, ModelLoadError; OutOfMemoryError after the last attempt.
        """
        for seconds in MEMORY_SECONDS:
            try:
                return await self._try_load(model)
            except OutOfMemoryError:
                log.warning("a job waits for the memory that its model needs", model=model, seconds=seconds)
            await self._sleep(seconds)
        return await self._try_load(model)

    async def stop(self, seconds: float) -> None:
        """Lets the devices finish their current batches, at most `seconds`."""
        if self.engine is not None:
            await asyncio.to_thread(self.engine.stop, seconds)

    async def close(self) -> None:
        """Cancels the warm-up; a thread that is still loading is not waited for."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.wait([self._warming])

    async def _warm_up(self) -> None:
        try:
            engine = await self._in_thread(self._build)
        except Exception as error:
            unknown = None if isinstance(error, MismoError) else error
            reason = error.message if isinstance(error, MismoError) else type(error).__name__
            log.critical("the device cannot be used", reason=reason, exc_info=unknown)
            self._change(EngineHealth(failure=reason))
            self._on_failure()
            return
        self.engine = engine
        engine.start(self._engine_abandoned)
        self._ready.set_result(engine)
        await self._keep_default_warm()

    async def _keep_default_warm(self) -> None:
        attempt = 0
        while True:
            self._default_failed.clear()
            try:
                await self._load_default()
                attempt = 0
                # A later load for a job may fail, for example after the weights were removed.
                await self._default_failed.wait()
            except Exception as error:
                unknown = None if isinstance(error, MismoError) else error
                log.error(
                    "the default model is not loaded; it is tried again", attempt=attempt, exc_info=unknown
                )
            await self._sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            attempt += 1

    async def _load_default(self) -> None:
        begin = time.perf_counter()
        chosen = await asyncio.to_thread(self._find_default)
        if chosen not in (self._wanted_model, self._default):
            log.warning(
                "the configured model is not available; jobs that name no model get another one",
                wanted=self._wanted_model,
                model=chosen,
            )
            if self._hub:
                threading.Thread(target=_fetch, args=(self._wanted_model,), name="hub", daemon=True).start()
        self._default = chosen
        await self._try_load(chosen)
        engine = await self.ready()
        device = await asyncio.to_thread(engine.devices[0].info)
        log.info(
            "model warm",
            model=chosen,
            device=device.name,
            precision=device.precision,
            seconds=round(time.perf_counter() - begin, 3),
        )

    async def _try_load(self, model: str) -> Bag:
        engine = await self.ready()
        try:
            bag = await self._in_thread(engine.load, model)
        except MismoError as error:
            log.error("a model cannot be loaded", model=model, reason=error.message, exc_info=error)
            if model == self._default:
                self._change(replace(self.health, model_failure=error.message, model_is_warm=False))
                self._default_failed.set()
            raise
        if model == self._default:
            self._change(replace(self.health, model_failure="", model_is_warm=True))
        return bag

    def _engine_abandoned(self) -> None:
        """Runs in the thread of a device."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._note_failure)

    def _note_failure(self) -> None:
        assert self.engine is not None
        self._change(replace(self.health, failure=self.engine.failure))

    def _change(self, health: EngineHealth) -> None:
        if health != self.health:
            self.health = health
            for listener in self.on_change:
                listener(health)


def _fetch(model: str) -> None:
    if download(model, lambda text: log.info("model hub", message=text)):
        log.info("a model was fetched from the hub; new jobs use it", model=model)

"""Brings the engine up behind the open port and makes the default model warm."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import structlog

from mismo_grpc.errors import MismoError
from mismo_grpc.separation.catalog import download
from mismo_grpc.separation.engine import SegmentEngine

log = structlog.get_logger(__name__)


class EngineHost:
    """The engine, once there is one; on the event loop only."""

    def __init__(
        self,
        build: Callable[[], SegmentEngine],
        default_model: Callable[[], str],
        *,
        wanted_model: str,
        hub: bool,
        on_warm: Callable[[], None],
        on_failure: Callable[[], None],
    ) -> None:
        """`build` imports torch and blocks; `default_model` is what a job gets that names none, `wanted_model` what
        it should get, fetched from the hub if `hub`. `on_failure` is called if there can be no engine.
        """
        self.engine: SegmentEngine | None = None
        self.model_is_warm = False
        self._build = build
        self._default_model = default_model
        self._wanted_model = wanted_model
        self._hub = hub
        self._on_warm = on_warm
        self._on_failure = on_failure
        self._ready: asyncio.Future[SegmentEngine] = asyncio.get_running_loop().create_future()
        self._warming: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to warm up."""
        self._warming = asyncio.create_task(self._warm_up(), name="warm up")

    async def ready(self) -> SegmentEngine:
        """The engine; waits for it."""
        return await asyncio.shield(self._ready)

    async def stop(self, seconds: float) -> None:
        """Lets the devices finish the batch they are at, at most so long."""
        if self.engine is not None:
            await asyncio.to_thread(self.engine.stop, seconds)

    async def close(self) -> None:
        """Ends the warm-up; what a thread of it does goes on unheard."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.wait([self._warming])

    async def _warm_up(self) -> None:
        try:
            engine = await asyncio.to_thread(self._build)
        except MismoError as error:
            log.critical("the device cannot be used", reason=error.message)
            self._on_failure()
            return
        except Exception:
            log.critical("the device cannot be used", exc_info=True)
            self._on_failure()
            return
        self.engine = engine
        engine.start()
        self._ready.set_result(engine)
        chosen = await asyncio.to_thread(self._default_model)
        if chosen != self._wanted_model:
            log.warning(
                "model not available, jobs that name no model get another",
                wanted=self._wanted_model,
                model=chosen,
            )
            if self._hub:
                threading.Thread(target=_fetch, args=(self._wanted_model,), name="hub", daemon=True).start()
        try:
            begin = time.perf_counter()
            await asyncio.to_thread(engine.load, chosen)
            self.model_is_warm = True
            self._on_warm()
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


def _fetch(model: str) -> None:
    if download(model, lambda text: log.info("model hub", message=text)):
        log.info("model fetched from the hub; new jobs get it", model=model)

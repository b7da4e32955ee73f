"""The warm-up and the loads of jobs, with troubles; no real time passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mismo_grpc.errors import ModelLoadError, OutOfMemoryError, SeparationFailedError
from mismo_grpc.separation import host
from mismo_grpc.separation.catalog import ModelCatalog
from mismo_grpc.separation.device import torch_device
from mismo_grpc.separation.device_thread import MAX_CRASHES
from mismo_grpc.separation.engine import SegmentEngine
from mismo_grpc.separation.host import EngineHealth, EngineHost
from mismo_grpc.separation.models import ModelPool
from mismo_grpc.separation.scheduler import Scheduler
from tests.unit.separation.bags import tiny_htdemucs, write_safetensors_bag, write_th_bag
from tests.unit.separation.moody import TROUBLES, moody

PATIENCE = 30.0


class Rest:
    """Sleeps as long as the test wants; remembers how long it should have been."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._asleep = asyncio.Semaphore(0)
        self._wake = asyncio.Semaphore(0)

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self._asleep.release()
        await self._wake.acquire()

    async def over(self) -> None:
        """Waits until someone sleeps, and wakes them."""
        await asyncio.wait_for(self._asleep.acquire(), PATIENCE)
        self._wake.release()


class Hosted:
    """A host over the models moody and other, with what it told."""

    def __init__(self, models: Path, build: Callable[[], SegmentEngine] | None = None) -> None:
        self.models = models
        self.rest = Rest()
        self.told: asyncio.Queue[EngineHealth] = asyncio.Queue()
        self.failed = asyncio.Event()
        self.scheduler = Scheduler(lambda: 0.0)
        self.find_default: Callable[[], str] = lambda: "moody"
        self.host = EngineHost(
            build or self.build,
            lambda: self.find_default(),
            wanted_model="moody",
            hub=False,
            on_failure=self.failed.set,
            sleep=self.rest,
        )
        self.host.on_change.append(self.told.put_nowait)
        self.host.start()

    def build(self) -> SegmentEngine:
        device = torch_device(
            "cpu", lambda place: ModelPool(ModelCatalog([self.models]), place, 1 << 30), precision="fp32"
        )
        return SegmentEngine([device], self.scheduler, restart_seconds=0.0)

    async def next_health(self) -> EngineHealth:
        return await asyncio.wait_for(self.told.get(), PATIENCE)

    async def close(self) -> None:
        await self.host.stop(PATIENCE)
        await self.host.close()


StartHost = Callable[..., Awaitable[Hosted]]


@pytest.fixture
async def hosted(tmp_path: Path) -> AsyncIterator[StartHost]:
    write_th_bag(tmp_path, "moody", [moody(1)])
    write_safetensors_bag(tmp_path, "other", [tiny_htdemucs(1)])
    async with AsyncExitStack() as stack:

        async def start(build: Callable[[], SegmentEngine] | None = None) -> Hosted:
            hosted = Hosted(tmp_path, build)
            stack.push_async_callback(hosted.close)
            return hosted

        yield start


@pytest.fixture(autouse=True)
def good_mood() -> Iterator[None]:
    yield
    TROUBLES.clear()


@pytest.fixture(autouse=True)
def few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "RETRY_SECONDS", (1.0, 2.0))
    monkeypatch.setattr(host, "MEMORY_SECONDS", (1.0, 2.0, 3.0))


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    """What is logged; to draw the tracebacks would take minutes."""
    with capture_logs() as logs:
        yield logs


@pytest.mark.parametrize(
    ("troubles", "reason"),
    [
        ([MemoryError(), MemoryError()], "not enough memory to load model moody"),
        ([RuntimeError("CUDA error: no kernel image is available")], "moody0.th"),
        ([SystemExit(3)], "moody0.th"),
    ],
    ids=["memory", "RuntimeError", "SystemExit"],
)
async def test_a_default_model_that_fails_to_load_is_logged_reported_and_tried_again(
    hosted: StartHost, logs: list[Any], troubles: list[BaseException], reason: str
) -> None:
    attempts = 4
    TROUBLES.extend(troubles * attempts)
    served = await hosted()
    health = await served.next_health()
    assert reason in health.model_failure
    assert (health.failure, health.model_is_warm) == ("", False)
    for _ in range(attempts):
        await served.rest.over()
    assert await served.next_health() == EngineHealth(model_is_warm=True)
    assert served.rest.seconds == [1.0, 2.0, 2.0, 2.0]
    failures = [line for line in logs if line["event"] == "a model cannot be loaded"]
    assert [line["model"] for line in failures] == ["moody"] * attempts
    assert all(reason in line["reason"] and line["exc_info"] for line in failures)


async def test_a_look_for_the_default_model_that_fails_does_not_end_the_warm_up(hosted: StartHost) -> None:
    served = await hosted()
    looks = 0

    def unreadable_once() -> str:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise PermissionError("the folder of the models")
        return "moody"

    served.find_default = unreadable_once
    await served.rest.over()
    assert await served.next_health() == EngineHealth(model_is_warm=True)


async def test_a_default_model_that_a_job_finds_broken_is_tried_again_until_it_loads(
    hosted: StartHost,
) -> None:
    served = await hosted()
    assert (await served.next_health()).model_is_warm
    engine = await served.host.ready()
    engine.devices[0].pool.free()
    TROUBLES.append(RuntimeError("damaged since"))
    with pytest.raises(ModelLoadError):
        await served.host.load("moody")
    assert "moody0.th" in (await served.next_health()).model_failure
    await served.rest.over()
    assert await served.next_health() == EngineHealth(model_is_warm=True)


async def test_a_job_waits_for_the_memory_that_its_model_needs(hosted: StartHost) -> None:
    served = await hosted()
    served.find_default = lambda: "other"
    assert (await served.next_health()).model_is_warm
    TROUBLES.extend([MemoryError()] * 4)
    loading = asyncio.create_task(served.host.load("moody"))
    for _ in range(2):
        await served.rest.over()
    assert (await loading).name == "moody"
    assert served.rest.seconds == [1.0, 2.0]
    assert served.told.empty(), "the default model is as warm as before"


async def test_a_job_does_not_wait_for_memory_for_ever(hosted: StartHost) -> None:
    served = await hosted()
    served.find_default = lambda: "other"
    assert (await served.next_health()).model_is_warm
    TROUBLES.extend([MemoryError()] * 100)
    loading = asyncio.create_task(served.host.load("moody"))
    for _ in range(3):
        await served.rest.over()
    with pytest.raises(OutOfMemoryError):
        await loading
    assert served.rest.seconds == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("error", [SeparationFailedError("no such card"), MemoryError()])
async def test_an_engine_that_cannot_be_built_is_a_failure_and_ends_the_server(
    hosted: StartHost, logs: list[Any], error: Exception
) -> None:
    def build() -> SegmentEngine:
        raise error

    served = await hosted(build)
    health = await served.next_health()
    assert health.failure in ("no such card", "MemoryError")
    await asyncio.wait_for(served.failed.wait(), PATIENCE)
    assert logs[-1]["log_level"] == "critical"


async def test_a_device_that_is_given_up_is_a_failure(
    hosted: StartHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashes = 0

    def die(*_: object) -> None:
        nonlocal crashes
        crashes += 1
        raise SystemExit

    monkeypatch.setattr("mismo_grpc.separation.engine.SegmentEngine._run", die)
    monkeypatch.setattr(
        "mismo_grpc.separation.scheduler.Scheduler.take", lambda self, max_batch, timeout=None: ["a segment"]
    )
    TROUBLES.extend([RuntimeError("loading is another matter")])
    served = await hosted()
    told = [await served.next_health(), await served.next_health()]
    assert crashes == MAX_CRASHES
    assert "SystemExit" in told[-1].failure
    assert "moody0.th" in told[-1].model_failure
    assert not served.failed.is_set(), "what is stored waits; finished jobs are served"

"""What fails below the jobs: models that do not load and a device that dies. Jobs wait where waiting helps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from grpc_health.v1 import health_pb2

from mismo.analysis.v1 import system_service_pb2 as system_pb2
from tests.service.conftest import Server, StartServer
from tests.support.calls import FAILED, PATIENCE, RUNNING, Client, health_stub, until
from tests.support.tracks import write_track
from tests.unit.separation.bags import write_th_bag
from tests.unit.separation.moody import TROUBLES, moody

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
MODEL, JOBS, TRANSFER = (f"mismo.analysis.v1.{name}" for name in ("Model", "JobService", "TransferService"))


class Vanished(BaseException):
    """Nothing that anyone catches by its class."""


@pytest.fixture(autouse=True)
def good_mood() -> Iterator[None]:
    yield
    TROUBLES.clear()


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as anyone needs, without the waits of real life."""
    monkeypatch.setattr("mismo_grpc.separation.host.RETRY_SECONDS", (0.01,))
    monkeypatch.setattr("mismo_grpc.separation.host.MEMORY_SECONDS", (0.01,) * 10_000)


@pytest.fixture
def moody_models(tmp_path: Path) -> Path:
    """A folder with the model moody, which is not shared: it is broken and repaired."""
    write_th_bag(tmp_path / "moody", "moody", [moody(1)])
    return tmp_path / "moody"


async def health_of(client: Client, service: str, wanted: int) -> None:
    """Until health says so of a service."""
    watch = health_stub(client.channel).Watch(
        health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE
    )
    async for answer in watch:
        if answer.status == wanted:
            break
    watch.cancel()


async def model_of(client: Client, name: str) -> system_pb2.Model:
    models = (await client.system.ListModels(system_pb2.ListModelsRequest(), timeout=PATIENCE)).models
    return next(model for model in models if model.name == name)


async def http_get(server: Server, path: str) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.app.http_port}") as http:
        return await http.get(path, timeout=PATIENCE)


async def test_a_model_that_finds_no_memory_is_reported_and_its_job_waits_for_it(
    start: StartServer, music: Path, moody_models: Path
) -> None:
    TROUBLES.extend([MemoryError()] * 1_000_000)
    server = await start(model="moody", model_dirs=[moody_models])
    client = server.client
    await until(lambda: bool(server.app.engines.health.model_failure))
    ready = await http_get(server, "/ready")
    assert ready.status_code == 503
    assert "not enough memory" in ready.json()["error"]["message"]
    assert (await http_get(server, "/health")).status_code == 200
    model = await model_of(client, "moody")
    assert model.state == system_pb2.MODEL_STATE_UNAVAILABLE
    assert "not enough memory" in model.reason
    await health_of(client, MODEL, NOT_SERVING)
    await client.submit(write_track(music / "a.wav", 1.0), job_id="a")
    before = len(TROUBLES)
    await until(lambda: len(TROUBLES) < before - 20)
    assert (await client.get("a")).state == RUNNING

    TROUBLES.clear()
    await client.succeeded("a")
    await health_of(client, MODEL, SERVING)
    assert (await model_of(client, "moody")).state == system_pb2.MODEL_STATE_WARM
    assert (await http_get(server, "/ready")).status_code == 200


async def test_broken_weights_fail_the_job_and_serve_again_once_they_are_repaired(
    start: StartServer, music: Path, moody_models: Path
) -> None:
    weights = moody_models / "moody0.th"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    server = await start(model="moody", model_dirs=[moody_models])
    client = server.client
    track = write_track(music / "a.wav", 1.0)
    await client.submit(track, job_id="a")
    failed = await client.ended("a")
    assert failed.state == FAILED
    assert (failed.error.reason, failed.error.retryable) == ("MODEL_LOAD_FAILED", False)
    assert "moody0.th" in failed.error.message
    model = await model_of(client, "moody")
    assert model.state == system_pb2.MODEL_STATE_UNAVAILABLE
    assert "moody0.th" in model.reason

    weights.write_bytes(whole)
    await health_of(client, MODEL, SERVING)
    await client.submit(track, job_id="a")
    await client.succeeded("a")


async def test_a_device_that_dies_for_good_is_told_and_its_jobs_go_on_at_the_next_start(
    start: StartServer, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await start()
    client = first.client
    engine = await first.app.engines.ready()
    for thread in engine._threads:
        thread._restart_seconds = 0.0
    await health_of(client, MODEL, SERVING)
    await client.submit(write_track(music / "done.wav", 1.0, seed=3), job_id="done")
    await client.succeeded("done")

    def die() -> None:
        raise Vanished

    monkeypatch.setattr(first.device, "enter", die)
    await client.submit(write_track(music / "a.wav", 3.0), job_id="a")
    for service in ("", JOBS, MODEL):
        await health_of(client, service, NOT_SERVING)
    await health_of(client, TRANSFER, SERVING)
    for path, status in (("/health", "degraded"), ("/ready", None)):
        answer = await http_get(first, path)
        assert answer.status_code == 503
        assert answer.json().get("status") == status
        assert answer.json()["error"]["code"] == "NOT_SEPARATING"
        assert "Vanished" in answer.json()["error"]["message"]
    await client.submit(write_track(music / "b.wav", 1.0, seed=2), job_id="b")
    assert (await client.get("a")).state == RUNNING
    assert await client.read_stem("done", "bass")
    await first.app.stop()

    second = await start()
    await second.client.succeeded("a")
    await second.client.succeeded("b")

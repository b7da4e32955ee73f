"""A whole server in this process, on a port of its own, with a tiny model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from mismo_grpc.app import App, build_app
from mismo_grpc.settings import Settings
from mismo_grpc.stages.decode import DECODERS
from tests.support.calls import PATIENCE, Client, until
from tests.support.gates import Gate, GatedDevice
from tests.support.process import ServerProcess
from tests.unit.separation.bags import tiny_htdemucs, write_safetensors_bag

MODEL = "tiny"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these start servers."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.service)


@pytest.fixture(scope="session", autouse=True)
def plain_log() -> Iterator[None]:
    """Tracebacks as Python prints them: the coloured ones take seconds to draw."""
    processors = [
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
    structlog.configure(processors=processors)
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tiny hybrid transformer: four stems, segments of half a second."""
    folder = tmp_path_factory.mktemp("models")
    write_safetensors_bag(folder, MODEL, [tiny_htdemucs(1)])
    return folder


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """The folder that sources may be read from."""
    folder = tmp_path / "music"
    folder.mkdir()
    return folder


@dataclass
class Server:
    """A running server and a client of it."""

    app: App
    client: Client
    jobs_dir: Path
    device: Gate
    """What each segment passes."""
    _decoding: threading.Event = field(default_factory=threading.Event)

    def folder(self, job_id: str) -> Path:
        return self.jobs_dir / job_id

    def stems(self, job_id: str) -> Path:
        return self.jobs_dir / job_id / "stems"

    def hold_decoders(self) -> None:
        """Jobs stay in their first stage from now on: whatever decodes is busy with something else."""
        for _ in range(DECODERS):
            self.app.decoder._threads.submit(self._decoding.wait, PATIENCE)

    def release_decoders(self) -> None:
        self._decoding.set()

    async def idle(self) -> None:
        """Until no task of a job is left: what a job leaves behind is tidied after its last event."""
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("job ")]
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE)

    async def heard(self, client: Client) -> None:
        """Until the server has dealt with what a client did before: what comes later on a connection comes later."""
        for _ in range(10):
            await client.info()

    async def nothing_is_held(self) -> None:
        """Once the last stream and job have ended: no open stem files, no held jobs, nothing to compute."""
        await self.idle()
        await until(lambda: self.app.server.streams.count == 0)
        assert self.app.runs.held_runs == frozenset()
        assert self.app.stem_files.open_sets == 0
        assert self.app.scheduler.waiting == 0


StartServer = Callable[..., Awaitable[Server]]


@pytest.fixture
async def start(models: Path, music: Path, tmp_path: Path) -> AsyncIterator[StartServer]:
    """Starts servers with settings of their own; all are stopped at the end.

    `app` goes to the App; each segment passes `gate`, or one of the server's own.
    """
    async with AsyncExitStack() as stack:

        async def start(
            *, app: dict[str, Any] | None = None, gate: Gate | None = None, **changes: Any
        ) -> Server:
            settings = Settings(
                **{
                    "grpc_port": 0,
                    "http_port": 0,
                    "jobs_dir": tmp_path / "jobs",
                    "model_dirs": [models],
                    "model": MODEL,
                    "allowed_path_prefixes": [music],
                    "precision": "fp32",
                    "cpu_threads": 1,
                    "device": "cpu",
                    "hub": False,
                    "keep_analysis_warm": False,
                    "disk_reserve_bytes": 0,
                    **changes,
                }
            )
            passed = gate or Gate()
            server = await build_app(
                settings, wrap_device=lambda device: GatedDevice(device, passed), **(app or {})
            )
            await server.start()
            stack.push_async_callback(server.stop)
            stack.callback(passed.open)
            client = Client(f"127.0.0.1:{server.grpc_port}")
            stack.push_async_callback(client.close)
            return Server(server, client, settings.jobs_dir, passed)

        yield start


@pytest.fixture
async def server(start: StartServer) -> Server:
    """A server with usual settings."""
    return await start()


@pytest.fixture
def process(models: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server in a process of its own, not yet started."""
    process = ServerProcess(tmp_path, models)
    yield process
    process.close()

"""A whole server on a port of its own, with a finished job in it that was separated once."""

from __future__ import annotations

import asyncio
import shutil
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from mismo.analysis.v1 import job_pb2, job_service_pb2
from mismo.analysis.v1.job_service_pb2_grpc import JobServiceStub
from mismo.analysis.v1.system_service_pb2_grpc import SystemServiceStub
from mismo.analysis.v1.transfer_service_pb2_grpc import TransferServiceStub
from mismo_grpc.app import App, build_app
from mismo_grpc.settings import Settings

if TYPE_CHECKING:
    from mismo.analysis.v1.job_service_pb2_grpc import JobServiceAsyncStub
    from mismo.analysis.v1.system_service_pb2_grpc import SystemServiceAsyncStub
    from mismo.analysis.v1.transfer_service_pb2_grpc import TransferServiceAsyncStub

DONE = "done"
"""The finished job: four stems of two seconds."""
FRAMES = 2 * 44_100


@dataclass
class Served:
    """A running server and its clients."""

    app: App
    channel: grpc.aio.Channel
    folder: Path

    @property
    def jobs(self) -> JobServiceAsyncStub:
        return JobServiceStub(self.channel)

    @property
    def transfer(self) -> TransferServiceAsyncStub:
        return TransferServiceStub(self.channel)

    @property
    def system(self) -> SystemServiceAsyncStub:
        return SystemServiceStub(self.channel)

    @property
    def track(self) -> Path:
        """A WAV file that may be submitted."""
        return self.folder / "track.wav"

    def stem_pcm(self, name: str) -> bytes:
        """The samples of a finished stem, as in its file."""
        with wave.open(str(self.folder / "jobs" / DONE / "stems" / f"{name}.wav"), "rb") as file:
            return file.readframes(file.getnframes())

    async def all_let_go(self) -> None:
        """Waits until no stream is open; fails where one left something held behind."""
        await self.app.server.streams.wait_none()
        assert self.app.runs.held_runs == frozenset()
        assert not self.app.stem_files._sets  # An open file is a leak, and nothing else tells.


def settings_for(folder: Path, **changes: Any) -> Settings:
    return Settings(
        **{
            "grpc_port": 0,
            "http_port": 0,
            "jobs_dir": folder / "jobs",
            "allowed_path_prefixes": [folder],
            "model": "mismo_lite",
            "hub": False,
            "keep_analysis_warm": False,
            "device": "cpu",
            "cpu_threads": 1,
            **changes,
        }
    )


async def _separate_once(folder: Path) -> None:
    app = await build_app(settings_for(folder))
    await app.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{app.grpc_port}") as channel:
        stub: JobServiceAsyncStub = JobServiceStub(channel)
        source = job_pb2.Source(path=str(folder / "track.wav"))
        await stub.SubmitJob(job_service_pb2.SubmitJobRequest(job_id=DONE, source=source))
        events = [event async for event in stub.WatchJob(job_service_pb2.WatchJobRequest(job_id=DONE))]
        assert events[-1].terminal.job.state == job_pb2.JOB_STATE_SUCCEEDED, events[-1]
    await app.stop()


@pytest.fixture(scope="session")
def separated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a track and the jobs folder of a server that has separated it."""
    folder = tmp_path_factory.mktemp("separated")
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, (FRAMES, 2))
    with wave.open(str(folder / "track.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes((noise * 32_767).astype("<i2").tobytes())
    asyncio.run(_separate_once(folder))
    return folder


@pytest.fixture
async def serve(separated: Path, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Served]]]:
    """Starts servers with settings of their own; all are stopped at the end."""
    async with AsyncExitStack() as stack:

        async def start(**changes: Any) -> Served:
            folder = tmp_path / "server"
            shutil.copytree(separated, folder)
            app = await build_app(settings_for(folder, **changes))
            await app.start()
            stack.push_async_callback(app.stop)
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{app.grpc_port}")
            stack.push_async_callback(channel.close)
            return Served(app, channel, folder)

        yield start


@pytest.fixture
async def served(serve: Callable[..., Awaitable[Served]]) -> Served:
    """A server with usual settings."""
    return await serve()

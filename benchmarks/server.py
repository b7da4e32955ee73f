"""A real server in its own process, on a free port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import CommandError, child, last_lines
from benchmarks.network import Link
from mismo.analysis.v1.system_service_pb2 import MODEL_STATE_WARM, Model
from mismo_client import AsyncClient

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60.0
WARM_SECONDS = 120.0
GLANCE_SECONDS = 0.005


@dataclass(frozen=True)
class ServerPlan:
    """How to start a server; its jobs folder is `folder`/`jobs`, and sources can be anywhere in `folder`."""

    folder: Path
    jobs: str
    model: str
    model_dirs: Sequence[Path]
    device: str
    precision: str
    environment: Mapping[str, str]
    link: Link | None = None
    """The link to the host that it runs on; None: this host."""

    @property
    def address(self) -> str:
        """The address that it listens on."""
        return self.link.far_address if self.link else "127.0.0.1"

    @property
    def ready_file(self) -> Path:
        """The path of the server's ready file."""
        return self.folder / f"{self.jobs}.ready.json"

    @property
    def log(self) -> Path:
        """The path of the server's log."""
        return self.folder / f"{self.jobs}.log"

    @property
    def command(self) -> list[str]:
        """Its command line."""
        command = [*(self.link.prefix if self.link else ()), sys.executable, str(ROOT / "server.py")]
        command += ["--host", self.address, "--grpc-port", "0", "--http-port", "0", "--log-level", "warning"]
        command += ["--ready-file", str(self.ready_file), "--jobs-dir", str(self.folder / self.jobs)]
        command += ["--allow-path", str(self.folder), "--device", self.device]
        command += ["--model", self.model, "--precision", self.precision]
        for folder in self.model_dirs:
            command += ["--model-dir", str(folder)]
        return command


@dataclass(frozen=True)
class Server:
    """A running server and a client of it; `start_seconds` is the time from its spawn to its ready file.

    `target` is its gRPC address, `http` the URL of its gateway.
    """

    process: asyncio.subprocess.Process
    target: str
    http: str
    client: AsyncClient
    model: str
    start_seconds: float

    @property
    def pid(self) -> int:
        """The id of the server's process."""
        return self.process.pid

    async def kill(self) -> None:
        """kill -9."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def model_info(self) -> Model:
        """Returns the server's description of its model."""
        return next(m for m in await self.client.models() if m.name == self.model)

    async def forward_seconds(self) -> float:
        """Returns the server's moving average of the time of one segment in seconds; 0 before the first segment."""
        model = await self.model_info()
        stride_seconds = model.segment_frames * 0.75 / model.sample_rate
        return stride_seconds / model.realtime_factor if model.realtime_factor else 0.0

    async def wait_warm(self) -> None:
        """Waits until the model is loaded; raises TimeoutError."""
        async with asyncio.timeout(WARM_SECONDS):
            # A health watch would do too, but polling needs no second stub.
            while (await self.model_info()).state != MODEL_STATE_WARM:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


@asynccontextmanager
async def running_server(plan: ServerPlan, *, warm: bool) -> AsyncGenerator[Server, None]:
    """Runs a server during the block, once it accepts jobs; raises CommandError if it does not start."""
    plan.ready_file.unlink(missing_ok=True)
    begin = time.perf_counter()
    async with child(plan.command, plan.log, plan.environment) as process:
        grpc_port, http_port = await _wait_ready(process, plan)
        seconds = time.perf_counter() - begin
        target, http = f"{plan.address}:{grpc_port}", f"http://{plan.address}:{http_port}"
        async with AsyncClient(target) as client:
            server = Server(process, target, http, client, plan.model, seconds)
            if warm:
                await server.wait_warm()
            yield server


async def _wait_ready(process: asyncio.subprocess.Process, plan: ServerPlan) -> tuple[int, int]:
    deadline = time.perf_counter() + READY_SECONDS
    while not plan.ready_file.exists():
        if process.returncode is not None or time.perf_counter() > deadline:
            raise CommandError(f"the server did not start{last_lines(plan.log)}")
        await asyncio.sleep(GLANCE_SECONDS)
    ready = json.loads(plan.ready_file.read_text())
    return int(ready["grpc_port"]), int(ready["http_port"])

"""A server in a process of its own, to be killed, stopped and started again on the same jobs folder."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.calls import PATIENCE, Client

ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.01


@dataclass
class ServerProcess:
    """`python server.py` on `folder/jobs`, reading from `folder/music`; starts as often as one likes."""

    folder: Path
    models: Path
    model: str = "tiny"
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    """In the environment, by the names of the settings."""
    program: Sequence[str | Path] = (ROOT / "server.py",)
    """What Python runs, before the server's own arguments."""
    process: subprocess.Popen[bytes] | None = None
    runs: int = 0
    port: int = 0

    @property
    def jobs_dir(self) -> Path:
        return self.folder / "jobs"

    @property
    def music(self) -> Path:
        folder = self.folder / "music"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def ready_file(self) -> Path:
        return self.folder / "ready.json"

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def address(self) -> str:
        """Where the present run speaks gRPC."""
        return f"127.0.0.1:{self.port}"

    def spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts the process and does not wait for it; its log goes to `folder/log-N`."""
        self.runs += 1
        self.ready_file.unlink(missing_ok=True)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MISMO_")},
            **{f"MISMO_{name.upper()}": str(value) for name, value in self.settings.items()},
            "MISMO_HUB": "false",
            "MISMO_KEEP_ANALYSIS_WARM": "false",
            "MISMO_CPU_THREADS": "1",
            "MISMO_DISK_RESERVE_BYTES": "0",
            "OMP_NUM_THREADS": "1",
        }
        command = [
            *(sys.executable, *map(str, self.program)),
            *("--grpc-port", "0", "--http-port", "0", "--device", "cpu"),
            *("--model", self.model, "--model-dir", str(self.models), "--precision", "fp32"),
            *("--jobs-dir", str(self.jobs_dir), "--allow-path", str(self.music)),
            *("--ready-file", str(self.ready_file), "--log-level", "debug", *arguments),
        ]
        with self._log(self.runs).open("wb") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder
            )
        return self.process

    async def start(self, *arguments: str) -> Client:
        """Starts the process and waits until it takes jobs; answers a client of it."""
        process = self.spawn(*arguments)
        async with asyncio.timeout(PATIENCE):
            while not self.ready_file.exists():
                assert process.poll() is None, self.log()
                await asyncio.sleep(POLL_SECONDS)
        ready = json.loads(self.ready_file.read_bytes())
        assert ready["pid"] == process.pid
        self.port = ready["grpc_port"]
        return Client(self.address)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Sends a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    async def exited(self) -> int:
        """Waits for the end of the process; its exit status."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, PATIENCE)

    def close(self) -> None:
        """Ends what still runs."""
        if self.alive:
            self.kill()

    def _log(self, run: int) -> Path:
        return self.folder / f"log-{run}"

    def log(self, run: int = 0) -> str:
        """What one run wrote (the latest, if none is named)."""
        return self._log(run or self.runs).read_text()

    def events(self, name: str, run: int = 0) -> list[dict[str, Any]]:
        """The log lines of one kind, of one run or of all."""
        runs = [run] if run else range(1, self.runs + 1)
        found: list[dict[str, Any]] = []
        for number in runs:
            for line in self.log(number).splitlines():
                # A killed process may leave half a line.
                if line.startswith("{") and line.endswith("}"):
                    event = json.loads(line)
                    if event["event"] == name:
                        found.append(event)
        return found

    async def logged(self, name: str) -> None:
        """Waits until the present run has written a line of this kind."""
        async with asyncio.timeout(PATIENCE):
            while not self.events(name, self.runs):
                assert self.process is not None
                assert self.process.poll() is None, self.log()
                await asyncio.sleep(POLL_SECONDS)

    def forwards(self, job_id: str) -> Counter[int]:
        """How often each segment of a job went through the model, over all runs."""
        return Counter(event["segment"] for event in self.events("segment done") if event["job_id"] == job_id)

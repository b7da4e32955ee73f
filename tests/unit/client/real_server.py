"""The server itself, in a process of its own, and a track for it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile

from tests.unit.client.command import SOURCE_ROOTS

ROOT = Path(__file__).resolve().parents[3]
RATE = 44_100


class RealServer:
    """`python server.py` on a port and a jobs folder of its own."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        """`settings`: environment variables of the server."""
        self.folder = folder
        self._settings = dict(settings or {})
        self.jobs = folder / "jobs"
        self.port = 0
        self._process: Process | None = None
        self._reading: asyncio.Task[bytes] | None = None

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Returns when jobs are accepted; the port stays the same over a restart."""
        arguments = ["--grpc-port", self.port, "--http-port", 0, "--device", "cpu", "--model", "mismo_lite"]
        arguments += ["--jobs-dir", self.jobs, "--allow-path", self.folder / "music"]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS)),
            "OMP_NUM_THREADS": "1",
            **self._settings,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            ROOT / "server.py",
            *map(str, arguments),
            stdout=PIPE,
            stderr=STDOUT,
            env=environment,
        )
        assert process.stdout is not None
        line = said = b""
        while b"accepting jobs" not in said:
            line = await process.stdout.readline()
            said += line
            assert line, said.decode()
        self.port = int(json.loads(line)["grpc"].rpartition(":")[2])
        self._process = process
        # Read on, so that the server never waits for its log.
        self._reading = asyncio.create_task(process.stdout.read())

    async def end(self, *, kill: bool = False) -> None:
        process, self._process = self._process, None
        if process is not None and self._reading is not None:
            if kill:
                process.kill()
            else:
                process.terminate()
            await process.wait()
            await self._reading

    def stems(self, job_id: str) -> dict[str, np.ndarray]:
        """The server's own files."""
        files = sorted((self.jobs / job_id / "stems").glob("*.wav"))
        return {file.stem: soundfile.read(file, dtype="int16")[0] for file in files}


def write_music(path: Path, seconds: float) -> None:
    """Chords and hits, different all along."""
    path.parent.mkdir(exist_ok=True)
    time = np.arange(round(seconds * RATE)) / RATE
    chord = sum(np.sin(2 * np.pi * (110 + 3 * np.floor(time)) * n * time) / n for n in (1, 2, 3))
    hits = np.random.default_rng(1).standard_normal(time.size) * np.exp(-20 * (time % 0.5))
    mix = np.stack([0.2 * chord + 0.1 * hits, 0.15 * chord - 0.1 * hits], axis=1)
    soundfile.write(path, mix, RATE, subtype="PCM_16")

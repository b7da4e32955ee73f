"""The command `mismo` as a person starts it: a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path

import mismo_client
from mismo.analysis.v1 import job_pb2

SOURCE_ROOTS = [Path(mismo_client.__file__).parents[1], Path(job_pb2.__file__).parents[3]]


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """What it answered."""
        return self.out.decode()


async def start(server: str, *arguments: str | Path, cwd: Path, stdout: int = PIPE) -> Process:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS)),
        "MISMO_SERVER": server,
        "COLUMNS": "100",
        "PYTHONWARNINGS": "error",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mismo_command",
        *map(str, arguments),
        stdout=stdout,
        stderr=PIPE,
        cwd=cwd,
        env=environment,
    )


async def finish(process: Process) -> Outcome:
    out, err = await process.communicate()
    assert process.returncode is not None
    text = err.decode()
    assert "Traceback" not in text, text
    return Outcome(process.returncode, out or b"", text)


async def mismo(server: str, *arguments: str | Path, cwd: Path) -> Outcome:
    """Runs the command to its end; no failure may show a traceback."""
    return await finish(await start(server, *arguments, cwd=cwd))

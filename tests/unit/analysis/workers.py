"""What the tests of the pool share: a pool that is closed, and waiting for its processes without a clock."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from mismo_grpc.analysis.pool import AnalysisPool

LONG = 60.0
"""A time limit that no task of a test comes near."""


@asynccontextmanager
async def pool_of(workers: int, **options: Any) -> AsyncGenerator[AnalysisPool]:
    pool = AnalysisPool(workers, **options)
    try:
        yield pool
    finally:
        await pool.close(0)


def wait_for_end(pid: int) -> None:
    """Returns once the process has ended; fails after a while."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 20)[0], f"process {pid} is still there"
    finally:
        os.close(descriptor)


async def ended(pid: int) -> None:
    await asyncio.to_thread(wait_for_end, pid)


async def started(path: Path) -> int:
    """The process id that a task writes as it starts."""
    return int(await asyncio.to_thread(path.read_text))


def is_worker(process: psutil.Process) -> bool:
    return "loky.backend.popen_loky_posix" in process.cmdline()

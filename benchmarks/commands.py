"""Child processes that end with the block that started them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Environment variables that the server reads besides MISMO_*.
SERVER_VARIABLES = (
    "SERVER_PORT",
    "DEMUCS_MODEL",
    "DEMUCS_DEVICE",
    "USE_GPU",
    "KEEP_DEMUCS_LOADED",
    "MAX_CONCURRENT_ANALYSIS",
    "JOBS_DIR",
    "JOB_RETENTION_HOURS",
    "STEM_FORMAT",
    "MAX_UPLOAD_SIZE",
    "CALLBACK_TIMEOUT",
    "CALLBACK_RETRIES",
    "CALLBACK_RETRY_DELAY",
    "CALLBACK_SECRET",
)
LAST_LINES = 12
TERMINATE_SECONDS = 10.0


class CommandError(Exception):
    """A command failed or took too long; the message ends with the last lines of its output."""


def plain_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment that is equal for all compared programs: all threads, no hub, no caller settings."""
    dropped = {*THREAD_VARIABLES, *SERVER_VARIABLES}
    kept = {k: v for k, v in environment.items() if k not in dropped and not k.startswith("MISMO_")}
    return {**kept, "MISMO_HUB": "false", "HF_HUB_OFFLINE": "1"}


@asynccontextmanager
async def child(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    *,
    cwd: Path | None = None,
    piped: bool = False,
) -> AsyncGenerator[asyncio.subprocess.Process, None]:
    """Runs a process during the block; then sends SIGTERM, and SIGKILL if the process does not end.

    Its output goes to `log`; with `piped` the caller reads its standard output instead.
    """
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if piped else file,
            stderr=file,
            env=dict(environment),
            cwd=cwd,
        )
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(TERMINATE_SECONDS):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def timed(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    limit_seconds: float,
    *,
    cwd: Path | None = None,
) -> float:
    """Runs a command to its end; returns the seconds it took. Raises CommandError."""
    begin = time.perf_counter()
    async with child(command, log, environment, cwd=cwd) as process:
        try:
            async with asyncio.timeout(limit_seconds):
                status = await process.wait()
        except TimeoutError as error:
            raise CommandError(
                f"{command[0]} took longer than {limit_seconds:.0f} s{last_lines(log)}"
            ) from error
        seconds = time.perf_counter() - begin
    if status != 0:
        raise CommandError(f"{command[0]} ended with status {status}{last_lines(log)}")
    return seconds


def last_lines(log: Path) -> str:
    """Returns the last lines of a log, to append to a message."""
    lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:] if log.exists() else []
    return "".join(f"\n    {line}" for line in lines)

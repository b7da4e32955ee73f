"""Runs what a command asks for: every failure becomes one line and an exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

import typer
from rich.console import Console

from mismo_client.client import AsyncClient
from mismo_client.command.advice import advice
from mismo_client.errors import ClientError
from mismo_client.options import ClientOptions
from mismo_client.retry import RetryPolicy

T = TypeVar("T")
EXIT_ERROR = 1
EXIT_INTERRUPTED = 130
# A person would rather be told that no server answers than wait for one.
IMPATIENT = RetryPolicy(attempts=3)
LONG_WAIT_SECONDS = 1.0
PIPE_WIDTH = 1000


def notes() -> Console:
    """Standard error: what a person reads."""
    return Console(stderr=True)


def answers() -> Console:
    """Standard output: what was asked for."""
    # A pipe has no width to fit into.
    return Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)


def fail(text: str) -> NoReturn:
    """One line, then exit code 1."""
    notes().print(f"error: {text}", style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(EXIT_ERROR)


def run(server: str, work: Callable[[AsyncClient], Awaitable[T]]) -> T:
    """Runs the work with a client; every failure becomes one line and an exit code."""

    # gRPC's own lines about connections that come and go are not for a person; whoever wants them asks.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    told = ""

    def on_retry(error: ClientError, delay: float) -> None:
        nonlocal told
        text = f"{advice(error, server)}; trying again in {delay:.0f} s"
        # Several streams may meet the same trouble; it is told once.
        if delay >= LONG_WAIT_SECONDS and text != told:
            told = text
            notes().print(text, highlight=False, markup=False, soft_wrap=True)

    async def with_client() -> T:
        task = asyncio.current_task()
        if task is not None:
            # A terminated command says good-bye as an interrupted one does.
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        async with AsyncClient(
            server, options=ClientOptions(call_retry=IMPATIENT, on_retry=on_retry)
        ) as client:
            return await work(client)

    try:
        return asyncio.run(with_client())
    except ClientError as error:
        fail(advice(error, server))
    except BrokenPipeError:
        # Whoever read our output has enough. What Python flushes on its way out must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(EXIT_ERROR) from None
    except OSError as error:
        fail(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(EXIT_INTERRUPTED) from None

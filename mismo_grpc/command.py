"""The command line of the server."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

import structlog
from pydantic import ValidationError

from mismo_grpc import __version__
from mismo_grpc.app import build_app
from mismo_grpc.errors import MismoError
from mismo_grpc.separation.allocator import keep_freed_memory
from mismo_grpc.settings import Settings

log = structlog.get_logger(__name__)

PROGRAM = "mismo-server"

LAST_MOMENT_SECONDS = 0.3
"""The part of the grace time that is reserved for ending the process."""

EPILOG = """\
Every option can also be set in the environment (docs/settings.md), for example:
  MISMO_ALLOWED_PATH_PREFIXES='["/music"]' mismo-server --device cpu
  mismo-server --grpc-port 0 --ready-file /tmp/mismo.json   # a free port, written to the file
Stop it with Ctrl-C or SIGTERM: unfinished jobs continue at the next start.
"""


def parse(arguments: Sequence[str]) -> Settings:
    """Reads the settings; the command line overrides the environment. Prints usage and exits on an invalid one."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="mismo_grpc: separates tracks into stems and streams them while they are being separated.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--grpc-port", type=int, help="gRPC port, 0 picks a free one (50051)")
    parser.add_argument("--http-port", type=int, help="HTTP port, 0 picks a free one (8000)")
    parser.add_argument("--device", help="auto, cpu or cuda:N (auto)")
    parser.add_argument(
        "--model", help="model of jobs that name none (htdemucs; mismo_lite if it is not available)"
    )
    parser.add_argument(
        "--model-dir", dest="model_dirs", action="append", help="folder with further models; repeatable"
    )
    parser.add_argument("--jobs-dir", help="folder of the results and the job store (./jobs)")
    parser.add_argument(
        "--allow-path",
        dest="allowed_path_prefixes",
        action="append",
        help="folder that sources may be read from; repeatable",
    )
    parser.add_argument(
        "--precision",
        choices=["auto", "fp32", "bf16"],
        help="arithmetic of the model (auto: the faster one, measured at start)",
    )
    parser.add_argument(
        "--ready-file", help="file that gets {grpc_port, http_port, pid} as JSON once the server accepts jobs"
    )
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"])
    parser.add_argument("--version", action="version", version=__version__)
    given: dict[str, Any] = vars(parser.parse_args(arguments))
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors())
        parser.error(f"{problems} (see docs/settings.md)")


class _LibraryLines(logging.Handler):
    """Logs the records of libraries in the server's own format."""

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        log.log(record.levelno, record.getMessage(), library=record.name, exc_info=record.exc_info)


def configure_logging(level: str) -> None:
    """Logs one line an event to stderr: readable on a terminal, JSON elsewhere. Libraries log warnings and above."""
    logging.basicConfig(level=logging.WARNING, handlers=[_LibraryLines()])
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


class StopSignal:
    """Handles SIGTERM and SIGINT for the whole life of the process; only the first signal has an effect."""

    NUMBERS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        for number in self.NUMBERS:
            # Not asyncio's handlers: they are removed with the loop, and a later signal would kill the process.
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._loop is None:
            self._asked.set()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._asked.set)

    async def wait(self) -> None:
        """Waits for the first signal."""
        self._loop = asyncio.get_running_loop()
        await self._asked.wait()

    def ignore(self) -> None:
        """Ignores both signals from now on, while the process ends."""
        for number in self.NUMBERS:
            signal.signal(number, signal.SIG_IGN)


async def serve(settings: Settings, stopping: StopSignal) -> int:
    """Runs the server until the first signal or a failure; returns the exit status."""
    app = await build_app(settings)
    await app.start()
    waits = [asyncio.create_task(stopping.wait()), asyncio.create_task(app.failed.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
    status = 1 if app.failed.is_set() else 0
    exit_at_last(settings.grace_seconds, status)
    await app.stop()
    return status


def exit_at_last(grace_seconds: float, status: int) -> None:
    """Ends the process before the grace time is over, even during a segment, a download or the loading of a library.

    No state that a client has seen is lost: it was stored before the client got it.
    """

    def give_up() -> None:
        log.warning("the grace time is over; unfinished jobs continue at the next start")
        _exit(status)

    timer = threading.Timer(max(0.0, grace_seconds - LAST_MOMENT_SECONDS), give_up)
    timer.daemon = True
    timer.start()


def _exit(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns exit status 0, 1 (the server failed) or 2 (usage)."""
    settings = parse(sys.argv[1:] if arguments is None else arguments)
    keep_freed_memory()
    configure_logging(settings.log_level)
    stopping = StopSignal()
    try:
        status = asyncio.run(serve(settings, stopping))
    except MismoError as error:
        print(f"{PROGRAM}: {error.message}", file=sys.stderr)
        status = 1
    except OSError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        status = 1
    stopping.ignore()
    if any(t.name.startswith(("device", "hub", "model")) and t.is_alive() for t in threading.enumerate()):
        # Does not join threads: a segment, a load or a download cannot be interrupted, and everything is stored.
        _exit(status)
    return status

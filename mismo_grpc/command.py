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
"""Of the grace time, for the process to end."""

EPILOG = """\
Every option can also be set in the environment (docs/settings.md), for example:
  MISMO_ALLOWED_PATH_PREFIXES='["/music"]' mismo-server --device cpu
  mismo-server --grpc-port 0 --ready-file /tmp/mismo.json   # a free port, told in the file
Stop it with Ctrl-C or SIGTERM: jobs that are not done go on at the next start.
"""


def parse(arguments: Sequence[str]) -> Settings:
    """Settings from the command line over those of the environment; exits with usage on a bad one."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="mismo_grpc: separates tracks into stems and streams them while they are made.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--grpc-port", type=int, help="gRPC port, 0 picks a free one (50051)")
    parser.add_argument("--http-port", type=int, help="HTTP port, 0 picks a free one (8000)")
    parser.add_argument("--device", help="auto, cpu or cuda:N (auto)")
    parser.add_argument(
        "--model", help="model of jobs that name none (htdemucs; mismo_lite where it is not available)"
    )
    parser.add_argument(
        "--model-dir", dest="model_dirs", action="append", help="folder with further models; repeatable"
    )
    parser.add_argument("--jobs-dir", help="where results and the job store lie (./jobs)")
    parser.add_argument(
        "--allow-path",
        dest="allowed_path_prefixes",
        action="append",
        help="folder that sources may be read from; repeatable",
    )
    parser.add_argument(
        "--precision", choices=["auto", "fp32", "bf16"], help="arithmetic of the model (auto: measured)"
    )
    parser.add_argument(
        "--ready-file", help="gets {grpc_port, http_port, pid} as JSON once jobs are accepted"
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
    """What libraries log, as lines like our own."""

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        log.log(record.levelno, record.getMessage(), library=record.name, exc_info=record.exc_info)


def configure_logging(level: str) -> None:
    """One line an event on stderr: readable on a terminal, JSON elsewhere. Libraries are heard from warnings up."""
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
    """SIGTERM and SIGINT, from the first moment to the last; a second one changes nothing."""

    NUMBERS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        for number in self.NUMBERS:
            # asyncio's own handlers end with the loop, and what ends then is the process.
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._loop is None:
            self._asked.set()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._asked.set)

    async def wait(self) -> None:
        """Returns once the process is asked to stop."""
        self._loop = asyncio.get_running_loop()
        await self._asked.wait()

    def ignore(self) -> None:
        """For the last moments of the process."""
        for number in self.NUMBERS:
            signal.signal(number, signal.SIG_IGN)


async def serve(settings: Settings, stopping: StopSignal) -> int:
    """Runs the server until it is asked to stop; answers the exit status."""
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
    """Ends the process before the grace time is over, whatever runs: a segment, a download, a library being loaded.

    Nothing that was told to a client is lost by that: all of it is stored when it is told.
    """

    def give_up() -> None:
        log.warning("the grace time is over; what is not done goes on at the next start")
        _exit(status)

    timer = threading.Timer(max(0.0, grace_seconds - LAST_MOMENT_SECONDS), give_up)
    timer.daemon = True
    timer.start()


def _exit(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit status 0, 1 (the server failed) or 2 (usage)."""
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
        # A segment, a load or a download that outlasts the grace time cannot be interrupted; everything is stored.
        _exit(status)
    return status

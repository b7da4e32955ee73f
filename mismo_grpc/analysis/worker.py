"""What a worker process of the pool does; it imports little, so that a worker starts fast and stays small."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

from mismo_grpc.errors import AnalysisFailedError, MismoError

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}
"""Environment of a worker: the number of workers alone says how many cores analyses take."""

OOM_SCORE = 500
"""Added to the kernel's score of a worker: where memory runs out, it is ended before the server."""
_PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""


def settle(server: int, niceness: int, modules: Sequence[str]) -> None:
    """Prepares this process for its tasks; `server` is the process id of the server.

    A module that cannot be imported is passed over: the analysis that needs it fails, and says why.
    """
    _die_with(server)
    # The server alone ends a worker, also where Ctrl-C or a service manager signals every process of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _mute()
    os.nice(niceness)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    for module in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(module)


def process_id() -> int:
    """A task that shows that this process works."""
    return os.getpid()


def perform(function: Callable[[Unpack[Arguments]], T], *arguments: *Arguments) -> T:
    """Runs a task. What it raises besides a MismoError becomes an AnalysisFailedError, with that as its cause."""
    try:
        return function(*arguments)
    except MismoError:
        raise
    except BaseException as error:  # a SystemExit would end the server that waits for the answer
        raise failure(name_of(function), error) from error


def failure(name: str, error: BaseException) -> AnalysisFailedError:
    """What an unexpected error in an analysis is to a client; its message may hold paths, so only its type is told."""
    return AnalysisFailedError(f"the analysis {name} failed ({type(error).__name__})")


def name_of(function: Callable[..., object]) -> str:
    """What a function is called in messages."""
    return getattr(function, "__name__", type(function).__name__)


def _die_with(server: int) -> None:
    """Has the kernel kill this process once the server, or the thread of it that started this process, has ended.

    No thread here could watch for it: it would wait for the GIL, which some libraries hold for minutes.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)  # it ended before it was asked for


def _mute() -> None:
    """Drops what libraries print, also from C: the server's log is not theirs. There is no input to read either."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)

"""The code of a worker process; it imports little, so that a worker starts fast and uses little memory."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, Unpack

from mismo_grpc.analysis.inputs import AnalysisInputs
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
"""The environment of a worker: one thread each, so that analyses use as many cores as there are workers."""

OOM_SCORE = 500
"""Added to the kernel's OOM score of a worker, so that it is ended before the server if memory runs out."""
_PR_SET_PDEATHSIG = 1
"""The constant of prctl(2)."""


def settle(server: int, niceness: int, modules: Sequence[str]) -> None:
    """Prepares this process for its tasks; `server` is the process id of the server.

    A module that cannot be imported is skipped; the analysis that needs it fails with the reason.
    """
    _die_with(server)
    # Only the server ends a worker, even if Ctrl-C or a service manager signals all processes.
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
    """A task that checks that this process works; returns its process id."""
    return os.getpid()


def perform(function: Callable[[Unpack[Arguments]], T], *arguments: *Arguments) -> T:
    """Runs a task. An error that is not a MismoError becomes the cause of an AnalysisFailedError."""
    try:
        return function(*arguments)
    except MismoError:
        raise
    except BaseException as error:  # a SystemExit would end the server that waits for the result
        raise failure(name_of(function), error) from error


class NamedAnalysis:
    """The pool task of the module `name` in `analysis/`, called `analyse_{name}`; only a worker imports the module."""

    def __init__(self, name: str) -> None:
        self.__name__ = f"analyse_{name}"
        self.module = f"{__package__}.{name}"

    def __call__(self, inputs: AnalysisInputs) -> Any:
        """Calls the task in this process."""
        return getattr(importlib.import_module(self.module), self.__name__)(inputs)


def failure(name: str, error: BaseException) -> AnalysisFailedError:
    """The client's error for an unexpected one; it names only the type, because the message may contain paths."""
    return AnalysisFailedError(f"the analysis {name} failed ({type(error).__name__})")


def name_of(function: Callable[..., object]) -> str:
    """The name of a function in messages."""
    return getattr(function, "__name__", type(function).__name__)


def _die_with(server: int) -> None:
    """Makes the kernel kill this process when the server, or the thread that started this process, ends.

    A thread of this process could not do it: it would wait for the GIL, which some libraries hold for minutes.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)  # the server ended before the call above


def _mute() -> None:
    """Discards the output of libraries, also from C, so that it is not in the server's log; the input is empty."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)

"""What the tests of the pool run in its workers; the workers import this module."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from mismo_grpc.errors import CorruptAudioError, InvalidFieldError


def add(a: int, b: int) -> int:
    return a + b


def process() -> int:
    return os.getpid()


def report_and_wait(fifo: Path) -> None:
    """Writes the process id to a named pipe and never ends; a library that holds the GIL would look like this."""
    fifo.write_text(str(os.getpid()))
    ctypes.PyDLL(None).sleep(600)


def wait_for(gate: Path) -> str:
    """What is written to a named pipe."""
    return gate.read_text()


def with_a_child(fifo: Path) -> None:
    """Starts a process, reports its id and never ends."""
    child = subprocess.Popen(["sleep", "600"])
    fifo.write_text(str(child.pid))
    time.sleep(600)


def compute_for_ever() -> None:
    while True:
        pass


def segfault() -> None:
    ctypes.string_at(0)


def be_killed() -> None:
    os.kill(os.getpid(), 9)


def refuse() -> None:
    raise CorruptAudioError("no music in it", field="source", metadata={"at": "3"}, retry_after=2.0)


def refuse_a_field() -> None:
    raise InvalidFieldError("too long", field="length")


def divide(a: int, b: int) -> float:
    return a / b


def leave() -> None:
    sys.exit(3)


def answer_nothing_that_travels() -> object:
    return threading.Lock()


def remember(size: int) -> int:
    """Holds on to memory, as a model does."""
    globals()["_held"] = b"\x01" * size
    return os.getpid()


def environment() -> dict[str, Any]:
    return {
        "niceness": os.getpriority(os.PRIO_PROCESS, 0),
        "oom_score": int(Path("/proc/self/oom_score_adj").read_text()),
        "threads": {
            os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        },
        "modules": set(sys.modules),
    }


def shout() -> None:
    """Prints as libraries do, from Python and from C."""
    print("noise of Python", flush=True)
    print("noise of Python", file=sys.stderr, flush=True)
    os.write(1, b"noise of C")
    os.write(2, b"noise of C")

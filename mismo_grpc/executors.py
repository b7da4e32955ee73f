"""One thread pool for each kind of blocking work, so that no kind delays another.

The default executor is for quick calls; decoding, the job store and the devices have threads of their own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

PLAYER_THREADS = 16
BULK_THREADS = 16
CHECKSUM_THREADS = max(1, len(os.sched_getaffinity(0)) - 1)
"""Hashing keeps a core busy: one core stays free for the event loop and the players."""
GENERATOR_THREADS = 4
"""At least as many as there are generators, of which each renders one block at a time."""
EXPORT_THREADS = 2
"""Exports that are encoded at once; each keeps a core busy."""
MODEL_THREADS = 16
"""More than the default of open jobs, so that a job with a warm model never waits for another's model to load."""


class InThread(Protocol):
    """Calls a blocking function in a thread, as `asyncio.to_thread` does."""

    def __call__(
        self, func: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...


class Threads:
    """At most `count` threads, started as they are needed; an InThread."""

    def __init__(self, name: str, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def __call__(self, func: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Waits for a free thread, calls `func` in it, and returns or raises what `func` does."""
        call = partial(func, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Cancels the queued calls; the running ones finish, and nobody waits for them."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Executors:
    """The threads of one server."""

    def __init__(self) -> None:
        self.player = Threads("player", PLAYER_THREADS)
        """Opens, reads and encodes stem files for players."""
        self.bulk = Threads("bulk", BULK_THREADS)
        """Writes uploads and results, reads archives and bodies, removes trees."""
        self.checksum = Threads("checksum", CHECKSUM_THREADS)
        """Reads whole files for their checksums."""
        self.generator = Threads("generator", GENERATOR_THREADS)
        """Renders blocks of generated stems."""
        self.export = Threads("export", EXPORT_THREADS)
        """Encodes exports of finished stems."""
        self.model = Threads("model", MODEL_THREADS)
        """Loads models."""

    def close(self) -> None:
        """Closes all pools; see `Threads.close`."""
        for threads in (self.player, self.bulk, self.checksum, self.generator, self.export, self.model):
            threads.close()

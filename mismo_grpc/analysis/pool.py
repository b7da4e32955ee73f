"""Runs analyses in worker processes, so that a crash, a hang or a leak in an analysis does not affect the server.

Each worker is a loky executor of its own. So a task is ended by ending its executor, and a worker that dies never holds
a lock that another worker needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, Unpack, cast

import psutil
import structlog
from loky import BrokenProcessPool, ProcessPoolExecutor, backend
from loky.process_executor import ShutdownExecutorError

from mismo_grpc.analysis.worker import ONE_THREAD, failure, name_of, perform, process_id, settle
from mismo_grpc.errors import (
    AnalysisCrashedError,
    AnalysisTimeoutError,
    MismoError,
    QueueFullError,
    ServerDrainingError,
)
from mismo_grpc.slots import Slots

log = structlog.get_logger(__name__)

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

MAX_QUEUED = 64
IDLE_SECONDS = 600.0
MAX_IDLE_BYTES = 2 << 30
START_SECONDS = 600.0
"""How long a worker may take to start and import its modules, 1 to 2 s of work, beside threads of a higher priority on
all cores."""
CLOSE_SECONDS = 5.0
"""How long `close` waits until ended tasks have raised their errors."""
NICENESS = 19
"""The lowest priority: a worker then takes about 1.5 % of a core that a device thread uses (sched(7))."""
SMALL_REST = 0.01
"""A time limit has passed when less than this part of it is left."""
_DEATHS = (BrokenProcessPool, ShutdownExecutorError, OSError)
"""The errors of a call to a worker whose process died, was ended or cannot be started."""
_NO_LEAK_CHECK = {"LOKY_MAX_MEMORY_LEAK_SIZE": "1e15"}
"""Switches off loky's leak detection, which would take a model kept in memory for a leak; MAX_IDLE_BYTES is the limit
here."""


class AnalysisPool:
    """At most `max_workers` worker processes, which are spawned when needed and kept for further tasks.

    Every worker imports `modules` when it starts. A worker is ended after `idle_seconds` without a task, or if it uses
    more than `max_idle_bytes` of memory after a task. At most `max_queued` tasks wait for a worker. Workers run at
    `niceness` with one thread each; the kernel ends them when this process ends for any reason.

    Call its methods on one event loop.
    """

    def __init__(
        self,
        max_workers: int,
        *,
        modules: Sequence[str] = (),
        max_queued: int = MAX_QUEUED,
        idle_seconds: float = IDLE_SECONDS,
        max_idle_bytes: int = MAX_IDLE_BYTES,
        niceness: int = NICENESS,
    ) -> None:
        self._max_workers = max_workers
        self._settling = (os.getpid(), niceness, tuple(modules))
        self._max_queued = max_queued
        self._idle_seconds = idle_seconds
        self._max_idle_bytes = max_idle_bytes
        self._slots = Slots(max_workers)
        self._waiting = 0
        self._idle: list[_Worker] = []
        """The worker used last is at the end and is used first, so that the others stay idle and are ended."""
        self._busy: set[_Worker] = set()
        self._expiry: dict[_Worker, asyncio.TimerHandle] = {}
        self._closing = False
        self._quiet = asyncio.Event()
        self._quiet.set()
        # Workers die with the thread that started them, so one thread, which lives as long as the pool, starts all.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="analysis-workers")

    @property
    def running(self) -> int:
        """The number of tasks that have a worker."""
        return len(self._busy)

    @property
    def waiting(self) -> int:
        """The number of tasks that wait for a worker."""
        return self._waiting

    def start(self, count: int) -> None:
        """Starts workers in the background until there are `count`, or as many as there may be.

        Without this call each one starts with the first task that needs it.
        """
        count = min(count, self._max_workers)
        while not self._closing and len(self._idle) + len(self._busy) < count:
            worker = self._new_worker()
            worker.begin()
            self._keep(worker)

    async def run(
        self,
        function: Callable[[Unpack[Arguments]], T],
        *arguments: *Arguments,
        timeout_seconds: float,
        priority: Callable[[], int] = lambda: 0,
    ) -> T:
        """Calls `function` in a worker and returns its result. If this is cancelled, the worker is ended at once.

        A task of a higher `priority` gets a worker first; the priority may change while the task waits for one. Running
        tasks are not interrupted.

        The worker imports the function by its module and name. Arguments and result are pickled; pass audio as the path
        of its file. `timeout_seconds` begins when a worker takes the task. Time in which the worker could run, but no
        core was free for it, does not count: at the lowest priority that may be most of the time.

        Raises the MismoError that the function raises, AnalysisFailedError for any other error; AnalysisTimeoutError;
        AnalysisCrashedError if the worker died; QueueFullError; ServerDrainingError once the pool closes.
        """
        name = name_of(function)
        await self._wait_for_slot(priority)
        try:
            worker = await self._ready_worker(name)
            reusable = False
            try:
                answer = await _within(timeout_seconds, worker, worker.call(perform, function, *arguments))
                reusable = True
                return answer
            except TimeoutError as error:
                raise AnalysisTimeoutError(
                    f"the analysis {name} took longer than the {timeout_seconds:g} s that it may take"
                ) from error
            except _DEATHS as error:
                raise self._crash(name, error) from error
            except MismoError:
                reusable = True
                raise
            except Exception as error:  # the arguments or the result cannot be pickled
                reusable = True
                raise failure(name, error) from error
            finally:
                self._take_back(worker, reusable=reusable)
        finally:
            self._slots.release()

    async def close(self, grace_seconds: float) -> None:
        """Refuses new tasks, gives running ones the grace time to finish, then ends them and all workers.

        Tasks that wait or are ended raise ServerDrainingError.
        """
        self._closing = True
        while self._idle:
            self._take_idle().end()
        try:
            if not await self._quiet_within(grace_seconds):
                for worker in self._busy:
                    worker.end()
                if not await self._quiet_within(CLOSE_SECONDS):
                    log.error("analyses were ended but do not stop", running=self.running)
        finally:
            self._starter.shutdown(wait=False)

    async def _quiet_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._quiet.wait()
        except TimeoutError:
            return False
        return True

    async def _wait_for_slot(self, priority: Callable[[], int]) -> None:
        if self._closing:
            raise _draining()
        if self._slots.locked and self._waiting >= self._max_queued:
            raise QueueFullError(f"{self._waiting} analyses wait already; try again later")
        self._waiting += 1
        try:
            await self._slots.acquire(priority)
        finally:
            self._waiting -= 1
        if self._closing:
            self._slots.release()
            raise _draining()

    async def _ready_worker(self, name: str) -> _Worker:
        """Returns a worker that has just answered; it counts as busy."""
        while True:
            reused = bool(self._idle)
            worker = self._take_idle() if reused else self._new_worker()
            self._busy.add(worker)
            self._quiet.clear()
            answered = False
            try:
                async with asyncio.timeout(START_SECONDS):
                    worker.pid = await worker.call(process_id)
                answered = True
                return worker
            except (*_DEATHS, TimeoutError) as error:
                # A worker that died while it was idle is replaced; the next one takes the task.
                if self._closing or not reused:
                    raise self._crash(name, error) from error
            finally:
                if not answered:
                    self._take_back(worker, reusable=False)

    def _new_worker(self) -> _Worker:
        return _Worker(self._starter, self._settling)

    def _take_back(self, worker: _Worker, *, reusable: bool) -> None:
        self._busy.discard(worker)
        if not self._busy:
            self._quiet.set()
        if reusable and not self._closing and worker.resident_bytes <= self._max_idle_bytes:
            self._keep(worker)
        else:
            worker.end()

    def _keep(self, worker: _Worker) -> None:
        self._idle.append(worker)
        self._expiry[worker] = asyncio.get_running_loop().call_later(self._idle_seconds, self._expire, worker)

    def _take_idle(self) -> _Worker:
        worker = self._idle.pop()
        self._expiry.pop(worker).cancel()
        return worker

    def _expire(self, worker: _Worker) -> None:
        self._idle.remove(worker)
        del self._expiry[worker]
        worker.end()

    def _crash(self, name: str, error: BaseException) -> MismoError:
        if self._closing:
            return _draining()
        log.error("a worker of the analyses died", analysis=name, cause=_cause(error))
        return AnalysisCrashedError(
            f"the process of the analysis {name} crashed, or the system ended it for want of memory; try again"
        )


class _Worker:
    """One process, started by its first task; all calls of its executor run on the `starter` thread, in order."""

    def __init__(self, starter: ThreadPoolExecutor, settling: tuple[int, int, tuple[str, ...]]) -> None:
        self._starter = starter
        self._settling = settling
        self._executor: ProcessPoolExecutor | None = None
        self.pid = 0
        """The process id, known after its first answer."""

    @property
    def resident_bytes(self) -> int:
        """The memory of the process in bytes without the files that it maps, as the track; 0 if it has ended."""
        try:
            memory = psutil.Process(self.pid).memory_info()
            return memory.rss - memory.shared
        except psutil.NoSuchProcess:
            return 0

    @property
    def starved_seconds(self) -> float:
        """How long the process could have run, but waited for a core; 0 if it has ended or no kernel counts it.

        Of several threads, the time of the one that waited longest.
        """
        waits = (waited_for_core(task) for task in Path(f"/proc/{self.pid}/task").glob("*"))
        return max(waits, default=0.0)

    def begin(self) -> None:
        """Starts the process in the background."""
        self._starter.submit(self._submit, process_id)

    async def call(self, function: Callable[[Unpack[Arguments]], T], *arguments: *Arguments) -> T:
        """Returns or raises what the function does in the worker; raises BrokenProcessPool if the process dies."""
        loop = asyncio.get_running_loop()
        submitted = await loop.run_in_executor(self._starter, partial(self._submit, function, *arguments))
        answer = asyncio.wrap_future(submitted)
        # The result of a task whose caller was cancelled is ignored.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Shielded, because a task is cancelled by ending its worker; loky cannot handle a cancelled future.
        return cast("T", await asyncio.shield(answer))

    def end(self) -> None:
        """Kills the process and its child processes in the background."""
        # After the pool has closed there is no starter thread, and therefore no process.
        with contextlib.suppress(RuntimeError):
            self._starter.submit(self._kill)

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        if self._executor is None:
            # This context spawns, and the worker does not import the server's main module.
            self._executor = ProcessPoolExecutor(
                max_workers=1,
                context=backend.get_context("loky"),
                initializer=settle,
                initargs=self._settling,
                env={**ONE_THREAD, **_NO_LEAK_CHECK},
            )
        return self._executor.submit(function, *arguments)

    def _kill(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=False, kill_workers=True)


async def _within(seconds: float, worker: _Worker, call: Coroutine[Any, Any, T]) -> T:
    """The result of a call to the worker; raises TimeoutError if it takes longer, apart from waiting for a core."""
    answer = asyncio.ensure_future(call)
    # An error that comes together with a cancel is ignored.
    answer.add_done_callback(lambda done: done.cancelled() or done.exception())
    left, starved = seconds, worker.starved_seconds
    try:
        # The time in which it was starved is added, until little was.
        while left > seconds * SMALL_REST:
            await asyncio.wait([answer], timeout=left)
            if answer.done():
                return answer.result()
            before, starved = starved, worker.starved_seconds
            left = starved - before
    finally:
        answer.cancel()
    raise TimeoutError


def waited_for_core(task: Path) -> float:
    """Seconds that a thread could have run but waited for a core; `task` is its folder in /proc.

    The second number of `schedstat` (Documentation/scheduler/sched-stats.rst of Linux), in nanoseconds. 0 without it.
    """
    try:
        return int((task / "schedstat").read_text().split()[1]) / 1e9
    except (OSError, LookupError, ValueError):
        return 0.0


def _cause(death: BaseException) -> str:
    """How a worker ended: its signal or exit status, extracted from loky's message."""
    status = re.search(r"\{(.+)\}", str(death))
    return status.group(1) if status else f"{type(death).__name__}: {death}".splitlines()[0]


def _draining() -> ServerDrainingError:
    return ServerDrainingError("the server is shutting down; try again when it is back")

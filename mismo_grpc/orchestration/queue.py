"""Starts waiting jobs: the one with the highest priority gets the next free slot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import structlog

from mismo_grpc.jobs.job import Job
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.stages.retries import next_attempt, seconds_left

log = structlog.get_logger(__name__)

SHORTEST_TIMER_SECONDS = 0.01
"""The timer runs on another clock than the times of the next attempts, and may run a little too early."""


class Timer(Protocol):
    """What `asyncio.AbstractEventLoop.call_later` returns."""

    def cancel(self) -> None: ...


def _call_later(seconds: float, function: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, function)


class JobQueue:
    """Starts waiting jobs; on the event loop only. Nothing starts once it is `stopped`.

    A job starts while fewer than `max_concurrent` open jobs have its priority or a higher one, so that an urgent job
    never waits for a slot that a less urgent one holds. A job of which no stage can run before another attempt is due
    holds no slot. It waits for one like the others once the attempt is due.
    """

    def __init__(
        self,
        repository: JobRepository,
        run: Callable[[ActiveJob], Coroutine[Any, Any, None]],
        max_concurrent: int,
        call_later: Callable[[float, Callable[[], None]], Timer] = _call_later,
    ) -> None:
        """`run` runs a job to its end, or until it waits for another attempt.

        If its task is cancelled, the job keeps its stored state. `call_later` calls a function after some seconds.
        """
        self._repository = repository
        self._run = run
        self._max_concurrent = max_concurrent
        self._call_later = call_later
        self._timer: Timer | None = None
        self._due: dict[str, tuple[Job, float | None]] = {}
        """The next attempt of each job by its id, as of that state of the job."""
        self.stopped = False

    def waiting(self) -> list[ActiveJob]:
        """The jobs that wait for a slot; within a priority in the order of their submits."""
        waiting = [a for a in self._without_slot() if not a.cancelling and self._seconds_left(a) == 0.0]
        return sorted(waiting, key=lambda a: (-a.job.priority, a.job.created_at))

    def position(self, active: ActiveJob) -> int:
        """The position of a waiting job, from 1; 0 for a job that does not wait for a slot."""
        if active.task is not None or self._seconds_left(active) > 0.0:
            return 0
        waiting = self.waiting()
        return 1 + waiting.index(active) if active in waiting else 0

    @property
    def waiting_count(self) -> int:
        """The number of jobs that wait for a slot."""
        return len(self._without_slot()) - self.retrying_count

    @property
    def retrying_count(self) -> int:
        """The number of jobs that wait for another attempt, without a slot."""
        return sum(self._seconds_left(a) > 0.0 for a in self._without_slot())

    def _without_slot(self) -> list[ActiveJob]:
        return [active for active in self._repository.active.values() if active.task is None]

    def _seconds_left(self, active: ActiveJob) -> float:
        """Seconds until a job without a slot can go on; 0 if it can go on now."""
        job, (known, due) = active.job, self._due.get(active.job.job_id, (None, None))
        # Positions are asked for often, and hundreds of jobs may wait.
        if known is not job:
            due = next_attempt(job)
            self._due[job.job_id] = job, due
        return 0.0 if due is None else seconds_left(due, self._repository.now())

    def fill(self) -> None:
        """Starts as many waiting jobs as there are free slots."""
        if self.stopped:
            return
        self._due = {job_id: due for job_id, due in self._due.items() if job_id in self._repository.active}
        for active in self.waiting():
            running = [a for a in self._repository.active.values() if a.task is not None]
            if sum(a.job.priority >= active.job.priority for a in running) >= self._max_concurrent:
                continue
            active.task = asyncio.create_task(self._run(active), name=f"job {active.job.job_id}")
            active.task.add_done_callback(lambda task, a=active: self._after_run(task, a))
        for active in self.waiting():
            active.event_log.touch()
        self._set_timer()

    def _set_timer(self) -> None:
        """Makes `fill` run again when the next attempt of a job without a slot is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waits = [wait for active in self._without_slot() if (wait := self._seconds_left(active)) > 0.0]
        if waits:
            self._timer = self._call_later(max(SHORTEST_TIMER_SECONDS, min(waits)), self.fill)

    def _after_run(self, task: asyncio.Task[None], active: ActiveJob) -> None:
        """Gives the slot of a job that has ended, or waits for another attempt, to the next one."""
        if not active.job.state.ended:
            if task.cancelled() or active.cancelling or active.task is not task:
                return
            error = task.exception()
            if error is not None:
                log.error("a job cannot be run", job_id=active.job.job_id, exc_info=error)
                return
            active.task = None
            # Readers that wait for the stems learn that the job waits again.
            active.stems_changed.notify()
            active.event_log.touch()
        self.fill()

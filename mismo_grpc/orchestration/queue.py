"""Starts waiting jobs: the one with the highest priority gets the next free slot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from mismo_grpc.jobs.repository import ActiveJob, JobRepository


class JobQueue:
    """Starts waiting jobs; on the event loop only. Nothing starts once it is `stopped`.

    A job starts while fewer than `max_concurrent` open jobs have its priority or a higher one, so that an urgent job
    never waits for a slot that a less urgent one holds.
    """

    def __init__(
        self,
        repository: JobRepository,
        run: Callable[[ActiveJob], Coroutine[Any, Any, None]],
        max_concurrent: int,
    ) -> None:
        """`run` runs a job to its end; if its task is cancelled, the job keeps its stored state."""
        self._repository = repository
        self._run = run
        self._max_concurrent = max_concurrent
        self.stopped = False

    def waiting(self) -> list[ActiveJob]:
        """The jobs that wait for a slot; within a priority in the order of their submits."""
        waiting = [a for a in self._repository.active.values() if a.task is None and not a.cancelling]
        return sorted(waiting, key=lambda a: (-a.job.priority, a.job.created_at))

    def position(self, active: ActiveJob) -> int:
        """The position of a waiting job, from 1; 0 for a job that does not wait."""
        if active.task is not None:
            return 0
        waiting = self.waiting()
        return 1 + waiting.index(active) if active in waiting else 0

    @property
    def waiting_count(self) -> int:
        """The number of jobs that wait for a slot."""
        return sum(a.task is None for a in self._repository.active.values())

    def fill(self) -> None:
        """Starts as many waiting jobs as there are free slots."""
        if self.stopped:
            return
        for active in self.waiting():
            running = [a for a in self._repository.active.values() if a.task is not None]
            if sum(a.job.priority >= active.job.priority for a in running) >= self._max_concurrent:
                continue
            active.task = asyncio.create_task(self._run(active), name=f"job {active.job.job_id}")
            active.task.add_done_callback(lambda _, a=active: self._after_end(a))
        for active in self.waiting():
            active.event_log.touch()

    def _after_end(self, active: ActiveJob) -> None:
        """Gives the slot of an ended job to the next one."""
        if active.job.state.ended:
            self.fill()

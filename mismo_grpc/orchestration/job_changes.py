"""The changes that clients can make to an accepted job: cancel it, change its priority or playhead, delete it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from mismo_grpc.completion import run_to_completion
from mismo_grpc.errors import DiskFullError, JobNotReadyError, check_run
from mismo_grpc.jobs.events import EventKind
from mismo_grpc.jobs.job import Job, JobState, Priority, StageState
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.orchestration.queue import JobQueue
from mismo_grpc.orchestration.runner import JobRunner
from mismo_grpc.results.runs import Runs
from mismo_grpc.separation.scheduler import Scheduler
from mismo_grpc.stages.stems import playhead_error


@dataclass(frozen=True)
class JobUpdate:
    """The changes of an update; `playhead` is in seconds."""

    priority: Priority | None = None
    """None: unchanged."""
    sets_playhead: bool = False
    playhead: float | None = None
    """None with `sets_playhead` clears the playhead."""


class JobChanges:
    """Changes jobs for clients; on the event loop.

    `expected_run_id` ("": any run) is the run that the client means. If the job has another run, each method raises
    RunReplacedError and changes nothing.
    """

    def __init__(
        self,
        repository: JobRepository,
        runner: JobRunner,
        queue: JobQueue,
        runs: Runs,
        scheduler: Scheduler,
    ) -> None:
        self._repository = repository
        self._runner = runner
        self._queue = queue
        self._runs = runs
        self._scheduler = scheduler

    async def cancel(self, job_id: str, expected_run_id: str = "") -> Job:
        """Cancels a job; a job that has ended is not changed. Raises JobNotFoundError."""
        active = self._repository.active.get(job_id)
        if active is None:
            job = await self._repository.get(job_id)
            check_run(job_id, expected_run_id, job.run_id)
            return job
        check_run(job_id, expected_run_id, active.job.run_id)
        await self._cancel(active)
        return active.job

    async def _cancel(self, active: ActiveJob) -> None:
        # Again after a cancel of another client that could not be stored.
        while not active.job.state.ended:
            if active.cancelling:
                await active.event_log.changed.wait(lambda: not active.cancelling, None)
            else:
                active.cancelling = True
                await run_to_completion(self._stop(active))

    async def _stop(self, active: ActiveJob) -> None:
        try:
            if active.task is not None:
                active.task.cancel()
                await asyncio.wait([active.task])
            await self._runner.end(active, JobState.CANCELLED, StageState.CANCELLED, None)
        finally:
            active.cancelling = False
            if not active.job.state.ended:
                # The end could not be stored: the job is queued again and can be cancelled again.
                active.task = None
            active.event_log.touch()
            self._queue.fill()

    async def update(self, job_id: str, update: JobUpdate, expected_run_id: str = "") -> Job:
        """Changes a running or queued job; an update without effect makes no new revision.

        Raises JobNotFoundError, JobNotReadyError if the job has ended, PlayheadBeyondEndError.
        """
        active = self._repository.active.get(job_id)
        if active is None:
            job = await self._repository.get(job_id)
            check_run(job_id, expected_run_id, job.run_id)
            raise _has_ended(job)
        check_run(job_id, expected_run_id, active.job.run_id)
        if update.sets_playhead and update.playhead is not None:
            _check_playhead(active, update.playhead)
        job = active.job
        if self._updated(active, update, job) != job:
            job = await self._repository.record(
                active, lambda job: self._updated(active, update, job), EventKind.UPDATED
            )
        if job.state.ended:
            raise _has_ended(job)
        separation = active.separation
        if separation is not None:
            # Uses the current job, because another update may have been stored meanwhile.
            newest = active.job
            self._scheduler.set_priority(separation.scheduled, int(newest.priority))
            if update.sets_playhead:
                frame = separation.frame_at(newest.options.stems.playhead)
                self._scheduler.suggest(separation.scheduled, frame)
        self._queue.fill()
        return job

    def _updated(self, active: ActiveJob, update: JobUpdate, job: Job) -> Job:
        job = replace(job, priority=update.priority or job.priority)
        if not update.sets_playhead:
            return job
        stems = replace(job.options.stems, playhead=update.playhead)
        job = replace(job, options=replace(job.options, stems=stems), playhead_moved=True)
        return job.with_playhead_audio(active.ready, self._repository.now())

    async def delete(self, job_id: str, expected_run_id: str = "") -> None:
        """Ends a job, deletes it and removes its files; raises JobNotFoundError.

        Its request ids still answer with the job as it was.
        """
        job = await self._repository.get(job_id)
        check_run(job_id, expected_run_id, job.run_id)
        await run_to_completion(self._delete(job))

    async def _delete(self, job: Job) -> None:
        active = self._repository.active.get(job.job_id)
        if active is not None and active.job.run_id == job.run_id:
            await self._cancel(active)
        try:
            await self._forget(job)
        except DiskFullError:
            # The files are removed in any case, and their space may be the space that is missing.
            self._runs.discard(job.run_id)
            await self._runs.removed()
            await self._forget(job)

    async def _forget(self, job: Job) -> None:
        repository = self._repository
        async with repository.job_files_lock:
            current = await repository.find(job.job_id)
            # A run that was accepted meanwhile is not deleted.
            if current is None or current.run_id != job.run_id:
                return
            repository.ended_logs.pop(job.job_id, None)
            # The row first: a start of the server removes files without a job, but cannot restore a job's files.
            await repository.remove(job.job_id)
            await self._runs.forget(job.job_id, job.run_id)


def _check_playhead(active: ActiveJob, playhead: float) -> None:
    layout = active.separation.stems.layout if active.separation is not None else None
    if layout is not None and playhead * layout.sample_rate >= layout.total_frames:
        raise playhead_error(playhead, layout.total_frames / layout.sample_rate, "playhead")


def _has_ended(job: Job) -> JobNotReadyError:
    return JobNotReadyError(f"job {job.job_id} has ended ({job.state.name}); submit it again to change it")

"""Ends jobs: decides what has become of them, stores it, and removes the files that nobody needs any more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import structlog

from mismo_grpc.completion import run_to_completion
from mismo_grpc.errors import MismoError
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.events import EventKind
from mismo_grpc.jobs.job import Job, JobFailure, JobState, Stage, StageState, StageStatus
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.results.runs import Runs
from mismo_grpc.results.work_files import Needed, remove_needless, remove_results
from mismo_grpc.storage.run_files import RunFiles

log = structlog.get_logger(__name__)

STORE_RETRY_SECONDS = 2.0

REQUIRED = frozenset({Stage.BLOB_UPLOAD})
"""The stages without which a job has failed, also if others have a result."""


@dataclass(frozen=True)
class JobEnd:
    """How a job ends.

    `state` None: the results of its stages determine it. Stages that have not ended get `stage_state` and `failure`.
    """

    state: JobState | None
    stage_state: StageState
    failure: JobFailure | None = None


class JobEnds:
    """Ends jobs; on the event loop. `default_ttl` (seconds) is how long a job is kept that does not say."""

    def __init__(self, repository: JobRepository, runs: Runs, *, default_ttl: float, bulk: InThread) -> None:
        self._repository = repository
        self._runs = runs
        self._default_ttl = default_ttl
        self._bulk = bulk

    async def conclude(self, active: ActiveJob, failure: JobFailure | None) -> None:
        """Ends a job whose stages have run; stages that have not ended fail with `failure`.

        Tries again until the end is stored.
        """
        # Without a failure only stages were stopped that no other stage needed.
        left = StageState.CANCELLED if failure is None else StageState.FAILED
        while True:
            try:
                await run_to_completion(self.end(active, JobEnd(None, left, failure)))
                return
            except MismoError as trouble:
                log.error(
                    "the end of a job cannot be stored; it is tried again",
                    job_id=active.job.job_id,
                    reason=trouble.message,
                )
                await asyncio.sleep(STORE_RETRY_SECONDS)

    async def end(self, active: ActiveJob, end: JobEnd) -> None:
        """Stores the end of a job, then removes the files that are not kept; a job that has ended is not changed.

        A job that failed from a cause that may pass keeps its source and the results of the stages that succeeded.
        Raises DiskFullError or StoreError if the end cannot be stored.
        """
        if active.job.state.ended:
            return
        files = self._runs.files(active.job.run_id)
        source_bytes = await self._bulk(_source_bytes, files)
        try:
            await self._record(active, end, source_bytes)
        except MismoError:
            # Files that are removed in any case may be the space that is missing. Those of a stage that is stored as
            # succeeded stay: the stage is not run again if the end cannot be stored now either.
            if active.job.has_stem_files:
                await self._bulk(remove_needless, files, Needed(source=True))
            else:
                await self._bulk(remove_results, files)
            await self._record(active, end, source_bytes)
        await self._remove_files(active.job, files)

    async def _remove_files(self, job: Job, files: RunFiles) -> None:
        kept = job.state is JobState.SUCCEEDED or job.dead_letter
        if job.state is not JobState.SUCCEEDED:
            await self._runs.withdraw(job.job_id, job.run_id)
        if not kept:
            self._runs.discard(job.run_id)
            return
        if not job.has_stem_files:
            # Stems that failed half-way, in a job that keeps the result of another stage or its source.
            await self._bulk(remove_results, files)
        await run_to_completion(self._bulk(remove_needless, files, Needed(source=job.dead_letter)))
        if job.dead_letter and not job.result_bytes:
            # Its track is not among its files, and no stage left any.
            self._runs.discard(job.run_id)

    async def _record(self, active: ActiveJob, end: JobEnd, source_bytes: int) -> None:
        now = self._repository.now()
        stages = tuple(
            s
            if s.state.ended
            else replace(s, state=end.stage_state, ended_at=now, error=end.failure, next_attempt_at=None)
            for s in active.job.stages
        )
        for changed, before in zip(stages, active.job.stages, strict=True):
            if changed is not before and before.state is StageState.RUNNING:
                await self._repository.record(
                    active,
                    lambda job, s=changed: job.with_stage(s),
                    EventKind.STAGE,
                    changed,
                    must_write=True,
                )
        await self._repository.record(
            active,
            lambda job: self._ended(job, stages, end.state, now, source_bytes),
            EventKind.TERMINAL,
            must_write=True,
        )
        job = active.job
        if job.error is not None:
            log.warning(
                "job failed",
                job_id=job.job_id,
                reason=job.error.reason,
                message=job.error.message,
                dead_letter=job.dead_letter,
            )

    def _ended(
        self,
        job: Job,
        stages: tuple[StageStatus, ...],
        state: JobState | None,
        now: float,
        source_bytes: int,
    ) -> Job:
        ended = replace(
            job, stages=stages, ended_at=now, expires_at=now + (job.result_ttl or self._default_ttl)
        )
        if state is None and _has_result(ended) and _failure_of_required(ended) is None:
            return replace(ended, state=JobState.SUCCEEDED)
        error = None if state is JobState.CANCELLED else _cause(ended)
        ended = replace(ended, state=state or JobState.FAILED, error=error)
        if error is not None and error.retryable:
            # Artifacts and checksums are what a replay checks the kept files by.
            return replace(ended, dead_letter=True, result_bytes=job.result_bytes + source_bytes)
        return replace(ended, artifacts=(), stem_sha256=(), result_bytes=0)


def _source_bytes(files: RunFiles) -> int:
    try:
        return files.source.stat().st_size
    except OSError:
        return 0


def _has_result(job: Job) -> bool:
    # A decoded track alone is no result, though a job may ask for it beside others.
    results = (stage for stage in job.options.stages if stage is not Stage.DECODE and stage not in REQUIRED)
    return any(map(job.has_result_of, results))


def _failure_of_required(job: Job) -> JobFailure | None:
    failed = (s for s in job.stages if s.stage in REQUIRED and s.state is StageState.FAILED)
    return next((status.error for status in failed), None)


def _cause(job: Job) -> JobFailure | None:
    """The error of a failed job: that of a required stage, else that of the first asked stage with one."""
    errors = [job.stage(stage).error for stage in job.options.stages if job.has(stage)]
    return _failure_of_required(job) or next((error for error in errors if error is not None), None)

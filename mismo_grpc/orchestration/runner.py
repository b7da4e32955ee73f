"""Runs one job from the queue to its end by walking the graph of its stages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

import structlog

from mismo_grpc.completion import run_to_completion, wait_ended
from mismo_grpc.errors import DiskFullError, InternalError, MismoError, disk_error
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.events import EventKind
from mismo_grpc.jobs.job import Job, JobFailure, JobState, Stage, StageState, StageStatus
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.jobs.stage_data import STEM_STAGES
from mismo_grpc.results.runs import Runs
from mismo_grpc.results.work_files import Needed, remove_needless, remove_results
from mismo_grpc.stages.context import NeedFailedError, RunMemory, StageContext
from mismo_grpc.stages.stage import StageResult, StageWork, retry_delay
from mismo_grpc.stages.table import ROWS, stages_to_run, with_needs

log = structlog.get_logger(__name__)

STORE_RETRY_SECONDS = 2.0

Ends = dict[Stage, asyncio.Future[None]]
"""A future for each stage: it is resolved once the stages that need it may run, or fails with NeedFailedError."""


class JobRunner:
    """Runs jobs; each `run` is one job in its own task.

    The end of a stage is stored before it is published. A stage that succeeded is not run again after a restart.
    """

    def __init__(
        self,
        repository: JobRepository,
        runs: Runs,
        works: Iterable[StageWork],
        *,
        default_ttl: float,
        bulk: InThread,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`works` implement the offered stages; `sleep` waits between attempts."""
        self._repository = repository
        self._runs = runs
        self._works = {work.stage: work for work in works}
        self._default_ttl = default_ttl
        self._bulk = bulk
        self._sleep = sleep

    async def run(self, active: ActiveJob) -> None:
        """Runs a job until it has succeeded or failed; if the task is cancelled, the job can be resumed later."""
        failure: JobFailure | None = None
        try:
            await self._walk(active)
        except Exception as error:
            failure = _failure_of(error, active.job.job_id)
        await self._conclude(active, failure)

    async def _walk(self, active: ActiveJob) -> None:
        """Runs the missing stages; raises if the end of a stage cannot be stored."""
        _adopt_older_record(active)
        # Tells readers that wait for the stems that the job has left the queue.
        active.stems_changed.notify()
        job, memory = active.job, RunMemory()
        if job.result_bytes:
            # A power cut may have lost the link. After a cancel it must not be made any more.
            await run_to_completion(self._runs.publish(job.job_id, job.run_id))
        missing = stages_to_run(job)
        ends = _known_ends(job, missing)
        tasks = {
            stage: asyncio.create_task(self._carry_out(stage, active, memory, ends))
            for stage in with_needs(missing)
            if stage in missing
        }
        try:
            pending = set(tasks.values())
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                for stage in _needless(active.job, tasks):
                    tasks[stage].cancel()
                    await run_to_completion(wait_ended([tasks[stage]]))
                    pending.discard(tasks[stage])
        finally:
            for task in tasks.values():
                task.cancel()
            if tasks:
                await run_to_completion(wait_ended(list(tasks.values())))
            for end in ends.values():
                # Marks the error as retrieved, because no task may have awaited this future.
                if end.done():
                    end.exception()

    # One stage

    async def _carry_out(self, stage: Stage, active: ActiveJob, memory: RunMemory, ends: Ends) -> None:
        """Runs one stage and records its end; raises only if the end cannot be stored."""
        row, status = ROWS[stage], active.job.stage(stage)
        try:
            result = await self._attempts(stage, active, memory, ends)
        except NeedFailedError as error:
            await self._record_end(active, stage, StageState.SKIPPED, error.failure)
            ends[stage].set_exception(error)
        except MismoError as error:
            failure = JobFailure.of(error)
            await self._record_end(active, stage, StageState.FAILED, failure)
            ends[stage].set_exception(NeedFailedError(failure))
        else:
            if not row.durable:
                # Its result is in memory and in the work files, so the next stages need not wait until it is stored.
                ends[stage].set_result(None)
            if status.state is not StageState.SUCCEEDED:
                await self._record_success(active, stage, result)
            elif result.change(active.job) != active.job:
                # It ran again, and found a source that has changed since it succeeded.
                await self._repository.record(active, result.change, EventKind.UPDATED, must_write=True)
            if row.durable:
                ends[stage].set_result(None)

    async def _attempts(self, stage: Stage, active: ActiveJob, memory: RunMemory, ends: Ends) -> StageResult:
        """The result of the last attempt; raises NeedFailedError or its MismoError."""
        work, row = self._works[stage], ROWS[stage]
        needs = {need: ends[need] for need in row.needs_among(ends)}
        after = {each: ends[each] for each in row.after if each in ends}
        files, begun = self._runs.files(active.job.run_id), active.job.stage(stage)
        going_on = begun.state is not StageState.PENDING
        failed = max(0, begun.attempts - 1) if going_on else begun.attempts
        while True:
            context = StageContext(
                stage, active, files, self._repository, memory, needs, after, going_on=going_on
            )
            try:
                return await work.run(context)
            except (NeedFailedError, asyncio.CancelledError):
                raise
            except Exception as error:
                known = _known(error, active.job.job_id, stage)
            failed, going_on = failed + 1, False
            delay = retry_delay(work.retries, known, failed)
            about = {"job_id": active.job.job_id, "stage": stage.name, "reason": known.message}
            if delay is None:
                log.warning("stage failed", attempts=failed, **about)
                raise known
            log.warning("stage failed; it is tried again", in_seconds=delay, **about)
            await self._sleep(delay)

    async def _record_success(self, active: ActiveJob, stage: Stage, result: StageResult) -> None:
        now = self._repository.now()
        before = active.job.stage(stage)
        status = replace(
            before,
            state=StageState.SUCCEEDED,
            started_at=before.started_at if before.started_at is not None else now,
            ended_at=now,
            error=None,
            result=result.data,
            version=result.version,
        )

        def succeeded(job: Job) -> Job:
            artifacts = (*job.artifacts, *result.artifacts)
            result_bytes = job.result_bytes + result.bytes
            changed = replace(result.change(job), artifacts=artifacts, result_bytes=result_bytes)
            return changed.with_stage(status)

        async def link() -> None:
            if result.bytes:
                await self._runs.publish(active.job.job_id, active.job.run_id)

        async def record() -> None:
            await self._repository.record(
                active, succeeded, EventKind.STAGE, status, must_write=True, before_publishing=link
            )

        try:
            await record()
        except DiskFullError:
            # Work files that are removed in any case may be the space that is missing; the source is kept until the
            # success is stored.
            await self._remove_needless(replace(_needed(succeeded(active.job)), source=True), active)
            await record()
        needed = _needed(active.job)
        # Work files that no stage needs any more are removed at the end of the job, which follows.
        if ROWS[stage].durable and needed != Needed():
            await self._remove_needless(needed, active)

    async def _record_end(
        self, active: ActiveJob, stage: Stage, state: StageState, failure: JobFailure | None
    ) -> None:
        """Records the end of a stage without a result."""
        status = replace(active.job.stage(stage), state=state, ended_at=self._repository.now(), error=failure)
        await self._repository.record(
            active, lambda job: job.with_stage(status), EventKind.STAGE, status, must_write=True
        )

    async def _remove_needless(self, needed: Needed, active: ActiveJob) -> None:
        files = self._runs.files(active.job.run_id)
        await run_to_completion(self._bulk(remove_needless, files, needed))

    # The end of a job

    async def _conclude(self, active: ActiveJob, failure: JobFailure | None) -> None:
        """Records the end of a job; stages that have not ended fail with `failure`."""
        # Without a failure only stages were stopped that no other stage needed.
        left = StageState.CANCELLED if failure is None else StageState.FAILED
        while True:
            try:
                await run_to_completion(self._end(active, None, left, failure))
                return
            except MismoError as trouble:
                log.error(
                    "the end of a job cannot be stored; it is tried again",
                    job_id=active.job.job_id,
                    reason=trouble.message,
                )
                await asyncio.sleep(STORE_RETRY_SECONDS)

    async def end(
        self, active: ActiveJob, state: JobState, stage_state: StageState, failure: JobFailure | None
    ) -> None:
        """Ends a job without a result and removes its files; stages that have not ended get `stage_state`.

        A job that has ended is not changed. Raises DiskFullError or StoreError if the end cannot be stored.
        """
        await self._end(active, state, stage_state, failure)

    async def _end(
        self,
        active: ActiveJob,
        state: JobState | None,
        stage_state: StageState,
        failure: JobFailure | None,
    ) -> None:
        """As `end`; if `state` is None, the results of the requested stages determine it."""
        if active.job.state.ended:
            return
        try:
            await self._record_job_end(active, state, stage_state, failure)
        except MismoError:
            # Files that are removed in any case may be the space that is missing. Those of a stage that is stored as
            # succeeded stay: the stage is not run again if the end cannot be stored now either.
            if active.job.has_stem_files:
                await self._remove_needless(Needed(source=True), active)
            else:
                await self._bulk(remove_results, self._runs.files(active.job.run_id))
            await self._record_job_end(active, state, stage_state, failure)
        job = active.job
        if job.state is JobState.SUCCEEDED:
            if not job.has_stem_files:
                # Stems that failed half-way, in a job that succeeded with the result of another stage.
                await self._bulk(remove_results, self._runs.files(job.run_id))
            await self._remove_needless(Needed(), active)
        else:
            await self._runs.withdraw(job.job_id, job.run_id)
            self._runs.discard(job.run_id)

    async def _record_job_end(
        self,
        active: ActiveJob,
        state: JobState | None,
        stage_state: StageState,
        failure: JobFailure | None,
    ) -> None:
        now = self._repository.now()
        stages = tuple(
            s if s.state.ended else replace(s, state=stage_state, ended_at=now, error=failure)
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
            active, lambda job: self._ended(job, stages, state, now), EventKind.TERMINAL, must_write=True
        )
        if active.job.error is not None:
            log.warning(
                "job failed",
                job_id=active.job.job_id,
                reason=active.job.error.reason,
                message=active.job.error.message,
            )

    def _ended(self, job: Job, stages: tuple[StageStatus, ...], state: JobState | None, now: float) -> Job:
        ended = replace(
            job,
            stages=stages,
            ended_at=now,
            expires_at=now + (job.result_ttl or self._default_ttl),
        )
        if state is None and _has_result(ended):
            return replace(ended, state=JobState.SUCCEEDED)
        return replace(
            ended,
            state=state or JobState.FAILED,
            error=None if state is JobState.CANCELLED else _first_error(ended),
            artifacts=(),
            stem_sha256=(),
            result_bytes=0,
        )


def _adopt_older_record(active: ActiveJob) -> None:
    """Completes the stages of a job that an earlier version stored, which had no STAGE_WAVEFORMS."""
    job = active.job
    if job.has_result_of(Stage.STEMS) and not job.has(Stage.WAVEFORMS):
        # That version stored the artifacts only with the end of the job, so the stems must be recorded again.
        job = job.with_stage(replace(job.stage(Stage.STEMS), state=StageState.RUNNING, ended_at=None))
    known = {status.stage: status for status in job.stages}
    stages = with_needs((*job.options.stages, *known))
    active.job = replace(job, stages=tuple(known.get(s) or StageStatus(s) for s in stages))


def _known_ends(job: Job, missing: frozenset[Stage]) -> Ends:
    """The futures of all stages; those of stages that are not run again are resolved or failed."""
    ends: Ends = {}
    for status in job.stages:
        end = ends[status.stage] = asyncio.get_running_loop().create_future()
        if status.stage not in missing:
            if status.state is StageState.SUCCEEDED:
                end.set_result(None)
            else:
                end.set_exception(NeedFailedError(status.error))
                end.exception()
    return ends


def _needless(job: Job, tasks: dict[Stage, asyncio.Task[None]]) -> list[Stage]:
    """The running stages whose results no other stage needs any more."""
    has = {status.stage for status in job.stages}
    needed = {n for stage, task in tasks.items() if not task.done() for n in ROWS[stage].needs_among(has)}
    return [
        stage
        for stage, task in tasks.items()
        if not task.done() and not ROWS[stage].durable and stage not in needed
    ]


def _needed(job: Job) -> Needed:
    """The files that the missing stages of a job need, also after a restart."""
    missing = stages_to_run(job)
    decodes = Stage.DECODE in missing
    return Needed(decodes, decodes, not missing.isdisjoint(STEM_STAGES), Stage.WAVEFORMS in missing)


def _has_result(job: Job) -> bool:
    # A decoded track alone is no result, though a job may ask for it beside others.
    return any(job.has_result_of(stage) for stage in job.options.stages if stage is not Stage.DECODE)


def _first_error(job: Job) -> JobFailure | None:
    errors = [job.stage(stage).error for stage in job.options.stages if job.has(stage)]
    return next((error for error in errors if error is not None), None)


def _known(error: Exception, job_id: str, stage: Stage | None = None) -> MismoError:
    """The error of a stage as a client may see it; details of unexpected errors go to the log."""
    if isinstance(error, MismoError):
        return error
    about = {"job_id": job_id} if stage is None else {"job_id": job_id, "stage": stage.name}
    if isinstance(error, OSError):
        log.error("job could not use its files", exc_info=error, **about)
        return disk_error(error)
    log.error("job failed unexpectedly", exc_info=error, **about)
    return InternalError("the server failed on this job; its log says why")


def _failure_of(error: Exception, job_id: str) -> JobFailure:
    return JobFailure.of(_known(error, job_id))

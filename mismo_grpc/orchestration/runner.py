"""Runs one job from the queue to its end, or until it waits for a retry, by walking the graph of its stages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from mismo_grpc.completion import run_to_completion, wait_ended
from mismo_grpc.errors import DiskFullError, InternalError, MismoError, disk_error
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.events import EventKind
from mismo_grpc.jobs.job import Job, JobFailure, JobState, Stage, StageState, StageStatus
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.jobs.stage_data import STEM_STAGES
from mismo_grpc.orchestration.job_end import JobEnd, JobEnds
from mismo_grpc.results.runs import Runs
from mismo_grpc.results.work_files import Needed, remove_needless
from mismo_grpc.stages import retries
from mismo_grpc.stages.context import NeedFailedError, RunMemory, StageContext
from mismo_grpc.stages.stage import StageResult, StageWork
from mismo_grpc.stages.table import ROWS, stages_to_run, with_needs

log = structlog.get_logger(__name__)

Ends = dict[Stage, asyncio.Future[None]]
"""A future for each stage: it is resolved once the stages that need it may run, or fails with NeedFailedError."""


@dataclass(eq=False)
class _Walk:
    """One walk over the stages of a job."""

    active: ActiveJob
    ends: Ends
    memory: RunMemory = field(default_factory=RunMemory)
    waiting: set[Stage] = field(default_factory=set[Stage])
    """The stages that wait for their next attempt."""
    contexts: dict[Stage, StageContext] = field(default_factory=dict[Stage, StageContext])
    """Those of the latest attempts."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a stage has ended or begins to wait."""

    def only_waits(self, left: Sequence[Stage]) -> bool:
        """Whether no stage of `left` can do anything before another attempt is due."""
        # A copy that is stopped half-way would be sent again from its start.
        at_work = any(context.has_results for context in self.contexts.values())
        return not at_work and retries.only_waits(left, self.waiting)


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
        stage_retries: retries.StageRetries | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`works` implement the offered stages; `sleep` waits between attempts while other stages run."""
        self._repository = repository
        self._runs = runs
        self._works = {work.stage: work for work in works}
        self._job_ends = JobEnds(repository, runs, default_ttl=default_ttl, bulk=bulk)
        self._bulk = bulk
        self._retries = stage_retries or retries.StageRetries()
        self._sleep = sleep

    async def run(self, active: ActiveJob) -> None:
        """Runs a job until it has succeeded or failed, or no stage can run before another attempt is due.

        The job can be run again then (`retries.next_attempt` says when), and also if the task is cancelled.
        """
        failure: JobFailure | None = None
        try:
            if not await self._walk(active):
                return
        except Exception as error:
            failure = _failure_of(error, active.job.job_id)
        await self._job_ends.conclude(active, failure)

    async def _walk(self, active: ActiveJob) -> bool:
        """Runs the missing stages; False if the rest waits for another attempt.

        Raises if the end of a stage cannot be stored.
        """
        _adopt_older_record(active)
        # Tells readers that wait for the stems that the job has left the queue.
        active.stems_changed.notify()
        job = active.job
        if job.result_bytes:
            # A power cut may have lost the link. After a cancel it must not be made any more.
            await run_to_completion(self._runs.publish(job.job_id, job.run_id))
        missing = stages_to_run(job)
        walk = _Walk(active, _known_ends(job, missing))
        tasks = {
            stage: asyncio.create_task(self._carry_out(stage, walk))
            for stage in with_needs(missing)
            if stage in missing
        }
        for task in tasks.values():
            task.add_done_callback(lambda _: walk.news.set())
        try:
            while left := [stage for stage, task in tasks.items() if not task.done()]:
                if walk.only_waits(left):
                    return False
                await walk.news.wait()
                walk.news.clear()
                for task in tasks.values():
                    if task.done() and not task.cancelled():
                        task.result()
                for stage in _needless(active.job, tasks):
                    tasks[stage].cancel()
                    await run_to_completion(wait_ended([tasks[stage]]))
            for task in tasks.values():
                if not task.cancelled():
                    task.result()
            return True
        finally:
            for task in tasks.values():
                task.cancel()
            if tasks:
                await run_to_completion(wait_ended(list(tasks.values())))
            for end in walk.ends.values():
                # Marks the error as retrieved, because no task may have awaited this future.
                if end.done():
                    end.exception()

    # One stage

    async def _carry_out(self, stage: Stage, walk: _Walk) -> None:
        """Runs one stage and records its end; raises only if the end cannot be stored."""
        row, active, ends = ROWS[stage], walk.active, walk.ends
        try:
            result = await self._attempts(stage, walk)
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
            if not active.job.has_result_of(stage):
                await self._record_success(active, stage, result)
            elif result.change(active.job) != active.job:
                # It ran again, and found a source that has changed since it succeeded.
                await self._repository.record(active, result.change, EventKind.UPDATED, must_write=True)
            if row.durable:
                ends[stage].set_result(None)

    async def _attempts(self, stage: Stage, walk: _Walk) -> StageResult:
        """The result of the last attempt; raises NeedFailedError or its MismoError."""
        work, row, active, ends = self._works[stage], ROWS[stage], walk.active, walk.ends
        needs = {need: ends[need] for need in row.needs_among(ends)}
        after = {each: ends[each] for each in row.after if each in ends}
        files, begun = self._runs.files(active.job.run_id), active.job.stage(stage)
        going_on = begun.state is not StageState.PENDING
        failed = max(0, begun.attempts - 1) if going_on else begun.attempts
        if not going_on and begun.next_attempt_at is not None:
            await self._wait(stage, walk, begun.next_attempt_at)
        while True:
            context = walk.contexts[stage] = StageContext(
                stage,
                active,
                files,
                self._repository,
                walk.memory,
                needs,
                after,
                going_on=going_on,
                on_idle=walk.news.set,
            )
            try:
                return await work.run(context)
            except (NeedFailedError, asyncio.CancelledError):
                raise
            except Exception as error:
                known = _known(error, active.job.job_id, stage)
            failed, going_on = failed + 1, False
            delay = self._retries.delay(work.retries, known, failed)
            about = {"job_id": active.job.job_id, "stage": stage.name, "reason": known.message}
            if delay is None:
                log.warning("stage failed", attempts=failed, **about)
                raise known
            log.warning("stage failed; it is tried again", in_seconds=round(delay, 1), **about)
            next_attempt_at = self._repository.now() + delay
            await self._record_wait(active, stage, known, failed, next_attempt_at)
            await self._wait(stage, walk, next_attempt_at)

    async def _record_wait(
        self, active: ActiveJob, stage: Stage, known: MismoError, failed: int, next_attempt_at: float
    ) -> None:
        """Records that a stage waits for another attempt; raises the stage's error if that cannot be stored."""
        before = active.job.stage(stage)
        status = replace(
            before,
            state=StageState.PENDING,
            ended_at=None,
            error=JobFailure.of(known),
            # An attempt may fail before the stage's own work begins.
            attempts=max(before.attempts, failed),
            next_attempt_at=next_attempt_at,
        )
        try:
            await self._repository.record(
                active, lambda job: job.with_stage(status), EventKind.STAGE, status, must_write=True
            )
        except MismoError as trouble:
            log.error("a retry cannot be stored", job_id=active.job.job_id, reason=trouble.message)
            raise known from trouble

    async def _wait(self, stage: Stage, walk: _Walk, until: float) -> None:
        """Waits until the time of the next attempt (seconds since the epoch); does nothing if it has come."""
        seconds = retries.seconds_left(until, self._repository.now())
        if not seconds:
            # A stage in `waiting` may end the walk, and the queue would begin the next one at once, for ever.
            return
        walk.waiting.add(stage)
        walk.news.set()
        try:
            await self._sleep(seconds)
        finally:
            walk.waiting.discard(stage)

    async def _record_success(self, active: ActiveJob, stage: Stage, result: StageResult) -> None:
        now = self._repository.now()
        before = active.job.stage(stage)
        status = replace(
            before,
            state=StageState.SUCCEEDED,
            started_at=before.started_at if before.started_at is not None else now,
            ended_at=now,
            error=None,
            next_attempt_at=None,
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
            # Work files that are removed in any case may be the space that is missing.
            await self._remove_needless(_needed(succeeded(active.job)), active)
            await record()
        # After the last stage the end of the job follows, which removes them all.
        if ROWS[stage].durable and stages_to_run(active.job):
            await self._remove_needless(_needed(active.job), active)

    async def _record_end(
        self, active: ActiveJob, stage: Stage, state: StageState, failure: JobFailure | None
    ) -> None:
        """Records the end of a stage without a result."""
        status = replace(
            active.job.stage(stage),
            state=state,
            ended_at=self._repository.now(),
            error=failure,
            next_attempt_at=None,
        )
        await self._repository.record(
            active, lambda job: job.with_stage(status), EventKind.STAGE, status, must_write=True
        )

    async def _remove_needless(self, needed: Needed, active: ActiveJob) -> None:
        files = self._runs.files(active.job.run_id)
        await run_to_completion(self._bulk(remove_needless, files, needed))

    async def end(
        self, active: ActiveJob, state: JobState, stage_state: StageState, failure: JobFailure | None
    ) -> None:
        """Ends a job that does not run, without a result, and removes its files; see `JobEnds.end`.

        Stages that have not ended get `stage_state`.
        """
        await self._job_ends.end(active, JobEnd(state, stage_state, failure))


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
    """The files that the missing stages of a job need, also after a restart.

    The source is among them until the job ends: only then is it clear whether a replay needs it.
    """
    missing = stages_to_run(job)
    stems, waveforms = not missing.isdisjoint(STEM_STAGES), Stage.WAVEFORMS in missing
    return Needed(True, Stage.DECODE in missing, stems, waveforms)


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

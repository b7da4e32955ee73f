"""Opens readers of a job's stems; they give `streaming` only the facts of a job that it needs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

from mismo_grpc.errors import (
    ArtifactNotFoundError,
    JobFailedError,
    JobNotReadyError,
    MismoError,
    ModelUnavailableError,
    Wire,
    check_run,
)
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Job, JobState, StageState
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.orchestration.waiting import SegmentWait
from mismo_grpc.results.copies import Copies
from mismo_grpc.results.runs import Runs
from mismo_grpc.separation.catalog import ModelDescription
from mismo_grpc.separation.scheduler import Scheduler
from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.storage.run_files import RunFiles
from mismo_grpc.streaming.file_cache import StemFileCache, StemFiles, StemLease
from mismo_grpc.streaming.messages import NotReadyReason
from mismo_grpc.streaming.reader import RunningJob, SourceRun, StemReader


class StemReaders:
    """Opens the stems of jobs for reading; on the event loop only."""

    def __init__(
        self,
        repository: JobRepository,
        runs: Runs,
        stem_files: StemFileCache,
        scheduler: Scheduler,
        copies: Copies,
        *,
        segment_seconds: Callable[[str], float],
        describe: Callable[[str], ModelDescription],
        in_thread: InThread,
    ) -> None:
        """`segment_seconds` gives the time of a segment of a model (0: unknown); `describe` blocks."""
        self._repository = repository
        self._runs = runs
        self._stem_files = stem_files
        self._scheduler = scheduler
        self._copies = copies
        self._segment_seconds = segment_seconds
        self._describe = describe
        self._in_thread = in_thread

    @asynccontextmanager
    async def open(
        self, job: Job, expected_run_id: str, on_waiting: Callable[[NotReadyReason], None]
    ) -> AsyncGenerator[StemReader]:
        """The stems of a job; its run is held meanwhile.

        Waits without a limit until the track is decoded, and calls `on_waiting` with the reason. Raises
        RunReplacedError, the error that ended the job, or as `acquire_stems` does.
        """
        check_run(job.job_id, expected_run_id, job.run_id)
        active = self._repository.active.get(job.job_id)
        if active is not None and active.job.run_id != job.run_id:
            active = None
        with self._runs.held(job.run_id):
            if active is not None:
                await _decoded(active, on_waiting)
                job = active.job
            if not has_stems(job) and (active is None or active.stems is None):
                raise ended_without(job)
            lease = await acquire_stems(self._stem_files, self._runs.files(job.run_id), job, self._copies)
            try:
                yield await self._reader(job, active, lease.stems)
            finally:
                lease.release()

    async def _reader(self, job: Job, active: ActiveJob | None, stems: StemFiles) -> StemReader:
        run = await self._run_of(job, active, stems.layout)
        if active is None:
            return StemReader.of_finished(
                run, stems, job.stem_sha256, lambda: ended_without(job), self._in_thread
            )
        return StemReader(
            run,
            stems,
            active.stems_changed,
            lambda: stems_are_over(active.job),
            lambda: ended_without(active.job),
            lambda: active.job.stem_sha256,
            self._running(active, stems),
            self._in_thread,
        )

    async def _run_of(self, job: Job, active: ActiveJob | None, layout: StemLayout) -> SourceRun:
        frames, rate = 0, 0
        separation = active.separation if active is not None else None
        if separation is not None:
            frames = max(grid.segment_frames for grid in separation.plan.grids)
            rate = separation.spec.mix.sample_rate
        else:
            try:
                description = await self._in_thread(self._describe, job.model)
                frames, rate = description.segment_frames, description.sample_rate
            except ModelUnavailableError:
                pass  # The model was removed meanwhile, so the length of its segments is unknown.
        return SourceRun(
            job.job_id, job.run_id, job.model, frames * layout.sample_rate // rate if rate else 0
        )

    def _running(self, active: ActiveJob, stems: StemFiles) -> RunningJob:
        """The functions of a job whose stems grow; they report its players to the scheduler."""
        wait = SegmentWait(active, self._scheduler, self._segment_seconds, self._model_seconds)
        wait.announce()

        def follow(player: object, frame: int) -> None:
            if active.separation is not None:
                self._scheduler.follow(
                    active.separation.scheduled, player, active.separation.mix_frame(frame)
                )

        def unfollow(player: object) -> None:
            if active.separation is not None:
                self._scheduler.unfollow(active.separation.scheduled, player)

        def grows() -> bool:
            return active.stems is None or active.stems is stems

        return RunningJob(follow, unfollow, grows, wait.reason, wait.expected_seconds)

    def _model_seconds(self, scheduled: object) -> float:
        """The time of a segment of a scheduled job, in seconds; 0 if unknown."""
        for active in self._repository.active.values():
            if active.separation is not None and active.separation.scheduled is scheduled:
                return self._segment_seconds(active.job.model)
        return 0.0


async def _decoded(active: ActiveJob, on_waiting: Callable[[NotReadyReason], None]) -> None:
    """Waits until the stems of a job grow, are finished, or cannot come any more."""

    def reason() -> NotReadyReason | None:
        if active.stems is not None or stems_are_over(active.job):
            return None
        # After a restart a job is stored as running although it waits in the queue.
        return NotReadyReason.QUEUED if active.task is None else NotReadyReason.DECODING

    while (waiting := reason()) is not None:
        on_waiting(waiting)
        await active.stems_changed.wait(lambda before=waiting: reason() is not before, None)


async def acquire_stems(cache: StemFileCache, files: RunFiles, job: Job, copies: Copies) -> StemLease:
    """The open stem files of a job's run, or their copies in the container; `release` the lease when done.

    Raises ArtifactNotFoundError if the files of a finished job are gone, and there is no copy or the copy is gone or
    replaced; BlobError if the container cannot be read.
    """
    elsewhere = partial(copies.open_stems, job) if copies.has_stems(job) else None
    try:
        # The files of a job that was just decoded are open before its layout is stored.
        return await cache.acquire(files, job.layout, elsewhere)
    except FileNotFoundError as error:
        raise ArtifactNotFoundError(
            f"the stems of job {job.job_id} are gone; submit the track again"
        ) from error


def has_stems(job: Job) -> bool:
    """Whether a job has finished stems and was not cancelled or failed afterwards."""
    return job.has_stem_files and job.state not in (JobState.FAILED, JobState.CANCELLED)


def stems_are_over(job: Job) -> bool:
    """Whether no more frames will come: the stems are finished, have failed, or were not requested."""
    status = job.stem_status
    if job.state.ended or status is None:
        return True
    # The end of the job follows a cancelled stage, and has the reason.
    return status.state.ended and status.state is not StageState.CANCELLED


def ended_without(job: Job) -> MismoError:
    """The error for a reader that waits for stems or frames that the job will not have."""
    status = job.stem_status
    if job.state is not JobState.CANCELLED and status is None:
        return JobNotReadyError(
            f"job {job.job_id} makes no stems; submit the track with STAGE_STEMS among options.stages"
        )
    failure = status.error if status is not None else None
    failure = failure or (job.error if job.state is JobState.FAILED else None)
    if failure is not None:
        form = Wire(failure.reason, failure.grpc_code, 409, failure.retryable)
        return JobFailedError(failure.message, form, metadata=failure.metadata)
    if job.state is JobState.CANCELLED:
        return JobNotReadyError(f"job {job.job_id} was cancelled; submit it again to get its stems")
    return JobNotReadyError(f"job {job.job_id} has no such frames")

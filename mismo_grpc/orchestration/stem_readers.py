"""Readers of a job's stems: what `streaming` needs to know of a job, and nothing more."""

from __future__ import annotations

from mismo_grpc.errors import ArtifactNotFoundError, JobFailedError, JobNotReadyError, MismoError, Wire
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Job, JobState, Stage
from mismo_grpc.jobs.repository import ActiveJob
from mismo_grpc.separation.scheduler import Scheduler
from mismo_grpc.separation.stems import StemSet
from mismo_grpc.storage.run_files import RunFiles
from mismo_grpc.streaming.file_cache import StemFileCache, StemLease
from mismo_grpc.streaming.reader import StemReader


async def acquire_stems(cache: StemFileCache, files: RunFiles, job: Job) -> StemLease:
    """The open stem files of a job's run; `release` the lease when done.

    Raises ArtifactNotFoundError if the files of a finished job are gone.
    """
    try:
        # A job that was just decoded has its files open before its layout is stored.
        return await cache.acquire(files, job.layout)
    except FileNotFoundError as error:
        raise ArtifactNotFoundError(
            f"the stems of job {job.job_id} are gone; submit the track again"
        ) from error


def reader_of_ended(job: Job, stems: StemSet, in_thread: InThread) -> StemReader:
    """Reads the stems of a job that has ended; in threads of `in_thread`."""
    return StemReader.of_finished(stems, job.stem_sha256, lambda: ended_without(job), in_thread)


def reader_of_active(
    active: ActiveJob, stems: StemSet, scheduler: Scheduler, in_thread: InThread
) -> StemReader:
    """Reads the stems of a job while they grow, and tells the scheduler where the player is."""

    def follow(player: object, frame: int) -> None:
        if active.separation is not None:
            scheduler.follow(active.separation.scheduled, player, active.separation.mix_frame(frame))

    def unfollow(player: object) -> None:
        if active.separation is not None:
            scheduler.unfollow(active.separation.scheduled, player)

    def grows() -> bool:
        return active.separation is None or active.separation.stems is stems

    return StemReader(
        stems,
        active.stems_changed,
        lambda: active.job.state.ended or active.job.has_ended(Stage.STEMS),
        lambda: ended_without(active.job),
        follow,
        unfollow,
        lambda: active.job.stem_sha256,
        grows,
        in_thread,
    )


def has_stems(job: Job) -> bool:
    """Whether a job has finished stems: not if it was cancelled since, or failed otherwise."""
    return job.has_result_of(Stage.STEMS) and job.state not in (JobState.FAILED, JobState.CANCELLED)


def stems_can_be_opened(active: ActiveJob) -> bool:
    """Whether there is no more to wait for before the stems of a job are opened: they grow, are done, or never come."""
    job = active.job
    over = job.state.ended or job.has_ended(Stage.STEMS) or not job.has(Stage.STEMS)
    return active.separation is not None or over


def ended_without(job: Job) -> MismoError:
    """Why a job does not have the stems, or the frames of them, that a reader waits for."""
    if job.state is not JobState.CANCELLED and not job.has(Stage.STEMS):
        return JobNotReadyError(
            f"job {job.job_id} makes no stems; submit the track with STAGE_STEMS among options.stages"
        )
    failure = job.stage(Stage.STEMS).error if job.has(Stage.STEMS) else None
    failure = failure or (job.error if job.state is JobState.FAILED else None)
    if failure is not None:
        form = Wire(failure.reason, failure.grpc_code, 409, failure.retryable)
        return JobFailedError(failure.message, form, metadata=failure.metadata)
    if job.state is JobState.CANCELLED:
        return JobNotReadyError(f"job {job.job_id} was cancelled; submit it again to get its stems")
    return JobNotReadyError(f"job {job.job_id} has no such frames")

"""The progress of a job over all of its stages."""

from __future__ import annotations

from mismo_grpc.jobs.job import Job, JobState, Progress, StageState
from mismo_grpc.jobs.repository import ActiveJob
from mismo_grpc.jobs.stage_data import STEM_STAGES
from mismo_grpc.stages.table import ROWS, fraction_done


def progress_of(active: ActiveJob, position: int, segment_seconds: float) -> Progress:
    """The progress of a job that has not ended; `segment_seconds` is the usual time of a segment (0: unknown).

    It changes with segments and stages, not with time, so watchers get a message only when something happened.
    """
    job = active.job
    total, done = job.segments_total, job.segments_done
    active.fraction = max(active.fraction, fraction_done(job, done / total if total else 0.0))
    if total == 0:
        return Progress(active.fraction, queue_position=position)
    eta: float | None = None
    fresh = done - active.segments_before
    if active.separating_since is not None and fresh > 0:
        eta = (active.progressed_at - active.separating_since) / fresh * (total - done)
    elif segment_seconds > 0:
        eta = segment_seconds * (total - done)
    return Progress(active.fraction, eta, position, done, total)


def progress_of_ended(job: Job) -> Progress:
    """The final progress of a job that has ended."""
    return Progress(share_with_result(job), None, 0, job.segments_done, job.segments_total)


def share_with_result(job: Job) -> float:
    """The share of a job's work that has a result, 0 to 1: its finished segments, and the stages that have succeeded.

    Unlike `progress_of` it does not count stages that failed, so it does not fall when the job fails.
    """
    total, done = job.segments_total, job.segments_done
    if job.state is JobState.SUCCEEDED:
        return 1.0
    reached = whole = 0.0
    for status in job.stages:
        share = ROWS[status.stage].share
        whole += share
        if status.state is StageState.SUCCEEDED:
            reached += share
        elif status.stage in STEM_STAGES and total:
            reached += share * done / total
    return reached / whole if whole else 0.0

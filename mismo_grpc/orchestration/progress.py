"""How far a job is, over all of its stages."""

from __future__ import annotations

from mismo_grpc.jobs.job import Job, JobState, Progress, Stage, StageState
from mismo_grpc.jobs.repository import ActiveJob
from mismo_grpc.stages.table import ROWS, fraction_done


def progress_of(active: ActiveJob, position: int, segment_seconds: float) -> Progress:
    """How far a job is that has not ended; `segment_seconds` is a segment's usual time (0: unknown).

    It changes with a segment or a stage, not with time: who watches hears of something only when something happened.
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
    """How far a job came."""
    total, done = job.segments_total, job.segments_done
    if job.state is JobState.SUCCEEDED:
        return Progress(1.0, None, 0, done, total)
    reached = whole = 0.0
    for status in job.stages:
        share = ROWS[status.stage].share
        whole += share
        if status.state is StageState.SUCCEEDED:
            reached += share
        elif status.stage is Stage.STEMS and total:
            reached += share * done / total
    return Progress(reached / whole if whole else 0.0, None, 0, done, total)

"""Jobs as the gateway's clients see them."""

from __future__ import annotations

from collections.abc import Sequence

from mismo_grpc.delivery.body import timestamp
from mismo_grpc.jobs.callbacks import TOLD_STAGES, CallbackRow, stage_name
from mismo_grpc.jobs.event_log import JobView
from mismo_grpc.jobs.job import Job, JobState, StageState

STATUSES = {
    JobState.QUEUED: "queued",
    JobState.RUNNING: "processing",
    JobState.SUCCEEDED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}


def moment(seconds: float | None) -> str | None:
    """A time in seconds since the epoch as callbacks write it, None if there is none."""
    return None if seconds is None else timestamp(seconds)


def accepted(job: Job) -> dict[str, object]:
    """The answer to a submit.

    It says "queued" also of a job whose result was there already: clients have known nothing else, and ask later.
    """
    return {**_identity(job), "status": STATUSES[JobState.QUEUED]}


def _identity(job: Job) -> dict[str, object]:
    return {
        "job_id": job.job_id,
        "track_hash": job.job_id,
        "created_at": moment(job.created_at),
        "callback_url": job.delivery.callback_url or None,
        "stem_delivery_mode": job.delivery.mode.value,
    }


def job_view(view: JobView, callbacks: Sequence[CallbackRow] = ()) -> dict[str, object]:
    """One job with its progress (0 to 1) and what became of its callbacks."""
    job, progress = view.job, view.progress
    status = STATUSES[job.state]
    stages = [s for s in job.stages if s.stage in TOLD_STAGES and s.state is StageState.SUCCEEDED]
    error = job.error
    return {
        **_identity(job),
        "run_id": job.run_id,
        "status": status,
        "state": status,
        "priority": job.priority.name.lower(),
        "started_at": moment(job.started_at),
        "completed_at": moment(job.ended_at),
        "expires_at": moment(job.expires_at),
        "stages_completed": [stage_name(s.stage) for s in stages],
        "progress": round(progress.fraction, 4),
        "eta_seconds": None if progress.eta is None else round(progress.eta, 1),
        "queue_position": progress.queue_position if job.state is JobState.QUEUED else None,
        "model": job.model,
        "fallback_from": job.fallback_from or None,
        "warnings": list(job.warnings),
        "error": None
        if error is None
        else {"code": error.reason, "message": error.message, "retryable": error.retryable},
        "callbacks": [
            {
                "callback_id": row.callback_id,
                "stage": row.stage,
                "status": row.state.value,
                "attempts": row.attempts,
                "last_error": row.last_error or None,
            }
            for row in callbacks
        ],
    }

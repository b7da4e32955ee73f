"""The JSON of jobs for the gateway's clients."""

from __future__ import annotations

from collections.abc import Sequence

from mismo_grpc.delivery.timestamps import timestamp
from mismo_grpc.jobs.callbacks import CallbackRow, stage_name, told_stages
from mismo_grpc.jobs.event_log import JobView
from mismo_grpc.jobs.job import Job, JobFailure, JobState, StageState, StageStatus
from mismo_grpc.results.documents import stage_document

STATUSES = {
    JobState.QUEUED: "queued",
    JobState.RUNNING: "processing",
    JobState.SUCCEEDED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}

STAGE_STATUSES = {
    StageState.PENDING: "pending",
    StageState.RUNNING: "processing",
    StageState.SUCCEEDED: "completed",
    StageState.FAILED: "failed",
    StageState.CANCELLED: "cancelled",
    StageState.SKIPPED: "skipped",
}


def moment(seconds: float | None) -> str | None:
    """A time in seconds since the epoch in the format of callbacks, None if there is none."""
    return None if seconds is None else timestamp(seconds)


def accepted(job: Job) -> dict[str, object]:
    """The response to a submit.

    Its status is "queued" even if the job reuses a result and has ended: existing clients expect it, and poll later.
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


def job_view(
    view: JobView, callbacks: Sequence[CallbackRow] = (), *, results: bool = True
) -> dict[str, object]:
    """One job with its progress (0 to 1), the results of its analyses and the states of its callbacks."""
    job, progress = view.job, view.progress
    status = STATUSES[job.state]
    completed = [stage for stage in told_stages(job) if job.has_result_of(stage)]
    found = {stage_name(s.stage): stage_document(s.result) for s in job.stages if results and s.result}
    return {
        **_identity(job),
        "run_id": job.run_id,
        "status": status,
        "state": status,
        "priority": job.priority.name.lower(),
        "started_at": moment(job.started_at),
        "completed_at": moment(job.ended_at),
        "expires_at": moment(job.expires_at),
        "stages_completed": [stage_name(stage) for stage in completed],
        "stages": [_stage(each) for each in job.stages],
        **({"results": found} if results else {}),
        "progress": round(progress.fraction, 4),
        "eta_seconds": None if progress.eta is None else round(progress.eta, 1),
        "queue_position": progress.queue_position if job.state is JobState.QUEUED else None,
        "model": job.model,
        "fallback_from": job.fallback_from or None,
        "warnings": list(job.warnings),
        "blobs": [
            {"name": b.name, "uri": b.uri, "url": b.url, "size_bytes": b.total_bytes, "sha256": b.sha256}
            for b in job.blobs
        ],
        "error": _error(job.error),
        "dead_letter": job.dead_letter,
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


def _stage(status: StageStatus) -> dict[str, object]:
    return {
        "stage": stage_name(status.stage),
        "status": STAGE_STATUSES[status.state],
        "started_at": moment(status.started_at),
        "completed_at": moment(status.ended_at),
        "attempts": status.attempts,
        "error": _error(status.error),
        "next_attempt_at": moment(status.next_attempt_at),
    }


def _error(failure: JobFailure | None) -> dict[str, object] | None:
    if failure is None:
        return None
    return {"code": failure.reason, "message": failure.message, "retryable": failure.retryable}

"""The JSON of jobs for clients of the Demucs web server."""

from __future__ import annotations

import math
from typing import Any

from mismo_grpc.gateway.api.formats import format_of
from mismo_grpc.gateway.api.requests import FILENAME_LABEL
from mismo_grpc.gateway.views import STATUSES, moment
from mismo_grpc.jobs.event_log import JobView
from mismo_grpc.jobs.job import Job, JobState, Stage, StageState
from mismo_grpc.jobs.stage_data import STEM_STAGES
from mismo_grpc.orchestration.service import Jobs

MOST_BEFORE_THE_END = 99.9
_ENDINGS = {
    JobState.SUCCEEDED: "The stems are ready",
    JobState.CANCELLED: "Cancelled; upload the track again to separate it",
}
_WORK = {
    Stage.DECODE: "Reading the track",
    Stage.STEMS: "Separating the stems",
    Stage.GENERATION: "Generating the stems",
    Stage.WAVEFORMS: "Drawing the waveforms",
    Stage.EXPORT: "Encoding the stems",
    Stage.BLOB_UPLOAD: "Copying the results to the blob container",
}


def percent(jobs: Jobs, job: Job) -> float:
    """The progress of a job, 0 to 100 in steps of 0.1: never falls within a run, and is 100 only once it succeeded."""
    if job.state is JobState.SUCCEEDED:
        return 100
    return min(MOST_BEFORE_THE_END, math.floor(jobs.share_with_result(job) * 1000) / 10)


def message_of(view: JobView) -> str:
    """What the job does now, in one line for people."""
    job, progress = view.job, view.progress
    if job.state is JobState.FAILED:
        return job.error.message if job.error is not None else "The job failed"
    if job.state in _ENDINGS:
        return _ENDINGS[job.state]
    if job.state is JobState.QUEUED:
        ahead = max(0, progress.queue_position - 1)
        return f"Waiting; jobs ahead: {ahead}" if ahead else "Waiting; next in the queue"
    retried = next((s for s in job.stages if s.state is StageState.PENDING and s.next_attempt_at), None)
    running = next((s.stage for s in job.stages if s.state is StageState.RUNNING), None)
    if running is not None and running in STEM_STAGES and progress.segments_total:
        return f"{_WORK[running]}: {progress.segments_done} of {progress.segments_total} segments done"
    if running is not None:
        return _WORK.get(running, "Analysing the track")
    if retried is not None:
        return "Trying again after a failure that may pass"
    return "Loading the model"


def links_of(job: Job) -> dict[str, object]:
    """The addresses of a job on this server; that of the download is null until there is one."""
    return {
        "status": f"/api/status/{job.job_id}",
        "download": f"/api/download/{job.job_id}" if job.state is JobState.SUCCEEDED else None,
        "cancel": f"/api/cancel/{job.job_id}",
        "delete": f"/api/jobs/{job.job_id}",
    }


def progress_view(jobs: Jobs, view: JobView) -> dict[str, Any]:
    """The part of a job that changes while it runs, as the event `progress` has it."""
    job, progress = view.job, view.progress
    return {
        "job_id": job.job_id,
        "status": STATUSES[job.state],
        "progress": percent(jobs, job),
        "message": message_of(view),
        "segments_done": progress.segments_done,
        "segments_total": progress.segments_total,
        "eta_seconds": None if progress.eta is None else round(progress.eta, 1),
        "queue_position": progress.queue_position if job.state is JobState.QUEUED else None,
        "download": links_of(job)["download"],
    }


def error_view(job: Job) -> dict[str, object] | None:
    """Why a job failed, None if it did not."""
    if job.error is None:
        return None
    return {"code": job.error.reason, "message": job.error.message, "retryable": job.error.retryable}


def status_view(jobs: Jobs, view: JobView) -> dict[str, object]:
    """One job as `GET /api/status/{job_id}` returns it."""
    job = view.job
    live = progress_view(jobs, view)
    del live["download"]
    names = job.layout.stem_names if job.layout is not None else job.options.stems.stem_names
    return {
        **live,
        "error": error_view(job),
        **track_view(job),
        "stems": list(names) or None,
        "duration_seconds": _seconds_of(job),
        "created_at": moment(job.created_at),
        "started_at": moment(job.started_at),
        "completed_at": moment(job.ended_at),
        "expires_at": moment(job.expires_at),
        "processing_seconds": _processing_seconds(job),
        "links": links_of(job),
    }


def track_view(job: Job) -> dict[str, object]:
    """What a job was asked for."""
    return {
        "filename": job.labels.get(FILENAME_LABEL),
        "model": job.model or None,
        "format": format_of(job),
    }


def _seconds_of(job: Job) -> float | None:
    layout = job.layout
    return None if layout is None else round(layout.total_frames / layout.sample_rate, 3)


def _processing_seconds(job: Job) -> float | None:
    if job.started_at is None or job.ended_at is None:
        return None
    return round(job.ended_at - job.started_at, 3)

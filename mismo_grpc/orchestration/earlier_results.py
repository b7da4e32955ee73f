"""The record of a job that reuses the result of an earlier one."""

from __future__ import annotations

from dataclasses import replace

from mismo_grpc.jobs.job import Artifact, Job, JobState, Stage, StageState, StageStatus
from mismo_grpc.results.documents import document_artifacts


def with_earlier_result(
    job: Job, cached: Job, artifacts: tuple[Artifact, ...], now: float, default_ttl: float
) -> Job:
    """A queued job with the stages of an earlier one; it has ended unless its results must still be copied or exported.

    `artifacts` are those of the files that it took over, `now` is in seconds since the epoch, `default_ttl` in seconds.
    """
    stages = tuple(_stage_taken_over(status, cached, now) for status in job.stages)
    waited = now - job.created_at if cached.layout is not None else None
    job = replace(job, stages=stages)
    if all(status.state.ended for status in stages):
        job = replace(
            job,
            state=JobState.SUCCEEDED,
            ended_at=now,
            expires_at=now + (job.result_ttl or default_ttl),
        )
    return replace(
        job,
        started_at=now,
        layout=cached.layout,
        segments_done=cached.segments_total,
        segments_total=cached.segments_total,
        time_to_first_audio=waited,
        time_to_playhead_audio=waited,
        artifacts=(*artifacts, *document_artifacts(job)),
        model_fingerprint=cached.model_fingerprint,
        result_bytes=cached.result_bytes,
        stem_sha256=cached.stem_sha256,
        cache_hit=True,
    )


def _stage_taken_over(status: StageStatus, cached: Job, now: float) -> StageStatus:
    """A stage with the result of the earlier job; the earlier job may lack a stage that was not requested.

    The copy in the blob container is of the earlier job, so each job makes its own. Exports among the files are
    found by their stage, and the others are made, as each job may ask for other formats.
    """
    if status.stage in (Stage.BLOB_UPLOAD, Stage.EXPORT):
        return status
    earlier = cached.stage(status.stage) if cached.has(status.stage) else status
    if not earlier.state.ended:
        # Jobs of earlier versions do not have this stage.
        return replace(status, state=StageState.SUCCEEDED, started_at=now, ended_at=now)
    return replace(earlier, started_at=now, ended_at=now, attempts=0)

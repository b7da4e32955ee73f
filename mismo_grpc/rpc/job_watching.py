"""Implements WatchJobs: one stream for all jobs that match a filter."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from google.protobuf.duration_pb2 import Duration

from mismo.analysis.v1 import job_service_pb2 as pb
from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.jobs.event_log import Heartbeat, JobView
from mismo_grpc.jobs.job import MAX_LABELS
from mismo_grpc.jobs.store.change_records import RemovedJob
from mismo_grpc.jobs.watching import CaughtUp, JobsEvent, RunProgress, WatchedJobs
from mismo_grpc.orchestration.service import Jobs
from mismo_grpc.rpc.job_messages import job_message, progress_message
from mismo_grpc.rpc.job_requests import states_of
from mismo_grpc.rpc.values import bounded_seconds, timestamp


async def watch_all(jobs: Jobs, request: pb.WatchJobsRequest) -> AsyncGenerator[pb.WatchJobsResponse, None]:
    """The messages of a WatchJobs call; raises InvalidFieldError, and as `watch_jobs` does."""

    def given(name: str, value: Duration) -> Duration | None:
        return value if request.HasField(name) else None

    heartbeat = bounded_seconds(
        given("heartbeat_interval", request.heartbeat_interval), 10.0, 1.0, 60.0, "heartbeat_interval"
    )
    min_progress_interval = bounded_seconds(
        given("min_progress_interval", request.min_progress_interval), 1.0, 0.1, 60.0, "min_progress_interval"
    )
    if len(request.labels) > MAX_LABELS:
        raise InvalidFieldError(f"labels: at most {MAX_LABELS}", field="labels")
    watched = WatchedJobs(frozenset(states_of(request.states)), dict(request.labels))
    events = jobs.watch_all(watched, request.cursor, heartbeat, min_progress_interval)
    async with aclosing(events):
        async for event in events:
            yield jobs_event_message(event)


def jobs_event_message(event: JobsEvent) -> pb.WatchJobsResponse:
    """One message of a watch of all jobs."""
    message = pb.WatchJobsResponse(cursor=event.cursor, time=timestamp(event.time))
    match event.body:
        case JobView():
            message.job.CopyFrom(job_message(event.body))
        case RemovedJob():
            message.deleted.CopyFrom(pb.JobDeleted(job_id=event.body.job_id, run_id=event.body.run_id))
        case RunProgress():
            message.progress.CopyFrom(
                pb.JobProgress(
                    job_id=event.body.job_id,
                    run_id=event.body.run_id,
                    progress=progress_message(event.body.progress),
                )
            )
        case CaughtUp():
            message.caught_up.SetInParent()
        case Heartbeat():
            message.heartbeat.SetInParent()
    return message

"""A job's events, each exactly once, over broken streams and restarted servers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import grpc

from mismo.analysis.v1 import job_service_pb2, job_service_pb2_grpc
from mismo_client.durations import duration
from mismo_client.errors import MismoRpcError
from mismo_client.retry import Attempts
from mismo_client.runs import StreamRun
from mismo_client.streaming import reopened

# Progress is a sample of the moment: it repeats its revision, and a resumed stream may send it again.
REPLAYED_EVENTS = frozenset({"stage", "segment_ready"})


@dataclass(frozen=True)
class WatchRequest:
    """What to watch; intervals in seconds, None for the server's default.

    `after_revision` and `server_epoch` go on from an event seen earlier. Heartbeats are left out
    unless `heartbeats`.
    """

    job_id: str
    expected_run_id: str = ""
    after_revision: int = 0
    server_epoch: str = ""
    heartbeat_interval: float | None = None
    min_progress_interval: float | None = None
    heartbeats: bool = False


async def watch_job(
    stub: job_service_pb2_grpc.JobServiceAsyncStub, request: WatchRequest, attempts: Attempts
) -> AsyncGenerator[job_service_pb2.WatchJobResponse, None]:
    """Yields events of one run until the terminal one; raises MismoRpcError, RunReplacedError."""
    run = StreamRun(request.job_id, request.expected_run_id)
    revision, epoch = request.after_revision, request.server_epoch
    seen = revision

    def open_call() -> grpc.aio.UnaryStreamCall[
        job_service_pb2.WatchJobRequest, job_service_pb2.WatchJobResponse
    ]:
        nonlocal seen
        seen = revision
        return stub.WatchJob(
            job_service_pb2.WatchJobRequest(
                job_id=request.job_id,
                expected_run_id=run.run_id,
                after_revision=revision,
                server_epoch=epoch,
                heartbeat_interval=duration(request.heartbeat_interval),
                min_progress_interval=duration(request.min_progress_interval),
            )
        )

    while True:
        async with aclosing(reopened(open_call, attempts)) as messages:
            async for message in messages:
                kind = message.WhichOneof("event")
                run.check(_run_id(message))
                # Within the epoch, what a resumed stream repeats is known already.
                repeated = (
                    kind in REPLAYED_EVENTS and message.server_epoch == epoch and message.revision <= seen
                )
                epoch = message.server_epoch
                if kind != "snapshot":
                    attempts.progressed()
                    revision = max(revision, message.revision)
                else:
                    # It holds all up to its revision, and a restarted server may count on from an earlier one.
                    revision = seen = message.revision
                if not repeated and (kind != "heartbeat" or request.heartbeats):
                    yield message
                if kind == "terminal":
                    return
        await attempts.after(
            MismoRpcError(grpc.StatusCode.UNAVAILABLE, "", f"the events of job {request.job_id} stopped"),
            stream=True,
        )


def _run_id(message: job_service_pb2.WatchJobResponse) -> str:
    """The run that an event belongs to; empty for events that do not say it."""
    kind = message.WhichOneof("event")
    if kind == "snapshot":
        return message.snapshot.run_id
    if kind == "segment_ready":
        return message.segment_ready.run_id
    return message.terminal.job.run_id if kind == "terminal" else ""

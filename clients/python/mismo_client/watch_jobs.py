"""The changes of many jobs in one stream, over broken streams and restarted servers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import grpc

from mismo.analysis.v1 import job_service_pb2, job_service_pb2_grpc
from mismo.analysis.v1.job_pb2 import JobState
from mismo_client.durations import duration
from mismo_client.errors import CursorExpiredError, MismoRpcError
from mismo_client.retry import Attempts
from mismo_client.streaming import reopened


@dataclass(frozen=True)
class WatchJobsRequest:
    """Which jobs to watch: in any of these states (empty: all), with all of these labels.

    `cursor` goes on after a message that was handled earlier; empty: all jobs that match come first.
    Intervals in seconds, None for the server's default. `on_expired` is told that the cursor expired
    and all jobs come anew; None: CursorExpiredError is raised.
    """

    states: Sequence[JobState] = ()
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    cursor: str = ""
    heartbeat_interval: float | None = None
    min_progress_interval: float | None = None
    heartbeats: bool = False
    on_expired: Callable[[], None] | None = None


async def watch_jobs(
    stub: job_service_pb2_grpc.JobServiceAsyncStub, request: WatchJobsRequest, attempts: Attempts
) -> AsyncGenerator[job_service_pb2.WatchJobsResponse, None]:
    """Yields changes until the consumer leaves; raises MismoRpcError, CursorExpiredError.

    A message counts as handled when the next one is asked for. After a break the stream goes on behind the
    last handled message.
    """
    cursor = request.cursor
    caught_up = False

    def open_call() -> grpc.aio.UnaryStreamCall[
        job_service_pb2.WatchJobsRequest, job_service_pb2.WatchJobsResponse
    ]:
        return stub.WatchJobs(
            job_service_pb2.WatchJobsRequest(
                states=request.states,
                labels=request.labels,
                cursor=cursor,
                heartbeat_interval=duration(request.heartbeat_interval),
                min_progress_interval=duration(request.min_progress_interval),
            )
        )

    while True:
        try:
            async with aclosing(reopened(open_call, attempts)) as messages:
                async for message in messages:
                    attempts.progressed()
                    kind = message.WhichOneof("event")
                    # Each call tells that it caught up; for the consumer that is so once.
                    news = kind is not None and not (kind == "caught_up" and caught_up)
                    caught_up = caught_up or kind == "caught_up"
                    if news and (kind != "heartbeat" or request.heartbeats):
                        yield message
                    cursor = message.cursor or cursor
            stopped = MismoRpcError(grpc.StatusCode.UNAVAILABLE, "", "the changes of the jobs stopped")
            await attempts.after(stopped, stream=True)
        except CursorExpiredError:
            if request.on_expired is None or not cursor:
                raise
            cursor, caught_up = "", False
            request.on_expired()

"""Implements JobService with `Jobs`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import grpc

from mismo.analysis.v1 import job_service_pb2 as pb
from mismo.analysis.v1.job_service_pb2_grpc import JobServiceServicer
from mismo_grpc.errors import InvalidFieldError, JobNotFoundError
from mismo_grpc.jobs.page_token import encode_page_token
from mismo_grpc.orchestration.service import DEFAULT_PAGE, MAX_PAGE, Jobs
from mismo_grpc.rpc.job_messages import job_message, watch_message
from mismo_grpc.rpc.job_requests import job_request, job_update, states_of
from mismo_grpc.rpc.job_watching import watch_all
from mismo_grpc.rpc.result_messages import comparison_message
from mismo_grpc.rpc.values import bounded_seconds

Context = grpc.aio.ServicerContext[Any, Any]

PAGE_STEP = 20
"""The most jobs that are read at once; other calls run between two jobs that are converted."""
PAGE_BYTES = 1 << 20
"""A page ends with the job that makes it larger than this; clients accept messages of 4 MiB by default."""


class JobService(JobServiceServicer):
    """Submits, lists, watches and changes jobs."""

    def __init__(self, jobs: Jobs, check_url: Callable[[str, str], object]) -> None:
        """`check_url` gets a callback's URL and its field; raises InvalidFieldError if the server never calls it."""
        self._jobs = jobs
        self._check_url = check_url

    async def SubmitJob(self, request: pb.SubmitJobRequest, context: Context) -> pb.SubmitJobResponse:
        asked = job_request(request)
        if asked.delivery.callback_url:
            self._check_url(asked.delivery.callback_url, "callback.url")
        submitted = await self._jobs.submit(asked)
        return pb.SubmitJobResponse(
            job=job_message(self._jobs.view(submitted.job)),
            deduplicated=submitted.deduplicated,
            cache_hit=submitted.cache_hit,
        )

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:
        job = await self._jobs.get(_job_id(request.job_id))
        return pb.GetJobResponse(job=job_message(self._jobs.view(job)))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        if not 0 <= request.page_size <= MAX_PAGE:
            raise InvalidFieldError(f"page_size must be 0 to {MAX_PAGE}", field="page_size")
        states = states_of(request.states)
        labels = dict(request.labels)
        response = pb.ListJobsResponse(next_page_token=request.page_token)
        left = request.page_size or DEFAULT_PAGE
        size = 0
        while left > 0 and size < PAGE_BYTES:
            jobs, token = await self._jobs.list(
                states,
                labels,
                min(left, PAGE_STEP),
                response.next_page_token,
                dead_letters=request.dead_letters,
            )
            response.next_page_token = token
            left -= len(jobs)
            for job in jobs:
                # The message of a long mix takes 20 ms.
                await asyncio.sleep(0)
                message = job_message(self._jobs.view(job))
                response.jobs.append(message)
                size += message.ByteSize()
                if size >= PAGE_BYTES and job is not jobs[-1]:
                    response.next_page_token = encode_page_token(job)
                    break
            if not token:
                break
        return response

    async def WatchJob(
        self, request: pb.WatchJobRequest, context: Context
    ) -> AsyncGenerator[pb.WatchJobResponse, None]:
        heartbeat = bounded_seconds(
            request.heartbeat_interval if request.HasField("heartbeat_interval") else None,
            10.0,
            1.0,
            60.0,
            "heartbeat_interval",
        )
        min_progress_interval = bounded_seconds(
            request.min_progress_interval if request.HasField("min_progress_interval") else None,
            0.25,
            0.0,
            60.0,
            "min_progress_interval",
        )
        if request.after_revision < 0:
            raise InvalidFieldError("after_revision must not be negative", field="after_revision")
        events = self._jobs.watch(
            _job_id(request.job_id),
            request.after_revision,
            request.server_epoch,
            heartbeat,
            min_progress_interval,
            expected_run_id=request.expected_run_id,
        )
        async for event in events:
            yield watch_message(event, self._jobs.epoch)

    async def WatchJobs(
        self, request: pb.WatchJobsRequest, context: Context
    ) -> AsyncGenerator[pb.WatchJobsResponse, None]:
        async with aclosing(watch_all(self._jobs, request)) as messages:
            async for message in messages:
                yield message

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.CancelJobResponse:
        job = await self._jobs.changes.cancel(_job_id(request.job_id), request.expected_run_id)
        return pb.CancelJobResponse(job=job_message(self._jobs.view(job)))

    async def UpdateJob(self, request: pb.UpdateJobRequest, context: Context) -> pb.UpdateJobResponse:
        job_id, update = _job_id(request.job_id), job_update(request)
        job = await self._jobs.changes.update(job_id, update, request.expected_run_id)
        return pb.UpdateJobResponse(job=job_message(self._jobs.view(job)))

    async def DeleteJob(self, request: pb.DeleteJobRequest, context: Context) -> pb.DeleteJobResponse:
        try:
            await self._jobs.changes.delete(_job_id(request.job_id), request.expected_run_id)
        except JobNotFoundError:
            if not request.allow_missing:
                raise
        return pb.DeleteJobResponse()

    async def ReplayJob(self, request: pb.ReplayJobRequest, context: Context) -> pb.ReplayJobResponse:
        job = await self._jobs.replay(_job_id(request.job_id), request.expected_run_id)
        return pb.ReplayJobResponse(job=job_message(self._jobs.view(job)))

    async def CompareTracks(
        self, request: pb.CompareTracksRequest, context: Context
    ) -> pb.CompareTracksResponse:
        comparison = await self._jobs.comparisons.compare(
            request.outgoing_job_id, request.incoming_job_id, request.max_cue_pairs
        )
        return pb.CompareTracksResponse(comparison=comparison_message(comparison))


def _job_id(job_id: str) -> str:
    if not job_id:
        raise InvalidFieldError("job_id must not be empty", field="job_id")
    return job_id

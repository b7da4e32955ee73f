"""Calls about jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import grpc

from mismo.analysis.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from mismo.analysis.v1.audio_pb2 import ENCODING_UNSPECIFIED, Encoding
from mismo.analysis.v1.job_pb2 import PRIORITY_UNSPECIFIED, JobState, Priority
from mismo_client.durations import duration
from mismo_client.errors import MismoRpcError
from mismo_client.options import ClientOptions

T = TypeVar("T")


@dataclass(frozen=True)
class UploadedTrack:
    """A complete upload, ready to be a job's source."""

    upload_id: str
    total_bytes: int
    sha256: str


@dataclass(frozen=True)
class SubmitOptions:
    """What to do with a track; every default leaves the choice to the server.

    `playhead` and `result_ttl` are in seconds, `sample_rate` (of the stem files) in Hz. With
    `request_id` unset a fresh one is made; give one to find an earlier submit's answer again.
    """

    model: str = ""
    stems: Sequence[str] = ()
    two_stems: str = ""
    playhead: float | None = None
    priority: Priority = PRIORITY_UNSPECIFIED
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    shifts: int = 0
    overlap: float | None = None
    encoding: Encoding = ENCODING_UNSPECIFIED
    sample_rate: int = 0
    job_id: str = ""
    result_ttl: float | None = None
    validate_only: bool = False
    request_id: str = ""


def source_message(source: str | Path | UploadedTrack) -> job_pb2.Source:
    """A path is made absolute; the server, not this machine, must be able to read it."""
    if isinstance(source, UploadedTrack):
        return job_pb2.Source(upload_id=source.upload_id)
    return job_pb2.Source(path=str(Path(source).expanduser().absolute()))


def submit_request(
    source: str | Path | UploadedTrack, options: SubmitOptions, request_id: str
) -> job_service_pb2.SubmitJobRequest:
    """The message of a submit."""
    output = job_pb2.OutputOptions(encoding=options.encoding, sample_rate=options.sample_rate)
    job_options = job_pb2.JobOptions(
        stems=True,
        model=options.model,
        stem_names=options.stems,
        two_stems=options.two_stems,
        playhead=duration(options.playhead),
        shifts=options.shifts,
        overlap=options.overlap,
        output=output if output.ByteSize() else None,
    )
    return job_service_pb2.SubmitJobRequest(
        request_id=request_id,
        job_id=options.job_id,
        source=source_message(source),
        options=job_options,
        priority=options.priority,
        labels=options.labels,
        result_ttl=duration(options.result_ttl),
        validate_only=options.validate_only,
    )


async def retried(call: Callable[[], Awaitable[T]], options: ClientOptions) -> T:
    """One call, again while the server is away or busy; raises MismoRpcError.

    Every call of the contract may be repeated: reads change nothing, submits carry their request_id,
    the others are idempotent.
    """
    attempts = options.call_attempts()
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            failed = MismoRpcError.of(error)
        await attempts.after(failed)


class JobCalls:
    """JobService but for watching; methods raise MismoRpcError."""

    def __init__(self, stub: job_service_pb2_grpc.JobServiceAsyncStub, options: ClientOptions) -> None:
        self._stub = stub
        self._options = options
        self._timeout = options.call_timeout

    async def submit(
        self, source: str | Path | UploadedTrack, submit: SubmitOptions
    ) -> job_service_pb2.SubmitJobResponse:
        """Submits a track once, however often the call had to be made."""
        request = submit_request(source, submit, submit.request_id or self._options.new_id())
        return await retried(lambda: self._stub.SubmitJob(request, timeout=self._timeout), self._options)

    async def get(self, job_id: str) -> job_pb2.Job:
        """One job."""
        request = job_service_pb2.GetJobRequest(job_id=job_id)
        answer = await retried(lambda: self._stub.GetJob(request, timeout=self._timeout), self._options)
        return answer.job

    async def list(
        self,
        *,
        states: Sequence[JobState] = (),
        labels: Mapping[str, str] | None = None,
        page_size: int = 0,
    ) -> AsyncGenerator[job_pb2.Job, None]:
        """All jobs that fit, newest first; fetches a page when the one before is used up."""
        token = ""
        while True:
            request = job_service_pb2.ListJobsRequest(
                page_size=page_size, page_token=token, states=states, labels=labels
            )
            page = await self._page(request)
            for job in page.jobs:
                yield job
            token = page.next_page_token
            if not token:
                return

    async def _page(self, request: job_service_pb2.ListJobsRequest) -> job_service_pb2.ListJobsResponse:
        return await retried(lambda: self._stub.ListJobs(request, timeout=self._timeout), self._options)

    async def cancel(self, job_id: str) -> job_pb2.Job:
        """Ends a job; changes nothing where it has ended."""
        request = job_service_pb2.CancelJobRequest(job_id=job_id)
        answer = await retried(lambda: self._stub.CancelJob(request, timeout=self._timeout), self._options)
        return answer.job

    async def update(
        self, job_id: str, *, priority: Priority = PRIORITY_UNSPECIFIED, playhead: float | None = None
    ) -> job_pb2.Job:
        """Changes the priority or the playhead (seconds) of a job that has not ended."""
        request = job_service_pb2.UpdateJobRequest(
            job_id=job_id, priority=priority, playhead=duration(playhead)
        )
        answer = await retried(lambda: self._stub.UpdateJob(request, timeout=self._timeout), self._options)
        return answer.job

    async def delete(self, job_id: str) -> None:
        """Ends a job and removes its files."""
        request = job_service_pb2.DeleteJobRequest(job_id=job_id)
        await retried(lambda: self._stub.DeleteJob(request, timeout=self._timeout), self._options)

"""Calls about jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import grpc
from google.protobuf import field_mask_pb2

from mismo.analysis.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc, results_pb2
from mismo.analysis.v1.job_pb2 import PRIORITY_UNSPECIFIED, JobState, Priority
from mismo_client.durations import duration
from mismo_client.errors import MismoRpcError, RunReplacedError
from mismo_client.options import ClientOptions
from mismo_client.submits import SubmitOptions, UploadedTrack, submit_request

T = TypeVar("T")


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
        self, source: str | Path | UploadedTrack | None, submit: SubmitOptions
    ) -> job_service_pb2.SubmitJobResponse:
        """Submits a track once, however often the call had to be made.

        Raises JobIdActiveError, and ValueError for the name of no stage.
        """
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
        dead_letters: bool = False,
        page_size: int = 0,
    ) -> AsyncGenerator[job_pb2.Job, None]:
        """All jobs that fit, newest first; fetches a page when the one before is used up."""
        token = ""
        while True:
            request = job_service_pb2.ListJobsRequest(
                page_size=page_size,
                page_token=token,
                states=states,
                labels=labels,
                dead_letters=dead_letters,
            )
            page = await self._page(request)
            for job in page.jobs:
                yield job
            token = page.next_page_token
            if not token:
                return

    async def _page(self, request: job_service_pb2.ListJobsRequest) -> job_service_pb2.ListJobsResponse:
        return await retried(lambda: self._stub.ListJobs(request, timeout=self._timeout), self._options)

    async def cancel(self, job_id: str, *, expected_run_id: str = "") -> job_pb2.Job:
        """Ends a job; changes nothing where it has ended."""
        request = job_service_pb2.CancelJobRequest(job_id=job_id, expected_run_id=expected_run_id)
        answer = await retried(lambda: self._stub.CancelJob(request, timeout=self._timeout), self._options)
        return answer.job

    async def update(
        self,
        job_id: str,
        *,
        priority: Priority = PRIORITY_UNSPECIFIED,
        playhead: float | None = None,
        clear_playhead: bool = False,
        expected_run_id: str = "",
    ) -> job_pb2.Job:
        """Changes what is given of a job that has not ended; raises ValueError if nothing or both is given."""
        if playhead is not None and clear_playhead:
            raise ValueError("give playhead or clear_playhead, not both")
        paths: list[str] = []
        if priority != PRIORITY_UNSPECIFIED:
            paths.append("priority")
        if playhead is not None or clear_playhead:
            paths.append("playhead")
        if not paths:
            raise ValueError("give priority, playhead or clear_playhead: there is nothing to change")
        request = job_service_pb2.UpdateJobRequest(
            job_id=job_id,
            expected_run_id=expected_run_id,
            priority=priority,
            playhead=duration(playhead),
            update_mask=field_mask_pb2.FieldMask(paths=paths),
        )
        answer = await retried(lambda: self._stub.UpdateJob(request, timeout=self._timeout), self._options)
        return answer.job

    async def delete(self, job_id: str, *, allow_missing: bool = False, expected_run_id: str = "") -> None:
        """Ends a job and removes its files; with `allow_missing` also one that is not there."""
        request = job_service_pb2.DeleteJobRequest(
            job_id=job_id, expected_run_id=expected_run_id, allow_missing=allow_missing
        )
        await retried(lambda: self._stub.DeleteJob(request, timeout=self._timeout), self._options)

    async def replay(self, job_id: str, *, expected_run_id: str = "") -> job_pb2.Job:
        """Tries a failed job once more as a new run; returns the job with that run.

        A call whose answer was lost may have made the new run; it is repeated, and returns that run then. Raises
        RunReplacedError if the job has another run than `expected_run_id` ("": any).
        """
        run_id = expected_run_id or (await self.get(job_id)).run_id
        request = job_service_pb2.ReplayJobRequest(job_id=job_id, expected_run_id=run_id)
        is_repeated = False

        async def replay() -> job_pb2.Job:
            nonlocal is_repeated
            was_repeated, is_repeated = is_repeated, True
            try:
                answer = await self._stub.ReplayJob(request, timeout=self._timeout)
            except grpc.aio.AioRpcError as error:
                if was_repeated and isinstance(MismoRpcError.of(error), RunReplacedError):
                    return await self.get(job_id)
                raise
            return answer.job

        return await retried(replay, self._options)

    async def compare(self, outgoing: str, incoming: str, max_cue_pairs: int) -> results_pb2.TrackComparison:
        """How well the track of one job follows that of another."""
        request = job_service_pb2.CompareTracksRequest(
            outgoing_job_id=outgoing, incoming_job_id=incoming, max_cue_pairs=max_cue_pairs
        )
        answer = await retried(
            lambda: self._stub.CompareTracks(request, timeout=self._timeout), self._options
        )
        return answer.comparison

"""Jobs of a command: submitted once, and cancelled if the command is."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from mismo.analysis.v1 import job_pb2
from mismo.analysis.v1.job_service_pb2 import SubmitJobResponse
from mismo_client.client import AsyncClient
from mismo_client.errors import ClientError

FAREWELL_SECONDS = 3.0
ENDED_STATES = frozenset({job_pb2.JOB_STATE_SUCCEEDED, job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED})


class Notes(Protocol):
    """Receives what a person should know."""

    def note(self, text: str) -> None:
        """One line."""
        ...


async def submit_owned(
    client: AsyncClient, submit: Coroutine[Any, Any, SubmitJobResponse], notes: Notes
) -> SubmitJobResponse:
    """Submits; a cancelled submit cancels the job that it may have started. Raises what `submit` does."""
    submitting = asyncio.create_task(submit)
    try:
        return await asyncio.shield(submitting)
    except asyncio.CancelledError:
        # The job may exist although its id did not come back yet.
        await asyncio.wait([submitting], timeout=FAREWELL_SECONDS)
        if submitting.done() and submitting.exception() is None:
            await abandon(client, submitting.result(), notes)
        submitting.cancel()
        raise


async def abandon(client: AsyncClient, submitted: SubmitJobResponse, notes: Notes) -> None:
    """Cancels the job, unless it is not this command's own or nothing is left of it to cancel."""
    job = submitted.job
    if submitted.deduplicated or job.state in ENDED_STATES:
        return
    try:
        async with asyncio.timeout(FAREWELL_SECONDS):
            cancelled = await client.cancel(job.job_id, expected_run_id=job.run_id)
    except (ClientError, TimeoutError):
        notes.note(f"job {job.job_id} could not be cancelled; try: mismo cancel {job.job_id}")
        return
    if cancelled.state == job_pb2.JOB_STATE_CANCELLED:
        notes.note(f"cancelled job {job.job_id}")

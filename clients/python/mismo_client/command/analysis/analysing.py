"""One track from submit to the results of its analyses."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mismo.analysis.v1 import job_pb2
from mismo.analysis.v1.job_pb2 import PRIORITY_NORMAL, Priority
from mismo.analysis.v1.job_service_pb2 import SubmitJobResponse
from mismo.analysis.v1.stage_pb2 import (
    STAGE_STATE_CANCELLED,
    STAGE_STATE_FAILED,
    STAGE_STATE_RUNNING,
    STAGE_STATE_SKIPPED,
    STAGE_STATE_SUCCEEDED,
    STAGE_STEMS,
    Stage,
    StageState,
    StageStatus,
)
from mismo_client.client import AsyncClient
from mismo_client.command.owned_jobs import abandon, submit_owned
from mismo_client.command.sources import FileOrBlob, submit_track
from mismo_client.durations import seconds_between
from mismo_client.errors import JobFailedError
from mismo_client.stages import stage_name, stage_state_name
from mismo_client.submits import UploadedTrack

ENDED_WITHOUT_RESULT = frozenset({STAGE_STATE_FAILED, STAGE_STATE_CANCELLED, STAGE_STATE_SKIPPED})


@dataclass(frozen=True)
class Analysis:
    """What to find out about which track."""

    track: FileOrBlob
    stages: tuple[Stage, ...]
    stems: bool = False
    upload: bool = False
    priority: Priority = PRIORITY_NORMAL
    blob_prefix: str = ""


class Reporter(Protocol):
    """Receives the progress."""

    def note(self, text: str) -> None:
        """Something a person should know."""
        ...

    def uploading(self, done: int, total: int) -> None:
        """Bytes of the track that the server has."""
        ...

    def analysing(self, fraction: float, running: str) -> None:
        """How much of all stages is done (0 to 1), and what runs now."""
        ...


class Analysing:
    """One run."""

    def __init__(self, client: AsyncClient, plan: Analysis, reporter: Reporter) -> None:
        self._client = client
        self._plan = plan
        self._reporter = reporter
        self._noted: set[str | tuple[Stage, StageState]] = set()
        self._running: dict[Stage, str] = {}
        self._fraction = 0.0

    async def run(self) -> job_pb2.Job:
        """The job once it has succeeded; a cancelled run cancels the job that it started.

        Raises MismoRpcError, JobFailedError, other ClientErrors, OSError.
        """
        plan = self._plan
        submitted = await submit_track(self._client, plan.track, plan.upload, self._reporter, self._submit)
        reused = " (analysed before)" if submitted.cache_hit else ""
        self._reporter.note(f"job {submitted.job.job_id}{reused}")
        try:
            return await self._watch(submitted.job)
        except asyncio.CancelledError:
            await abandon(self._client, submitted, self._reporter)
            raise

    async def _submit(self, source: str | Path | UploadedTrack) -> SubmitJobResponse:
        plan = self._plan
        stages = (STAGE_STEMS, *plan.stages) if plan.stems else plan.stages
        submit = self._client.submit(
            source, stages=stages, priority=plan.priority, blob_prefix=plan.blob_prefix
        )
        return await submit_owned(self._client, submit, self._reporter)

    async def _watch(self, job: job_pb2.Job) -> job_pb2.Job:
        async with aclosing(self._client.watch(job.job_id, expected_run_id=job.run_id)) as events:
            async for event in events:
                kind = event.WhichOneof("event")
                if kind == "stage":
                    self._note_stage(event.stage)
                elif kind == "progress":
                    self._fraction = event.progress.fraction
                elif kind == "snapshot":
                    job = event.snapshot
                    self._fraction = job.progress.fraction
                    self._note_all(job)
                elif kind == "terminal":
                    job = event.terminal.job
                    self._note_all(job)
                self._reporter.analysing(self._fraction, ", ".join(self._running.values()))
        if job.state != job_pb2.JOB_STATE_SUCCEEDED:
            raise JobFailedError(job)
        return job

    def _note_all(self, job: job_pb2.Job) -> None:
        for stage in job.stages:
            self._note_stage(stage)
        for warning in job.warnings:
            self._note_once(warning, warning)

    def _note_stage(self, stage: StageStatus) -> None:
        """One line for each stage that has ended."""
        name = stage_name(stage.stage)
        if stage.state == STAGE_STATE_RUNNING:
            self._running[stage.stage] = name
            return
        self._running.pop(stage.stage, None)
        ended = (stage.stage, stage.state)
        if stage.state == STAGE_STATE_SUCCEEDED:
            self._note_once(ended, f"{name} after {seconds_between(stage.start_time, stage.end_time):.1f} s")
        elif stage.state in ENDED_WITHOUT_RESULT:
            self._note_once(ended, f"{name} {stage_state_name(stage.state)}")

    def _note_once(self, event: str | tuple[Stage, StageState], text: str) -> None:
        if event not in self._noted:
            self._noted.add(event)
            self._reporter.note(text)

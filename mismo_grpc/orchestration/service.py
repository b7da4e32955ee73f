"""The jobs of this server for its front ends: submit, get, list, watch, read; `changes` cancels, updates, deletes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

from mismo_grpc.errors import (
    InvalidFieldError,
    check_run,
)
from mismo_grpc.jobs.callbacks import CallbackRow
from mismo_grpc.jobs.event_log import JobEventLog, JobView, WatchEvent, watch_events
from mismo_grpc.jobs.job import Job, JobRequest, JobState, Progress
from mismo_grpc.jobs.page_token import decode_page_token, encode_page_token
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.jobs.watching import JobsEvent, WatchedJobs, watch_jobs
from mismo_grpc.orchestration.artifact_readers import ArtifactReaders
from mismo_grpc.orchestration.blob_links import BlobLinks
from mismo_grpc.orchestration.comparisons import TrackComparisons
from mismo_grpc.orchestration.job_changes import JobChanges
from mismo_grpc.orchestration.progress import progress_of, progress_of_ended, share_with_result
from mismo_grpc.orchestration.queue import JobQueue
from mismo_grpc.orchestration.replay import Replays
from mismo_grpc.orchestration.stem_readers import StemReaders, has_stems
from mismo_grpc.orchestration.submissions import Submissions, Submitted
from mismo_grpc.orchestration.waveform_readers import WaveformReaders
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.scheduler import Scheduler
from mismo_grpc.streaming.messages import NotReadyReason
from mismo_grpc.streaming.reader import StemReader
from mismo_grpc.streaming.waveform_reader import GrowingWaveform

MAX_PAGE = 1000
DEFAULT_PAGE = 100


class Jobs:
    """All jobs of this server; every method on the event loop. `epoch` is new at every start."""

    def __init__(
        self,
        repository: JobRepository,
        changes: JobChanges,
        queue: JobQueue,
        stem_readers: StemReaders,
        waveform_readers: WaveformReaders,
        submissions: Submissions,
        replays: Replays,
        scheduler: Scheduler,
        blob_links: BlobLinks,
        artifacts: ArtifactReaders,
        *,
        epoch: str,
        queue_capacity: int,
        segment_seconds: Callable[[str], float],
    ) -> None:
        self.epoch = epoch
        self.queue_capacity = queue_capacity
        self.changes = changes
        self.comparisons = TrackComparisons(repository)
        self.blob_links = blob_links
        self.artifacts = artifacts
        self._repository = repository
        self._queue = queue
        self._stem_readers = stem_readers
        self._waveform_readers = waveform_readers
        self._scheduler = scheduler
        self._submissions = submissions
        self._replays = replays
        self._segment_seconds = segment_seconds

    # Start and stop

    @property
    def draining(self) -> bool:
        """Whether submits are refused because the server is about to stop."""
        return self._submissions.closed

    async def recover(self) -> int:
        """Resumes every job that an earlier process left unfinished; returns how many there are."""
        for job in await self._repository.read(self._repository.store.active):
            self._repository.active[job.job_id] = ActiveJob.of(job)
            # Clients were told at most this; segments that a power cut has lost must not take it back.
            self.share_with_result(job)
            self.progress(job)
        self._queue.fill()
        return len(self._repository.active)

    def refuse(self) -> None:
        """Refuses submits and starts no waiting job from now on."""
        self._submissions.closed = True
        self._queue.stopped = True

    async def drain(self) -> None:
        """Stops the running jobs; the next start of the server resumes them."""
        self.refuse()
        tasks = [a.task for a in self._repository.active.values() if a.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def submit(self, request: JobRequest) -> Submitted:
        """Accepts a job; see `Submissions.submit`."""
        return await self._submissions.submit(request)

    async def replay(self, job_id: str, expected_run_id: str = "") -> Job:
        """Tries a failed job once more; see `Replays.replay`."""
        return await self._replays.replay(job_id, expected_run_id)

    # Get and list

    async def get(self, job_id: str) -> Job:
        """One job; raises JobNotFoundError."""
        return await self._repository.get(job_id)

    async def find(self, job_id: str) -> Job | None:
        """One job, None if there is none of that id."""
        return await self._repository.find(job_id)

    def view(self, job: Job) -> JobView:
        """A job with its progress and ready frames as of now."""
        active = self._repository.active.get(job.job_id)
        if active is not None and active.job.run_id == job.run_id:
            return JobView(active.job, self.progress(active.job), active.ready)
        return JobView(job, self.progress(job), self.ready(job))

    def progress(self, job: Job) -> Progress:
        """The progress of a job."""
        active = self._repository.active.get(job.job_id)
        if active is None or active.job.run_id != job.run_id:
            return progress_of_ended(job)
        position = self._queue.position(active)
        return progress_of(active, position, self._segment_seconds(job.model))

    def share_with_result(self, job: Job) -> float:
        """The share of a job's work that has a result, 0 to 1; never falls within a run, also not over a restart."""
        active = self._repository.active.get(job.job_id)
        if active is None or active.job.run_id != job.run_id:
            return share_with_result(job)
        active.share_floor = max(active.share_floor, share_with_result(active.job))
        return active.share_floor

    def ready(self, job: Job) -> RangeSet:
        """The final frames of a job."""
        active = self._repository.active.get(job.job_id)
        if active is not None and active.job.run_id == job.run_id:
            return active.ready
        if job.layout is not None and has_stems(job):
            return RangeSet([(0, job.layout.total_frames)])
        return RangeSet()

    async def list(
        self,
        states: Collection[JobState],
        labels: Mapping[str, str],
        page_size: int,
        page_token: str,
        *,
        dead_letters: bool = False,
    ) -> tuple[list[Job], str]:
        """One page of jobs, newest first, and the token of the next page ("" on the last).

        With `dead_letters` only those.
        """
        if page_size < 0 or page_size > MAX_PAGE:
            raise InvalidFieldError(f"page_size must be 0 to {MAX_PAGE}", field="page_size")
        size = page_size or DEFAULT_PAGE
        after = decode_page_token(page_token) if page_token else None
        store = self._repository.store
        jobs = await self._repository.read(store.list, states, labels, size + 1, after, dead_letters)
        token = encode_page_token(jobs[size - 1]) if len(jobs) > size else ""
        return [self.view(job).job for job in jobs[:size]], token

    @property
    def queued_count(self) -> int:
        """How many jobs wait for a slot."""
        return self._queue.waiting_count

    @property
    def retrying_count(self) -> int:
        """How many jobs wait for another attempt of a stage, without a slot."""
        return self._queue.retrying_count

    @property
    def running_count(self) -> int:
        """How many jobs run."""
        return self.active_count - self.queued_count - self.retrying_count

    @property
    def active_count(self) -> int:
        """How many jobs have not ended; the capacity of the queue limits it."""
        return len(self._repository.active)

    # Watch

    async def watch(
        self,
        job_id: str,
        after_revision: int,
        epoch: str,
        heartbeat: float,
        min_progress_interval: float,
        *,
        expected_run_id: str = "",
    ) -> AsyncGenerator[WatchEvent]:
        """A job's events until it ends; see `watch_events`. Raises JobNotFoundError, RunReplacedError."""
        job = await self.get(job_id)
        active = self._repository.active.get(job_id)
        if active is not None:
            # It may have begun while the store was read.
            job = active.job
        run_id = job.run_id
        check_run(job_id, expected_run_id, run_id)
        events = (
            active.event_log
            if active is not None
            else self._repository.ended_logs.get(job_id) or JobEventLog(job.revision)
        )

        def view() -> JobView:
            nonlocal job
            current = self._repository.active.get(job_id)
            if current is not None and current.job.run_id == run_id:
                job = current.job
            elif active is not None and active.job.run_id == run_id:
                job = active.job
            return self.view(job)

        replay = after_revision > 0 and epoch == self.epoch
        async for event in watch_events(
            events,
            view,
            self._repository.now,
            after_revision=after_revision,
            replay=replay,
            heartbeat=heartbeat,
            min_progress_interval=min_progress_interval,
        ):
            yield event

    def watch_all(
        self, watched: WatchedJobs, cursor: str, heartbeat: float, min_progress_interval: float
    ) -> AsyncGenerator[JobsEvent]:
        """The changes of all jobs that match; see `watch_jobs`. Close it."""
        return watch_jobs(
            self._repository,
            self.view,
            watched,
            cursor=cursor,
            heartbeat=heartbeat,
            min_progress_interval=min_progress_interval,
        )

    # Read

    async def callbacks_of(self, job_id: str) -> Sequence[CallbackRow]:
        """The callbacks of a job, in the order in which they are sent."""
        return await self._repository.read(self._repository.store.callbacks_of, job_id)

    @asynccontextmanager
    async def open_waveform(
        self, job_id: str, expected_run_id: str = "", *, wait: bool = False
    ) -> AsyncGenerator[GrowingWaveform]:
        """The waveform of a job, growing or stored; its run is held meanwhile.

        Raises JobNotFoundError, and as `WaveformReaders.open` does.
        """
        job = await self.get(job_id)
        async with self._waveform_readers.open(job, expected_run_id, wait=wait) as waveform:
            yield waveform

    @asynccontextmanager
    async def open_stems(
        self,
        job_id: str,
        expected_run_id: str = "",
        on_waiting: Callable[[NotReadyReason], None] = lambda _: None,
    ) -> AsyncGenerator[StemReader]:
        """The stems of a job; its run is held meanwhile.

        Waits without a limit until the track is decoded, and calls `on_waiting` with the reason at once and whenever it
        changes. Raises JobNotFoundError, RunReplacedError if the job has another run than `expected_run_id` ("": any),
        or the error that ended the job.
        """
        job = await self.get(job_id)
        async with self._stem_readers.open(job, expected_run_id, on_waiting) as reader:
            yield reader

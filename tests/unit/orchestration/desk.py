"""Submits without a server: a real store, real files and the embedded model; jobs run until they are told to end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.jobs.events import EventKind
from mismo_grpc.jobs.job import Job, JobRequest, JobState, Source, SourceKind, StageState
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.orchestration.job_changes import JobChanges
from mismo_grpc.orchestration.queue import JobQueue
from mismo_grpc.orchestration.runner import JobRunner
from mismo_grpc.orchestration.submissions import Submissions
from mismo_grpc.results.artifacts import artifacts_of, digest_stem, stems_document, write_stems_json
from mismo_grpc.separation.scheduler import Scheduler
from mismo_grpc.separation.stems import StemLayout
from tests.unit.orchestration.place import NOW, RATE, Place, write_wav

T = TypeVar("T")

PATIENCE = 30.0
HEADER_BYTES = 44
STEM_BYTES = 400


class ThreadGate:
    """`asyncio.to_thread` behind a gate: calls of the named functions wait until it is opened."""

    def __init__(self) -> None:
        self.closed_for: set[str] = set()
        self._waiting = 0
        self._changed = asyncio.Condition()

    async def __call__(self, func: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        name = getattr(func, "__name__", "")
        async with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            await self._changed.wait_for(lambda: name not in self.closed_for)
            self._waiting -= 1
        return await asyncio.to_thread(func, *args, **kwargs)

    async def waiting(self, count: int) -> None:
        """Until so many calls wait."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: self._waiting >= count)

    async def open(self) -> None:
        """Lets all go."""
        async with self._changed:
            self.closed_for.clear()
            self._changed.notify_all()


class HeldJobs:
    """Works on jobs: each runs until it is told to end."""

    def __init__(self, repository: JobRepository) -> None:
        self._repository = repository
        self._ends: dict[str, asyncio.Event] = {}

    async def run(self, active: ActiveJob) -> None:
        """As JobRunner.run."""
        await self._ends.setdefault(active.job.job_id, asyncio.Event()).wait()
        await self._repository.record(
            active, lambda job: replace(job, state=JobState.FAILED), EventKind.TERMINAL
        )

    async def end(self, job_id: str) -> None:
        """Ends a job that runs, and waits for its task."""
        task = self._repository.active[job_id].task
        assert task is not None
        self._ends.setdefault(job_id, asyncio.Event()).set()
        await asyncio.wait_for(task, PATIENCE)


class SubmitDesk:
    """Takes submits in, at most three jobs at once; one is worked on at a time."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.store, self.repository, self.runs = place.store, place.repository, place.runs
        self.uploads = place.uploads
        self.checksum = ThreadGate()
        self.held = HeldJobs(place.repository)
        self.queue = JobQueue(place.repository, self.held.run, 1)
        admission = place.admission(sources=place.sources(checksum=self.checksum), checksum=self.checksum)
        self.submissions = Submissions(place.repository, self.queue, admission, place.runs, place.uploads, 3)

    def changes(self) -> JobChanges:
        """What cancels and deletes the jobs."""
        runner = JobRunner(self.repository, self.runs, (), default_ttl=60.0, bulk=asyncio.to_thread)
        return JobChanges(self.repository, runner, self.queue, self.runs, Scheduler(time.monotonic))

    async def close(self) -> None:
        """Stops what is at work."""
        self.queue.stopped = True
        tasks = [active.task for active in self.repository.active.values() if active.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.runs.removed()

    def track(self, name: str = "a.wav", *, seed: int = 1) -> Path:
        """A track of half a second; the same seed is the same content."""
        return write_wav(self.place.music / name, RATE // 2, seed=seed)

    def request(self, path: Path, **fields: Any) -> JobRequest:
        """A submit of a path."""
        fields.setdefault("fingerprint", str(path))
        return JobRequest(Source(SourceKind.PATH, str(path)), **fields)

    async def upload(self, path: Path) -> JobRequest:
        """A submit of an upload with the content of a file."""
        upload_id = await self.place.uploaded(path.read_bytes())
        return JobRequest(Source(SourceKind.UPLOAD, upload_id), fingerprint=upload_id)

    async def succeed(self, job_id: str) -> Job:
        """Ends a job as one that separated its track, with all its files."""
        active = self.repository.active[job_id]
        job = replace(
            active.job,
            state=JobState.SUCCEEDED,
            ended_at=NOW,
            expires_at=NOW + 3600,
            layout=StemLayout(("drums", "bass"), 44_100, 2, STEM_BYTES // 4, Encoding.PCM_S16LE),
        )
        files = self.runs.files(job.run_id)
        files.stems.mkdir(parents=True)
        for index, name in enumerate(("drums", "bass")):
            files.stem(name).write_bytes(bytes([index]) * (HEADER_BYTES + STEM_BYTES))
        stems = [digest_stem(n, files.stem(n), HEADER_BYTES, STEM_BYTES) for n in ("drums", "bass")]
        write_stems_json(files, stems_document(job, stems, {}))
        done = replace(
            job,
            stages=tuple(replace(status, state=StageState.SUCCEEDED) for status in job.stages),
            artifacts=artifacts_of(files, stems, {}),
            result_bytes=sum(stem.size for stem in stems),
            stem_sha256=tuple(stem.pcm_sha256 for stem in stems),
        )
        await self.repository.record(active, lambda _: done, EventKind.TERMINAL)
        if active.task is not None:
            active.task.cancel()
            await asyncio.wait([active.task])
        return active.job

    def run_folders(self) -> set[str]:
        """The runs that have files."""
        return {path.name for path in self.runs.root.iterdir()}

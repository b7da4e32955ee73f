"""Submits without a server: a real store, real files and the embedded model; what works on jobs is held still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.jobs.events import EventKind
from mismo_grpc.jobs.job import Job, JobRequest, JobState, Source, SourceKind
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.jobs.store.sqlite_store import SqliteJobStore
from mismo_grpc.orchestration.admission import Admission
from mismo_grpc.orchestration.queue import JobQueue
from mismo_grpc.orchestration.submissions import Submissions
from mismo_grpc.results.artifacts import artifacts_of, digest_stem, stems_document, write_stems_json
from mismo_grpc.results.runs import Runs
from mismo_grpc.separation.catalog import EMBEDDED_MODEL, ModelCatalog
from mismo_grpc.separation.device import DeviceInfo
from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.storage.disk import FileSystemDisk
from mismo_grpc.uploads.uploads import Uploads
from tests.service.tracks import write_track

T = TypeVar("T")

PATIENCE = 30.0
DEVICE = DeviceInfo("cpu", "a processor", "fp32", 1)
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


@dataclass
class SubmitDesk:
    """What takes submits in, and all that it stands on."""

    folder: Path
    store: SqliteJobStore
    repository: JobRepository
    runs: Runs
    uploads: Uploads
    held: HeldJobs
    queue: JobQueue
    submissions: Submissions
    checksum: ThreadGate
    time: list[float] = field(default_factory=lambda: [1_000.0])

    def track(self, name: str = "a.wav", *, seed: int = 1) -> Path:
        """A track of half a second; the same seed is the same content."""
        return write_track(self.folder / "music" / name, 0.5, seed=seed)

    def request(self, path: Path, **fields: Any) -> JobRequest:
        """A submit of a path."""
        fields.setdefault("fingerprint", str(path))
        return JobRequest(Source(SourceKind.PATH, str(path)), **fields)

    async def upload(self, path: Path) -> JobRequest:
        """A submit of an upload with the content of a file."""
        content = path.read_bytes()
        status = await self.uploads.open("", "x.wav", len(content), "", self.time[0])
        await self.uploads.write(status.upload_id, 0, content, writer=status.writer)
        await self.uploads.finish(status.upload_id)
        return JobRequest(Source(SourceKind.UPLOAD, status.upload_id), fingerprint=status.upload_id)

    async def succeed(self, job_id: str) -> Job:
        """Ends a job as one that separated its track, with all its files."""
        active = self.repository.active[job_id]
        job = replace(
            active.job,
            state=JobState.SUCCEEDED,
            ended_at=self.time[0],
            expires_at=self.time[0] + 3600,
            layout=StemLayout(("drums", "bass"), 44_100, 2, STEM_BYTES // 4, Encoding.PCM_S16LE),
        )
        files = self.runs.files(job.run_id)
        files.stems.mkdir(parents=True)
        for index, name in enumerate(("drums", "bass")):
            files.stem(name).write_bytes(bytes([index]) * (HEADER_BYTES + STEM_BYTES))
        stems = [digest_stem(n, files.stem(n), HEADER_BYTES, STEM_BYTES) for n in ("drums", "bass")]
        write_stems_json(files, stems_document(job, stems, {}, {}))
        done = replace(
            job,
            artifacts=artifacts_of(files, stems, {}),
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


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[SubmitDesk]:
    """Takes at most three jobs at once; one is worked on at a time."""
    (tmp_path / "music").mkdir()
    time = [1_000.0]
    store = SqliteJobStore(tmp_path / "jobs.sqlite3")
    repository = JobRepository(store, lambda: time[0])
    runs = Runs(tmp_path / "jobs")
    disk = FileSystemDisk()
    uploads = Uploads(
        tmp_path / "uploads",
        store,
        disk,
        max_upload_bytes=1 << 20,
        idle_seconds=60.0,
        keep_seconds=60.0,
    )
    checksum = ThreadGate()
    catalog = ModelCatalog([])

    async def known_device() -> DeviceInfo:
        return DEVICE

    admission = Admission(
        repository,
        uploads,
        catalog,
        disk,
        runs,
        roots=[tmp_path / "music"],
        paths_allowed=True,
        default_model=lambda: EMBEDDED_MODEL,
        wanted_model=EMBEDDED_MODEL,
        max_track_seconds=60.0,
        disk_reserve=0,
        default_ttl=3600.0,
        device=known_device,
        device_now=lambda: DEVICE,
        bulk=asyncio.to_thread,
        checksum=checksum,
    )
    held = HeldJobs(repository)
    queue = JobQueue(repository, held.run, 1)
    submissions = Submissions(repository, queue, admission, runs, uploads, 3)
    desk = SubmitDesk(tmp_path, store, repository, runs, uploads, held, queue, submissions, checksum, time)
    yield desk
    queue.stopped = True
    tasks = [active.task for active in repository.active.values() if active.task is not None]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await runs.removed()
    repository.close()

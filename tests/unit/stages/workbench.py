"""What a stage works with: a stored job, its run's folder, a source file; and a disk that a test can hold up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from mismo_grpc.audio.decode import DecodedMix
from mismo_grpc.jobs.event_log import JobEventLog
from mismo_grpc.jobs.job import (
    Job,
    JobOptions,
    JobState,
    Priority,
    Source,
    SourceKind,
    Stage,
    StageState,
    StageStatus,
)
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.jobs.store.sqlite_store import SqliteJobStore
from mismo_grpc.results.runs import Runs
from mismo_grpc.stages.context import RunMemory, StageContext
from mismo_grpc.stages.decode import DecodeStage, TrackDecoder
from mismo_grpc.stages.table import with_needs
from mismo_grpc.storage.blobs.port import BlobStore
from mismo_grpc.storage.blobs.sources import BlobSources
from mismo_grpc.storage.disk import Disk, FileSystemDisk
from mismo_grpc.storage.run_files import RunFiles

RUN_ID = "5" * 32
RATE = 44_100


def a_track(seconds: float = 1.0, level: float = 0.5) -> npt.NDArray[np.float32]:
    """A sine of 997 Hz in two channels."""
    sine = level * np.sin(2 * np.pi * 997 * np.arange(int(seconds * RATE)) / RATE)
    return np.stack([sine, sine], axis=1).astype(np.float32)


class HeldDisk(Disk):
    """The real disk; whoever asks for room waits until the test lets it go on."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()

    def free_bytes(self, path: Path) -> int:
        self.asked.set()
        assert self.go_on.wait(30)
        return FileSystemDisk().free_bytes(path)


class Workbench:
    """One job at work; a decoder made anew on the same bench is that of the server after a restart."""

    def __init__(self, folder: Path) -> None:
        self.runs = Runs(folder / "jobs")
        self.store = SqliteJobStore(folder / "jobs" / ".mismo" / "jobs.sqlite3")
        self.repository = JobRepository(self.store, lambda: 1000.0)
        self.source = folder / "track.wav"
        self.memory = RunMemory()
        self._decoders: list[TrackDecoder] = []

    @property
    def files(self) -> RunFiles:
        return self.runs.files(RUN_ID)

    def record(self, samples: npt.NDArray[np.float32]) -> None:
        """Writes the source file."""
        soundfile.write(self.source, samples, RATE, subtype="FLOAT")

    async def job(
        self, *asked: Stage, succeeded: tuple[Stage, ...] = (), sha256: str = "", known: bool = True
    ) -> ActiveJob:
        """The stored job; `known`: the source is as it was when it was accepted, with that hash."""
        stat = self.source.stat() if self.source.exists() else None
        job = Job(
            job_id="job",
            run_id=RUN_ID,
            revision=1,
            state=JobState.QUEUED,
            priority=Priority.NORMAL,
            source=Source(SourceKind.PATH, str(self.source)),
            options=JobOptions(asked),
            labels={},
            model="m",
            created_at=999.0,
            stages=tuple(
                StageStatus(s, StageState.SUCCEEDED if s in succeeded else StageState.PENDING)
                for s in with_needs(asked)
            ),
            source_sha256=sha256,
            source_bytes=stat.st_size if stat and known else 1,
            source_mtime_ns=stat.st_mtime_ns if stat and known else 1,
        )
        await self.repository.accept(job, "", "")
        active = ActiveJob(job, JobEventLog(job.revision))
        self.repository.active[job.job_id] = active
        return active

    def context(
        self, stage: Stage, active: ActiveJob, needs: Mapping[Stage, asyncio.Future[None]] | None = None
    ) -> StageContext:
        """Without `needs`, those of the stage have succeeded."""
        return StageContext(stage, active, self.files, self.repository, self.memory, needs or {})

    def decoder(
        self,
        *,
        boot: str = "boot",
        disk: Disk | None = None,
        disk_reserve: int = 0,
        max_track_seconds: float = 60.0,
        model_rate: int = RATE,
    ) -> TrackDecoder:
        decoder = TrackDecoder(
            self.runs,
            resolve=lambda source: Path(source.location),
            sample_rate_of=lambda _: model_rate,
            max_track_seconds=max_track_seconds,
            disk=disk or FileSystemDisk(),
            disk_reserve=disk_reserve,
            boot=boot,
        )
        self._decoders.append(decoder)
        return decoder

    def decode_stage(
        self,
        decoder: TrackDecoder | None = None,
        *,
        blobs: Sequence[BlobStore] = (),
        disk: Disk | None = None,
    ) -> DecodeStage:
        return DecodeStage(
            decoder or self.decoder(),
            BlobSources(blobs),
            max_bytes=1 << 20,
            disk=disk or FileSystemDisk(),
            disk_reserve=0,
        )

    async def decoded(self, active: ActiveJob) -> DecodedMix:
        """The decoded track, in the memory of the run."""
        self.memory.mix = await self.decoder().decode(active.job)
        return self.memory.mix

    def samples(self) -> npt.NDArray[np.float32]:
        """The decoded track [frames, 2], as it lies on the disk."""
        return np.fromfile(self.files.mix, "<f4").reshape(-1, 2)

    async def close(self) -> None:
        for decoder in self._decoders:
            decoder.close()
        await self.runs.removed()
        self.repository.close()

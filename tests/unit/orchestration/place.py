"""A jobs folder and a folder of music, for what stands between a request and the queue."""

from __future__ import annotations

import asyncio
import hashlib
import wave
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mismo_grpc.executors import InThread
from mismo_grpc.generation.generators import Generators
from mismo_grpc.generation.songs.synthetic_generator import SyntheticGenerator
from mismo_grpc.jobs.job import (
    Job,
    JobOptions,
    JobRequest,
    JobState,
    Source,
    SourceKind,
    Stage,
    StageState,
    StemOptions,
)
from mismo_grpc.jobs.repository import JobRepository
from mismo_grpc.jobs.store.sqlite_store import SqliteJobStore
from mismo_grpc.orchestration.admission import Admission
from mismo_grpc.orchestration.sources import Sources
from mismo_grpc.results.runs import Runs
from mismo_grpc.separation.catalog import ModelCatalog
from mismo_grpc.separation.device import DeviceInfo
from mismo_grpc.storage.blobs.port import BlobStore
from mismo_grpc.storage.blobs.sources import BlobSources
from mismo_grpc.storage.disk import Disk, FileSystemDisk
from mismo_grpc.uploads.uploads import Uploads

NOW = 4e9
MODEL = "mismo_lite"
ABSENT = "absent"
CPU = DeviceInfo("cpu", "a processor", "fp32", 1)
GPU = DeviceInfo("cuda:0", "a card", "fp16", 4)
RATE = 44_100


def write_wav(path: Path, frames: int = RATE, *, rate: int = RATE, seed: int = 1) -> Path:
    """Noise, mono, 8 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(rate)
        file.writeframes(hashlib.shake_128(bytes([seed])).digest(frames))
    return path


@dataclass
class Place:
    """A jobs folder and a folder of music, with what admission needs of a server."""

    folder: Path
    store: SqliteJobStore
    repository: JobRepository
    uploads: Uploads
    runs: Runs
    device: DeviceInfo | None = CPU
    """None: not known yet."""
    asked_for_device: int = 0

    @property
    def music(self) -> Path:
        return self.folder / "music"

    def sources(
        self,
        roots: Sequence[Path] | None = None,
        *,
        paths_allowed: bool = True,
        max_track_seconds: float = 3600.0,
        blobs: Sequence[BlobStore] = (),
        checksum: InThread = asyncio.to_thread,
    ) -> Sources:
        return Sources(
            self.uploads,
            BlobSources(blobs),
            roots=[self.music] if roots is None else roots,
            paths_allowed=paths_allowed,
            max_track_seconds=max_track_seconds,
            max_bytes=1 << 20,
            bulk=asyncio.to_thread,
            checksum=checksum,
        )

    def admission(
        self, disk: Disk | None = None, *, sources: Sources | None = None, **changes: Any
    ) -> Admission:
        return Admission(
            self.repository,
            sources or self.sources(),
            self.uploads,
            ModelCatalog([]),
            disk or FileSystemDisk(),
            self.runs,
            **{
                "default_model": lambda: MODEL,
                "wanted_model": MODEL,
                "disk_reserve": 0,
                "default_ttl": 3600.0,
                "device": self._device,
                "device_now": lambda: self.device,
                "checksum": asyncio.to_thread,
                "generators": Generators([SyntheticGenerator()], "synthetic"),
                "has_container": False,
                **changes,
            },
        )

    async def _device(self) -> DeviceInfo:
        self.asked_for_device += 1
        return self.device or CPU

    async def uploaded(self, content: bytes, sent: int | None = None) -> str:
        """An upload; with `sent`, of that many bytes only."""
        upload_id = (await self.uploads.open("", "a.wav", len(content), "", NOW)).upload_id
        await self.uploads.write(upload_id, 0, content[:sent])
        if sent is None:
            await self.uploads.finish(upload_id)
        return upload_id

    async def succeeded(self, job: Job, **changes: Any) -> Job:
        """The job with a result, in the store."""
        stages = tuple(replace(stage, state=StageState.SUCCEEDED) for stage in job.stages)
        done = replace(
            job,
            state=JobState.SUCCEEDED,
            ended_at=NOW,
            expires_at=NOW + 60,
            **{"stages": stages, "model_fingerprint": job.model_fingerprint, **changes},
        )
        await self.repository.accept(done, "", "")
        return done


def request_for(source: Path | str, **changes: Any) -> JobRequest:
    """A submit of a path; keywords of StemOptions go there."""
    names = StemOptions.__dataclass_fields__.keys() & changes.keys()
    stems = StemOptions(**{name: changes.pop(name) for name in names})
    options = JobOptions(stages=changes.pop("stages", (Stage.STEMS,)), stems=stems)
    return JobRequest(Source(SourceKind.PATH, str(source)), options, **changes)


def upload_of(upload_id: str) -> JobRequest:
    return JobRequest(Source(SourceKind.UPLOAD, upload_id))

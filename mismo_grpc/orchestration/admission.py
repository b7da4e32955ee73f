"""The checks of a submit before its job is queued: a readable source, an available model, enough disk space."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from mismo_grpc.errors import MismoError, ModelUnavailableError
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import (
    Artifact,
    Job,
    JobOptions,
    JobRequest,
    JobState,
    Source,
    SourceKind,
    Stage,
    StageState,
    StageStatus,
    StemOptions,
)
from mismo_grpc.jobs.repository import JobRepository
from mismo_grpc.jobs.store.records import KEY_WITHOUT_STEMS, cache_key, model_fingerprint_of, result_key
from mismo_grpc.orchestration.sources import check_audio, resolve_path
from mismo_grpc.results.disk_room import mix_bytes, stems_bytes
from mismo_grpc.results.documents import document_artifacts
from mismo_grpc.results.reuse import take_over_result
from mismo_grpc.results.runs import Runs
from mismo_grpc.separation.catalog import EMBEDDED_MODEL, ModelCatalog, ModelDescription, ModelState
from mismo_grpc.separation.device import DeviceInfo
from mismo_grpc.separation.grid import check_work
from mismo_grpc.separation.selection import select_stems
from mismo_grpc.stages.decode import ANALYSIS_RATE
from mismo_grpc.stages.table import check_asked, needed_by, with_needs
from mismo_grpc.storage.disk import Disk, disk_errors
from mismo_grpc.uploads.uploads import Uploads

HASHED_AT_SUBMIT_BYTES = 256 << 20
"""Larger sources never reuse an earlier result, because hashing them would delay the first audio."""
HASH_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Admitted:
    """A job that passed all checks, and the earlier job whose result it can reuse."""

    job: Job
    cached: Job | None


class Admission:
    """Checks submits and prepares the files of accepted jobs.

    `device` waits until the engine's device is known; `device_now` returns None until then. `version_of` has a function
    for each analysis: its version now, see `AnalysisStage.version`.
    """

    def __init__(
        self,
        repository: JobRepository,
        uploads: Uploads,
        catalog: ModelCatalog,
        disk: Disk,
        runs: Runs,
        *,
        roots: Sequence[Path],
        paths_allowed: bool,
        default_model: Callable[[], str],
        wanted_model: str,
        max_track_seconds: float,
        disk_reserve: int,
        default_ttl: float,
        device: Callable[[], Awaitable[DeviceInfo]],
        device_now: Callable[[], DeviceInfo | None],
        bulk: InThread,
        checksum: InThread,
        version_of: Mapping[Stage, Callable[[], str]] = MappingProxyType({}),
    ) -> None:
        self._repository = repository
        self._uploads = uploads
        self._catalog = catalog
        self._disk = disk
        self._runs = runs
        self._roots = tuple(roots)
        self._paths_allowed = paths_allowed
        self._default_model = default_model
        self._wanted_model = wanted_model
        self._max_track_seconds = max_track_seconds
        self._disk_reserve = disk_reserve
        self._default_ttl = default_ttl
        self._device = device
        self._device_now = device_now
        self._bulk = bulk
        self._checksum = checksum
        self._version_of = version_of

    def resolve(self, source: Source) -> Path:
        """The file of a path source, checked again; blocks. Raises as `resolve_path` does."""
        return resolve_path(source.location, self._roots, allowed=self._paths_allowed)

    async def check(self, request: JobRequest, *, use_earlier: bool = True) -> Admitted:
        """Checks a request and builds the job to accept; starts nothing.

        With `use_earlier` it searches for an earlier result of the same content. Raises the error that says what is
        wrong with the request.
        """
        options = request.options
        check_asked(options.stages)
        stages = with_needs(options.stages)
        model: ModelDescription | None = None
        if Stage.STEMS in stages:
            model = await asyncio.to_thread(self._check_model, options.stems)
        falls_back = model is not None and not options.stems.model and model.name != self._wanted_model
        fallback_from = self._wanted_model if falls_back else ""
        path, field = await self.locate(request.source)
        checked = await asyncio.to_thread(
            check_audio, path, options.stems.playhead, self._max_track_seconds, field
        )
        seconds = checked.audio.duration_seconds or 0.0
        if model is not None:
            check_work(
                int(seconds * model.sample_rate),
                model.sample_rate,
                [model.segment_frames],
                overlap=options.stems.overlap,
                shifts=options.stems.shifts,
            )
        await asyncio.to_thread(self._check_room, seconds, model, options.stems)
        digest = await self.digest(request.source, path, checked.size)
        cached: Job | None = None
        if digest and use_earlier:
            cached = await self._earlier_result(digest, model, options)
        device = self._device_now() if model is not None else None
        name = model.name if model is not None else ""
        warnings = (
            (f"model {self._wanted_model} is not available on this server; {name} was used instead",)
            if fallback_from
            else ()
        )
        job = Job(
            job_id=request.job_id or uuid.uuid4().hex,
            run_id=uuid.uuid4().hex,
            revision=1,
            state=JobState.QUEUED,
            priority=request.priority,
            source=request.source,
            options=options,
            labels=dict(request.labels),
            model=name,
            created_at=self._repository.now(),
            fallback_from=fallback_from,
            result_ttl=request.result_ttl,
            stages=tuple(StageStatus(stage) for stage in stages),
            model_fingerprint=""
            if device is None or model is None
            else model_fingerprint_of(model.fingerprint, device),
            source_sha256=digest,
            source_bytes=checked.size,
            source_mtime_ns=checked.mtime_ns,
            warnings=warnings,
            delivery=request.delivery,
        )
        return Admitted(job, cached)

    async def digest(self, source: Source, path: Path, size: int) -> str:
        """The SHA-256 of a source of `size` bytes in lower-case hex; "" if computing it would take too long.

        Raises UploadNotFoundError, SourceNotFoundError.
        """
        if source.kind is SourceKind.UPLOAD:
            return (await self._uploads.get(source.location)).sha256
        return await self._checksum(_sha256, path) if size <= HASHED_AT_SUBMIT_BYTES else ""

    async def _earlier_result(
        self, digest: str, model: ModelDescription | None, options: JobOptions
    ) -> Job | None:
        """The newest job of this content that has the result of every requested stage.

        The same analyses and models must have made it as would now.
        """
        repository = self._repository
        # Waits for the device, which is unknown just after the start, only if there may be a result.
        if not await repository.read(repository.store.has_result_of, digest, repository.now()):
            return None
        key = KEY_WITHOUT_STEMS
        if model is not None:
            fingerprint = model_fingerprint_of(model.fingerprint, await self._device())
            key = result_key(model.name, options.stems, fingerprint)
        versions = await asyncio.to_thread(self._versions, options.stages)

        def suits(job: Job) -> bool:
            return all(map(job.has_result_of, options.stages)) and all(
                job.stage(stage).version == version for stage, version in versions.items() if job.has(stage)
            )

        return await repository.read(repository.store.find_result, digest, key, repository.now(), suits)

    def _versions(self, stages: Sequence[Stage]) -> Mapping[Stage, str]:
        """What would make the results of the stages, and of those that they need, now; blocks on the disk."""
        return {stage: self._version_of[stage]() for stage in needed_by(stages) if stage in self._version_of}

    def _check_model(self, options: StemOptions) -> ModelDescription:
        model = self._catalog.describe(options.model or self._default_model())
        if model.state is ModelState.UNAVAILABLE:
            raise ModelUnavailableError(
                f"options.stems.model: {model.reason}",
                field="options.stems.model",
                metadata={"model": model.name},
            )
        if model.sources:
            select_stems(model.sources, options.stem_names, options.two_stems)
        return model

    async def locate(self, source: Source) -> tuple[Path, str]:
        """The file of a source, and the request field that names it.

        Raises SourcePathForbiddenError, SourceNotFoundError, UploadNotFoundError, UploadIncompleteError.
        """
        if source.kind is SourceKind.UPLOAD:
            return await self._bulk(self._uploads.path_of, source.location), "source.upload_id"
        return await asyncio.to_thread(self.resolve, source), "source.path"

    def _check_room(self, seconds: float, model: ModelDescription | None, options: StemOptions) -> None:
        if model is None:
            self._disk.require(self._runs.root, mix_bytes(int(seconds * ANALYSIS_RATE)), self._disk_reserve)
            return
        stems = 2 if options.two_stems else len(options.stem_names) or len(model.sources) or 4
        frames = int(seconds * model.sample_rate)
        needed = mix_bytes(frames) + stems_bytes(
            frames, model.sample_rate, stems, options.sample_rate, options.encoding
        )
        self._disk.require(self._runs.root, needed, self._disk_reserve)

    async def prepare(self, admitted: Admitted) -> Job:
        """Creates the run's folder with the upload or an earlier result in it; returns the job in its first state.

        Raises DiskFullError, InternalError, UploadNotFoundError.
        """
        job, cached = admitted.job, admitted.cached
        if cached is not None:
            artifacts: tuple[Artifact, ...] | None = ()
            if job.has(Stage.STEMS):
                with self._runs.held(cached.run_id):
                    artifacts = await self._checksum(take_over_result, self._runs, job, cached)
            else:
                # Empty; without it the next start would report that the files of a finished job are gone.
                await asyncio.to_thread(_make_folder, self._runs.files(job.run_id).folder)
            if artifacts is not None:
                return await self._checksum(
                    _taken_over, job, cached, artifacts, self._repository.now(), self._default_ttl
                )
        if job.source.kind is SourceKind.UPLOAD:
            files = self._runs.files(job.run_id)
            await asyncio.to_thread(_make_folder, files.folder)
            await self._uploads.link_into(job.source.location, files.source)
            await asyncio.to_thread(self._runs.sync_names, job.run_id)
        return job

    async def may_still_have(self, admitted: Admitted) -> bool:
        """Whether the earlier result that a job reuses still exists with the same content; true if it reuses none.

        Call it under the lock that prevents jobs from being replaced.
        """
        cached = admitted.cached
        if cached is None:
            return True
        current = await self._repository.read(self._repository.store.get, cached.job_id)
        return (
            current is not None
            and current.run_id == cached.run_id
            and current.source_sha256 == admitted.job.source_sha256
            and cache_key(current) == cache_key(cached)
        )


def default_model(catalog: ModelCatalog, wanted: str) -> str:
    """The model of a job that names none: the configured one if its weights are available, else the embedded model."""
    try:
        if catalog.describe(wanted).state is not ModelState.UNAVAILABLE:
            return wanted
    except MismoError:
        pass
    return EMBEDDED_MODEL


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _make_folder(folder: Path) -> None:
    with disk_errors():
        folder.mkdir(parents=True, exist_ok=True)


def _taken_over(
    job: Job, cached: Job, artifacts: tuple[Artifact, ...], now: float, default_ttl: float
) -> Job:
    stages = tuple(_stage_taken_over(status, cached, now) for status in job.stages)
    waited = now - job.created_at if cached.layout is not None else None
    job = replace(job, stages=stages)
    return replace(
        job,
        state=JobState.SUCCEEDED,
        started_at=now,
        ended_at=now,
        expires_at=now + (job.result_ttl or default_ttl),
        layout=cached.layout,
        segments_done=cached.segments_total,
        segments_total=cached.segments_total,
        time_to_first_audio=waited,
        time_to_playhead_audio=waited,
        artifacts=(*artifacts, *document_artifacts(job)),
        model_fingerprint=cached.model_fingerprint,
        result_bytes=cached.result_bytes,
        stem_sha256=cached.stem_sha256,
        cache_hit=True,
    )


def _stage_taken_over(status: StageStatus, cached: Job, now: float) -> StageStatus:
    """A stage with the result of the earlier job; the earlier job may lack a stage that was not requested."""
    earlier = cached.stage(status.stage) if cached.has(status.stage) else status
    if not earlier.state.ended:
        # Jobs of earlier versions do not have this stage.
        return replace(status, state=StageState.SUCCEEDED, started_at=now, ended_at=now)
    return replace(earlier, started_at=now, ended_at=now, attempts=0)

"""The checks of a submit before its job is queued: a readable source, an available model, enough disk space."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from mismo_grpc.errors import InvalidFieldError, MismoError, ModelUnavailableError, NotSupportedYetError
from mismo_grpc.executors import InThread
from mismo_grpc.generation.generators import Generators
from mismo_grpc.jobs.job import (
    Artifact,
    Job,
    JobOptions,
    JobRequest,
    JobState,
    SourceKind,
    Stage,
    StageStatus,
    StemOptions,
)
from mismo_grpc.jobs.repository import JobRepository
from mismo_grpc.jobs.store.records import (
    GENERATED_KEY,
    KEY_WITHOUT_STEMS,
    cache_key,
    model_fingerprint_of,
    result_key,
)
from mismo_grpc.orchestration.earlier_results import with_earlier_result
from mismo_grpc.orchestration.export_checks import check_exports, check_formats, stages_to_find
from mismo_grpc.orchestration.sources import CheckedSource, Sources
from mismo_grpc.results.disk_room import mix_bytes, stems_bytes
from mismo_grpc.results.reuse import take_over_result
from mismo_grpc.results.runs import Runs
from mismo_grpc.separation.catalog import EMBEDDED_MODEL, ModelCatalog, ModelDescription, ModelState
from mismo_grpc.separation.device import DeviceInfo
from mismo_grpc.separation.grid import check_work
from mismo_grpc.separation.selection import select_stems
from mismo_grpc.stages.decode import ANALYSIS_RATE
from mismo_grpc.stages.table import check_asked, needed_by, with_needs
from mismo_grpc.storage.blobs.sources import NO_CONTAINER
from mismo_grpc.storage.disk import Disk, disk_errors
from mismo_grpc.uploads.uploads import Uploads


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
        sources: Sources,
        uploads: Uploads,
        catalog: ModelCatalog,
        disk: Disk,
        runs: Runs,
        *,
        default_model: Callable[[], str],
        wanted_model: str,
        disk_reserve: int,
        default_ttl: float,
        device: Callable[[], Awaitable[DeviceInfo]],
        device_now: Callable[[], DeviceInfo | None],
        checksum: InThread,
        generators: Generators,
        has_container: bool,
        version_of: Mapping[Stage, Callable[[], str]] = MappingProxyType({}),
    ) -> None:
        self._repository = repository
        self.sources = sources
        self._uploads = uploads
        self._catalog = catalog
        self._disk = disk
        self._runs = runs
        self._default_model = default_model
        self._wanted_model = wanted_model
        self._disk_reserve = disk_reserve
        self._default_ttl = default_ttl
        self._device = device
        self._device_now = device_now
        self._checksum = checksum
        self._generators = generators
        self._has_container = has_container
        self._version_of = version_of

    async def check(self, request: JobRequest, *, use_earlier: bool = True) -> Admitted:
        """Checks a request and builds the job to accept; starts nothing.

        With `use_earlier` it searches for an earlier result of the same content. Raises the error that says what is
        wrong with the request.
        """
        options = request.options
        check_asked(options.stages)
        stages = self._stages(options)
        if Stage.GENERATION in stages:
            return await self._check_generation(request, stages, use_earlier=use_earlier)
        model: ModelDescription | None = None
        if Stage.STEMS in stages:
            model = await asyncio.to_thread(self._check_model, options.stems)
        check_exports(options, model)
        falls_back = model is not None and not options.stems.model and model.name != self._wanted_model
        fallback_from = self._wanted_model if falls_back else ""
        checked = await self.sources.check(request.source, options.stems.playhead)
        if model is not None:
            check_work(
                int(checked.seconds * model.sample_rate),
                model.sample_rate,
                [model.segment_frames],
                overlap=options.stems.overlap,
                shifts=options.stems.shifts,
            )
        await asyncio.to_thread(self._check_room, checked, model, options.stems)
        cached: Job | None = None
        if checked.sha256 and use_earlier:
            cached = await self._earlier_result(checked.sha256, model, options)
        device = self._device_now() if model is not None else None
        name = model.name if model is not None else ""
        warnings = (
            (f"model {self._wanted_model} is not available on this server; {name} was used instead",)
            if fallback_from
            else ()
        )
        job = self._queued(
            request,
            stages,
            name,
            checked,
            fallback_from=fallback_from,
            warnings=warnings,
            model_fingerprint=""
            if device is None or model is None
            else model_fingerprint_of(model.fingerprint, device),
        )
        return Admitted(job, cached)

    def _stages(self, options: JobOptions) -> tuple[Stage, ...]:
        """All stages of a job. With a blob container its results are copied there."""
        if self._has_container:
            return with_needs((*options.stages, Stage.BLOB_UPLOAD))
        if Stage.BLOB_UPLOAD in options.stages or options.blob_prefix:
            field = "options.stages" if Stage.BLOB_UPLOAD in options.stages else "options.blob_upload"
            raise NotSupportedYetError(f"{field}: {NO_CONTAINER}, or ask for no upload to it", field=field)
        return with_needs(options.stages)

    async def _check_generation(
        self, request: JobRequest, stages: tuple[Stage, ...], *, use_earlier: bool
    ) -> Admitted:
        """Checks a job that generates stems; the checksum of its source is of the options and the generator."""
        options = request.options.generation
        if options is None:
            raise InvalidFieldError(
                "options.generation is missing: it says which stems to generate", field="options.generation"
            )
        generator, version = await asyncio.to_thread(self._generators.choose, options)
        plan = generator.plan(options)
        if request.options.export is not None:
            check_formats(request.options.export, plan.stem_names, plan.sample_rate)
        needed = 2 * plan.channels * plan.total_frames * len(plan.stem_names)
        await asyncio.to_thread(self._disk.require, self._runs.root, needed, self._disk_reserve)
        content = json.dumps([generator.name, version, asdict(options)], sort_keys=True)
        checked = CheckedSource(sha256=hashlib.sha256(content.encode()).hexdigest())
        job = self._queued(request, stages, generator.name, checked, model_fingerprint=version)
        repository, cached = self._repository, None
        if use_earlier:
            cached = await repository.read(
                repository.store.find_result,
                checked.sha256,
                GENERATED_KEY,
                repository.now(),
                partial(_has_results, stages_to_find(request.options.stages)),
            )
        return Admitted(job, cached)

    def _queued(
        self,
        request: JobRequest,
        stages: Sequence[Stage],
        model: str,
        checked: CheckedSource,
        *,
        model_fingerprint: str,
        fallback_from: str = "",
        warnings: tuple[str, ...] = (),
    ) -> Job:
        """The job of a request, as it waits in the queue."""
        return Job(
            job_id=request.job_id or uuid.uuid4().hex,
            run_id=uuid.uuid4().hex,
            revision=1,
            state=JobState.QUEUED,
            priority=request.priority,
            source=request.source,
            options=request.options,
            labels=dict(request.labels),
            model=model,
            created_at=self._repository.now(),
            fallback_from=fallback_from,
            result_ttl=request.result_ttl,
            stages=tuple(StageStatus(stage) for stage in stages),
            model_fingerprint=model_fingerprint,
            source_sha256=checked.sha256,
            source_bytes=checked.size,
            source_mtime_ns=checked.mtime_ns,
            warnings=warnings,
            delivery=request.delivery,
        )

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
            return _has_results(stages_to_find(options.stages), job) and all(
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

    def _check_room(
        self, checked: CheckedSource, model: ModelDescription | None, options: StemOptions
    ) -> None:
        # A blob is copied to the disk before it is decoded.
        seconds, copied = checked.seconds, 0 if checked.seconds else checked.size
        if model is None:
            needed = copied + mix_bytes(int(seconds * ANALYSIS_RATE))
            self._disk.require(self._runs.root, needed, self._disk_reserve)
            return
        stems = 2 if options.two_stems else len(options.stem_names) or len(model.sources) or 4
        frames = int(seconds * model.sample_rate)
        needed = (
            copied
            + mix_bytes(frames)
            + stems_bytes(frames, model.sample_rate, stems, options.sample_rate, options.encoding)
        )
        self._disk.require(self._runs.root, needed, self._disk_reserve)

    async def prepare(self, admitted: Admitted) -> Job:
        """Creates the run's folder with the upload or an earlier result in it; returns the job in its first state.

        Raises DiskFullError, InternalError, UploadNotFoundError.
        """
        job, cached = admitted.job, admitted.cached
        if cached is not None:
            artifacts: tuple[Artifact, ...] | None = ()
            if job.stem_status is not None:
                with self._runs.held(cached.run_id):
                    artifacts = await self._checksum(take_over_result, self._runs, job, cached)
            else:
                # Empty; without it the next start would report that the files of a finished job are gone.
                await asyncio.to_thread(_make_folder, self._runs.files(job.run_id).folder)
            if artifacts is not None:
                return await self._checksum(
                    with_earlier_result, job, cached, artifacts, self._repository.now(), self._default_ttl
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


def _has_results(stages: Sequence[Stage], job: Job) -> bool:
    return all(map(job.has_result_of, stages))


def _make_folder(folder: Path) -> None:
    with disk_errors():
        folder.mkdir(parents=True, exist_ok=True)

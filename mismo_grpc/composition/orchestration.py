"""Builds the parts that execute jobs: admission, queue, runner, the job service, retention."""

from __future__ import annotations

import random
from dataclasses import dataclass

from mismo_grpc.analysis.pool import AnalysisPool
from mismo_grpc.composition.analyses import analysis_stages, build_analyses
from mismo_grpc.composition.blobs import open_blob_stores
from mismo_grpc.composition.generators import build_generators
from mismo_grpc.composition.persistence import Persistence
from mismo_grpc.composition.separation import SeparationParts
from mismo_grpc.executors import Executors
from mismo_grpc.jobs.job import Stage
from mismo_grpc.orchestration.admission import Admission
from mismo_grpc.orchestration.artifact_readers import ArtifactReaders
from mismo_grpc.orchestration.blob_links import BlobLinks
from mismo_grpc.orchestration.job_changes import JobChanges
from mismo_grpc.orchestration.queue import JobQueue
from mismo_grpc.orchestration.replay import Replays
from mismo_grpc.orchestration.runner import JobRunner
from mismo_grpc.orchestration.server_status import ServerStatus
from mismo_grpc.orchestration.service import Jobs
from mismo_grpc.orchestration.sources import Sources
from mismo_grpc.orchestration.stem_readers import StemReaders
from mismo_grpc.orchestration.submissions import Submissions
from mismo_grpc.orchestration.waveform_readers import WaveformReaders
from mismo_grpc.results.copies import Copies
from mismo_grpc.results.exports.exports import Exports
from mismo_grpc.results.sweeper import Sweeper
from mismo_grpc.settings import Settings
from mismo_grpc.stages.annotation import AnnotationStage
from mismo_grpc.stages.blob_upload import BlobUploadStage
from mismo_grpc.stages.decode import DecodeStage, TrackDecoder
from mismo_grpc.stages.export import ExportStage
from mismo_grpc.stages.generation import GenerationStage
from mismo_grpc.stages.retries import BASE_DELAY_SECONDS, StageRetries
from mismo_grpc.stages.stage import StageWork
from mismo_grpc.stages.stems import StemsStage
from mismo_grpc.stages.waveforms import WaveformsStage
from mismo_grpc.storage.blobs.sources import NO_CONTAINER
from mismo_grpc.storage.boot import boot_id
from mismo_grpc.streaming.file_cache import StemFileCache


@dataclass(frozen=True)
class OrchestrationParts:
    """The parts that execute jobs; nothing runs before `jobs.recover`."""

    stem_files: StemFileCache
    copies: Copies
    exports: Exports
    decoder: TrackDecoder
    analyses: AnalysisPool
    runner: JobRunner
    jobs: Jobs
    sweeper: Sweeper
    status: ServerStatus


def build_orchestration(
    settings: Settings,
    executors: Executors,
    persistence: Persistence,
    separation: SeparationParts,
    epoch: str,
) -> OrchestrationParts:
    """Builds the parts; `epoch` identifies this start of the server."""
    repository, runs, disk = persistence.repository, persistence.runs, persistence.disk
    default_ttl = settings.job_retention_hours * 3600
    boot = boot_id()
    stem_files = StemFileCache(executors.player)
    analyses = build_analyses(settings)
    analysing = analysis_stages(analyses, settings, executors)
    generators = build_generators(settings)
    blobs = open_blob_stores(settings, executors.bulk)
    copies = Copies(blobs.container)
    sources = Sources(
        persistence.uploads,
        blobs.sources,
        roots=settings.allowed_path_prefixes,
        paths_allowed=settings.allow_file_paths,
        max_track_seconds=settings.max_track_seconds,
        max_bytes=settings.max_upload_bytes,
        bulk=executors.bulk,
        checksum=executors.checksum,
    )
    admission = Admission(
        repository,
        sources,
        persistence.uploads,
        separation.catalog,
        disk,
        runs,
        default_model=separation.default_model,
        wanted_model=settings.model,
        disk_reserve=settings.disk_reserve_bytes,
        default_ttl=default_ttl,
        device=separation.engines.device,
        device_now=separation.engines.device_now,
        checksum=executors.checksum,
        generators=generators,
        has_container=blobs.container is not None,
        version_of={work.stage: work.version for work in analysing},
    )
    decoder = TrackDecoder(
        runs,
        resolve=sources.resolve,
        sample_rate_of=lambda model: separation.catalog.describe(model).sample_rate,
        max_track_seconds=settings.max_track_seconds,
        disk=disk,
        disk_reserve=settings.disk_reserve_bytes,
        boot=boot,
    )
    exports = Exports(
        runs,
        disk=disk,
        disk_reserve=settings.disk_reserve_bytes,
        bulk=executors.bulk,
        encode=executors.export,
    )
    works: list[StageWork] = [
        DecodeStage(
            decoder,
            blobs.sources,
            max_bytes=settings.max_upload_bytes,
            disk=disk,
            disk_reserve=settings.disk_reserve_bytes,
        ),
        StemsStage(
            runs,
            stem_files,
            separation.engines.ready,
            separation.engines.load,
            disk=disk,
            disk_reserve=settings.disk_reserve_bytes,
            boot=boot,
            bulk=executors.bulk,
        ),
        WaveformsStage(runs, disk=disk, disk_reserve=settings.disk_reserve_bytes, bulk=executors.bulk),
        *analysing,
        AnnotationStage(bulk=executors.bulk),
        GenerationStage(
            runs,
            stem_files,
            generators,
            disk=disk,
            disk_reserve=settings.disk_reserve_bytes,
            bulk=executors.bulk,
            generate=executors.generator,
        ),
        ExportStage(runs, exports),
        BlobUploadStage(blobs.container, bulk=executors.bulk),
    ]
    runner = JobRunner(
        repository,
        runs,
        works,
        default_ttl=default_ttl,
        bulk=executors.bulk,
        stage_retries=StageRetries(
            settings.job_retries, settings.job_retry_delay / BASE_DELAY_SECONDS, random.Random().random
        ),
    )
    queue = JobQueue(repository, runner.run, settings.max_concurrent_jobs)
    stem_readers = StemReaders(
        repository,
        runs,
        stem_files,
        separation.scheduler,
        copies,
        segment_seconds=separation.pace.seconds,
        describe=separation.catalog.describe,
        in_thread=executors.player,
    )
    submissions = Submissions(
        repository, queue, admission, runs, persistence.uploads, settings.queue_capacity
    )
    jobs = Jobs(
        repository,
        JobChanges(repository, runner, queue, runs, separation.scheduler),
        queue,
        stem_readers,
        WaveformReaders(repository, runs, stem_files, copies, executors.bulk),
        submissions,
        Replays(
            repository,
            queue,
            runs,
            check_room=submissions.check_room,
            resolve=sources.resolve,
            in_thread=executors.checksum,
        ),
        separation.scheduler,
        BlobLinks(repository, blobs.container),
        ArtifactReaders(repository, runs, copies, exports, executors.bulk),
        epoch=epoch,
        queue_capacity=settings.queue_capacity,
        segment_seconds=separation.pace.seconds,
    )
    sweeper = Sweeper(
        repository, runs, persistence.uploads.sweep, settings.disk_budget_bytes, executors.bulk, copies
    )
    status = ServerStatus(
        separation.catalog,
        separation.pace,
        disk,
        settings.jobs_dir,
        engine=lambda: separation.engines.engine,
        default_model=separation.default_model,
        used_by_jobs=lambda: sweeper.used_bytes,
        started_at=repository.now(),
        stage_reasons={Stage.BLOB_UPLOAD: lambda: "" if blobs.container is not None else NO_CONTAINER},
    )
    return OrchestrationParts(stem_files, copies, exports, decoder, analyses, runner, jobs, sweeper, status)

"""Tries failed jobs once more: a new run that keeps what the stages made that had succeeded."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import structlog

from mismo_grpc.completion import run_to_completion
from mismo_grpc.errors import JobNotReplayableError, MismoError, check_run
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.callbacks import CallbackRow, CallbackState
from mismo_grpc.jobs.job import Artifact, Job, JobState, Source, SourceKind, Stage, StageStatus
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.jobs.stage_data import STEM_STAGES
from mismo_grpc.orchestration.queue import JobQueue
from mismo_grpc.results.documents import is_document, stage_of
from mismo_grpc.results.exports.plan import is_export
from mismo_grpc.results.exports.rendering import export_bytes
from mismo_grpc.results.reuse import take_over_result
from mismo_grpc.results.runs import Runs
from mismo_grpc.results.waveforms import WAVEFORM_PREFIX
from mismo_grpc.stages.table import ROWS, TABLE, stages_to_run
from mismo_grpc.storage.disk import disk_errors, folder_bytes

log = structlog.get_logger(__name__)


class Replays:
    """Replays failed jobs; on the event loop.

    `check_room` raises unless another job can be accepted, `resolve` the file of a path source (blocks) unless the
    server may read it. `in_thread` checks and links files.
    """

    def __init__(
        self,
        repository: JobRepository,
        queue: JobQueue,
        runs: Runs,
        *,
        check_room: Callable[[], None],
        resolve: Callable[[Source], Path],
        in_thread: InThread,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._repository = repository
        self._queue = queue
        self._runs = runs
        self._check_room = check_room
        self._resolve = resolve
        self._in_thread = in_thread
        self._new_id = new_id

    async def replay(self, job_id: str, expected_run_id: str = "") -> Job:
        """Makes a new run of a failed job and queues it; when this returns, the run is stored.

        Stages that had succeeded keep their result and their files, unless one is gone or damaged. Raises
        JobNotFoundError, RunReplacedError if the job has another run than `expected_run_id` ("": any) or gets one
        meanwhile, JobNotReplayableError, QueueFullError, ServerDrainingError, DiskFullError.
        """
        self._check_room()
        job = await self._repository.get(job_id)
        check_run(job_id, expected_run_id, job.run_id)
        if job.state is not JobState.FAILED:
            raise _not_failed(job)
        # Neither a delete nor the expiry removes the files while they are linked.
        with self._runs.held(job.run_id):
            return await run_to_completion(self._replay(job))

    async def _replay(self, job: Job) -> Job:
        run_id, accepted = self._new_id(), False
        try:
            # Outside the lock that submits wait for, as it reads all kept files.
            new = await self._in_thread(self._prepare, job, run_id, self._repository.now())
            async with self._repository.job_files_lock:
                self._check_room()
                current = await self._repository.get(job.job_id)
                check_run(job.job_id, job.run_id, current.run_id)
                await self._repository.accept(new, "", "", await self._callbacks(job, new))
                accepted = True
                await self._begin(new, job)
        finally:
            if not accepted:
                self._runs.discard(run_id)
        return new

    async def _begin(self, new: Job, old: Job) -> None:
        repository = self._repository
        repository.ended_logs.pop(new.job_id, None)
        repository.active[new.job_id] = ActiveJob.of(new)
        # Not before the new run is stored: until then a crash leaves the old one as it was.
        await self._runs.withdraw(old.job_id, old.run_id)
        self._runs.discard(old.run_id)
        kept = [status.stage.name for status in new.stages if status.state.ended]
        log.info("job replayed", job_id=new.job_id, run_id=new.run_id, replaces=old.run_id, kept=kept)
        for tell in repository.on_accepted:
            tell(new)
        repository.tell_callbacks()
        self._queue.fill()

    async def _callbacks(self, old: Job, new: Job) -> tuple[CallbackRow, ...]:
        """The callbacks of the kept stages that were not delivered: those of the old run are removed with it."""
        rows = await self._repository.read(self._repository.store.callbacks_of, old.job_id)
        told = {row.stage for row in rows if row.state is CallbackState.DELIVERED}
        return tuple(row for row in self._repository.first_callbacks(new) if row.stage not in told)

    # In a thread

    def _prepare(self, job: Job, run_id: str, now: float) -> Job:
        """Creates the new run's folder with what is kept; returns the job in its first state."""
        files = self._runs.files(run_id)
        with disk_errors():
            files.folder.mkdir(parents=True)
        new = _renewed(job, run_id, now, _stages_that_keep(job) if job.dead_letter else ())
        if new.has_stem_files:
            new = self._take_stems(job, new, now)
        with disk_errors():
            # Exports are measured, as they may also be made later.
            new = replace(new, result_bytes=folder_bytes(files.folder) - export_bytes(files))
        if Stage.DECODE in stages_to_run(new):
            self._take_source(job, run_id)
        with disk_errors():
            self._runs.sync_names(run_id)
        return new

    def _take_stems(self, job: Job, new: Job, now: float) -> Job:
        """The new run with the files of the stems; without their stage, or the waveforms', if they are damaged."""
        lost: tuple[Stage, ...] = ()
        taken = take_over_result(self._runs, new, job)
        if taken is None:
            lost = (Stage.WAVEFORMS,)
            without = tuple(a for a in job.artifacts if not a.name.startswith(WAVEFORM_PREFIX))
            taken = take_over_result(self._runs, new, replace(job, artifacts=without))
        if taken is None:
            lost, taken = STEM_STAGES, ()
        new = _renewed(job, new.run_id, now, _stages_that_keep(job, lost))
        return replace(new, artifacts=(*taken, *(a for a in new.artifacts if is_document(a.name))))

    def _take_source(self, job: Job, run_id: str) -> None:
        """Links the source into the new run; raises JobNotReplayableError if it is gone."""
        old, new = self._runs.files(job.run_id), self._runs.files(run_id)
        # That of another failed job is being removed.
        if job.dead_letter and old.source.exists():
            with disk_errors():
                os.link(old.source, new.source, follow_symlinks=False)
        elif job.source.kind is SourceKind.UPLOAD:
            raise JobNotReplayableError(
                f"job {job.job_id} cannot be replayed: its upload was removed when it failed; upload the track again "
                "and submit it",
                metadata={"job_id": job.job_id},
            )
        elif job.source.kind is SourceKind.PATH:
            try:
                self._resolve(job.source)
            except MismoError as error:
                raise JobNotReplayableError(
                    f"job {job.job_id} cannot be replayed: {error.message}; put the file back, or submit the track "
                    "again",
                    metadata={"job_id": job.job_id},
                ) from error


def _stages_that_keep(job: Job, lost: Collection[Stage] = ()) -> frozenset[Stage]:
    """The stages that keep their result: they have one, and so do the stages whose results they used.

    `lost` are stages whose files are gone. Exports are found in the files of the run, so their stage is run again.
    """
    kept: set[Stage] = set()
    for row in TABLE:
        if job.has_result_of(row.stage) and row.stage not in (*lost, Stage.EXPORT):
            used = [
                each
                for each in (*row.needs, *row.needs_one, *row.after)
                if job.has(each) and ROWS[each].durable
            ]
            if kept.issuperset(used):
                kept.add(row.stage)
    return frozenset(kept)


def _renewed(job: Job, run_id: str, now: float, kept: Collection[Stage]) -> Job:
    """A new run of the job in which the `kept` stages have their results, without the files of stems."""
    has_stems = not set(kept).isdisjoint(STEM_STAGES)
    new = replace(
        job,
        run_id=run_id,
        revision=job.revision + 1,
        state=JobState.QUEUED,
        created_at=now,
        started_at=None,
        ended_at=None,
        expires_at=None,
        stages=tuple(s if s.stage in kept else StageStatus(s.stage) for s in job.stages),
        error=None,
        artifacts=tuple(artifact for artifact in job.artifacts if _maker_of(artifact, job) in kept),
        blobs=job.blobs if Stage.BLOB_UPLOAD in kept else (),
        result_bytes=0,
        cache_hit=False,
        dead_letter=False,
    )
    if has_stems:
        return new
    return replace(
        new,
        layout=None,
        stem_sha256=(),
        segments_done=0,
        segments_total=0,
        time_to_first_audio=None,
        time_to_playhead_audio=None,
    )


def _maker_of(artifact: Artifact, job: Job) -> Stage:
    if is_document(artifact.name):
        return stage_of(artifact.name)
    if artifact.name.startswith(WAVEFORM_PREFIX):
        return Stage.WAVEFORMS
    if is_export(job, artifact.name):
        return Stage.EXPORT
    status = job.stem_status
    return Stage.STEMS if status is None else status.stage


def _not_failed(job: Job) -> JobNotReplayableError:
    metadata = {"job_id": job.job_id, "run_id": job.run_id}
    if not job.state.ended:
        remedy = "it has not ended; wait for it, or cancel it and submit the track again"
    elif job.state is JobState.CANCELLED:
        remedy = "it was cancelled; submit the track again"
    else:
        remedy = "it has succeeded; submit the track again for a new run"
    return JobNotReplayableError(f"job {job.job_id} cannot be replayed: {remedy}", metadata=metadata)

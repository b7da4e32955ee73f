"""Opens the waveform of a job: the growing peaks while its stems are made, the stored ones afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from mismo_grpc.audio.peaks import PeakFile
from mismo_grpc.broadcast import Broadcast
from mismo_grpc.completion import run_to_completion, settled
from mismo_grpc.errors import ArtifactNotFoundError, JobNotReadyError
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Job, Stage, StageState
from mismo_grpc.jobs.repository import ActiveJob
from mismo_grpc.orchestration.stem_readers import acquire_stems, ended_without, has_stems, stems_are_over
from mismo_grpc.results.stored_peaks import StoredPeaks
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.stems import StemSet
from mismo_grpc.storage.run_files import RunFiles
from mismo_grpc.streaming.file_cache import StemFileCache
from mismo_grpc.streaming.waveform_reader import GrowingWaveform

WRITING_SECONDS = 2.0
"""How long the files of a waveform are waited for by who asks for what there is, when its stems are whole."""


@asynccontextmanager
async def open_waveform(
    cache: StemFileCache,
    files: RunFiles,
    job: Job,
    active: ActiveJob | None,
    in_thread: InThread,
    *,
    wait: bool,
) -> AsyncGenerator[GrowingWaveform]:
    """The waveform of a job's run, which the caller holds; `active` is the job while it has not ended.

    With `wait` it waits until the stems are begun. Raises JobNotReadyError without `wait` before that,
    ArtifactNotFoundError if a finished run has no waveforms, or the error that ended the job.
    """
    if active is not None:
        patience = None if wait else WRITING_SECONDS if _separated(active) else 0.0
        if not await active.stems_changed.wait(lambda: _settled(active), patience):
            raise JobNotReadyError(
                "the track is not decoded yet, or what was done before a restart is being checked; "
                "ask again later (over gRPC, follow waits for it)"
            )
        job = active.job
    if not has_stems(job) and (active is None or active.separation is None):
        raise ended_without(job)
    if active is not None and active.separation is not None:
        lease = await acquire_stems(cache, files, job)
        try:
            if lease.stems.peaks is not None:
                yield _growing(active, lease.stems, lease.stems.peaks, in_thread)
                return
            job = active.job
        finally:
            lease.release()
    async with _stored(files, job, in_thread) as waveform:
        yield waveform


def _separated(active: ActiveJob) -> bool:
    """Whether the stems are whole, so that the stored waveforms are there in a moment."""
    layout = active.job.layout
    whole = layout is not None and active.ready.covers(0, layout.total_frames)
    return whole or _is_over(active.job, Stage.STEMS)


def _settled(active: ActiveJob) -> bool:
    """Whether the waveform grows, or will not change any more."""
    job = active.job
    over = _is_over(job, Stage.WAVEFORMS) or (stems_are_over(job) and not job.has(Stage.WAVEFORMS))
    return active.separation is not None or over


def _is_over(job: Job, stage: Stage) -> bool:
    return job.state.ended or any(s.stage is stage and s.state > StageState.RUNNING for s in job.stages)


def _growing(active: ActiveJob, stems: StemSet, peaks: PeakFile, in_thread: InThread) -> GrowingWaveform:
    return GrowingWaveform(
        active.job.job_id,
        active.job.run_id,
        stems.layout,
        peaks,
        lambda: stems.ready,
        active.stems_changed,
        lambda: _is_over(active.job, Stage.STEMS),
        lambda: ended_without(active.job),
        lambda: active.separation is not None and active.separation.stems is not stems,
        in_thread,
    )


@asynccontextmanager
async def _stored(files: RunFiles, job: Job, in_thread: InThread) -> AsyncGenerator[GrowingWaveform]:
    layout = job.layout
    if layout is None:
        raise ArtifactNotFoundError(f"job {job.job_id} has no waveforms; submit the track again")
    opening = asyncio.ensure_future(in_thread(StoredPeaks, files, layout))
    try:
        peaks = await asyncio.shield(opening)
        everything = RangeSet([(0, layout.total_frames)])
        yield GrowingWaveform(
            job.job_id,
            job.run_id,
            layout,
            peaks,
            lambda: everything,
            Broadcast(),
            lambda: True,
            lambda: ended_without(job),
            in_thread=in_thread,
        )
    finally:
        await run_to_completion(_close(opening))


async def _close(opening: asyncio.Future[StoredPeaks]) -> None:
    """Closes the files, also if the caller left while they were being opened."""
    await settled([opening])
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()

"""Opens the waveform of a job: the growing peaks during separation, the stored waveforms afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from mismo_grpc.audio.peaks import PeakFile
from mismo_grpc.broadcast import Broadcast
from mismo_grpc.completion import run_to_completion, wait_ended
from mismo_grpc.errors import ArtifactNotFoundError, JobNotReadyError, check_run
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Job, JobState, Stage, StageState, StageStatus
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.orchestration.stem_readers import acquire_stems, ended_without
from mismo_grpc.results.copied_artifacts import has_waveforms, read_copied_peaks
from mismo_grpc.results.copies import Copies
from mismo_grpc.results.runs import Runs
from mismo_grpc.results.stored_peaks import StoredPeaks
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.stems import StemSet
from mismo_grpc.storage.run_files import RunFiles
from mismo_grpc.streaming.file_cache import StemFileCache
from mismo_grpc.streaming.waveform_reader import GrowingWaveform, PeakSource

WRITING_SECONDS = 2.0
"""How long a request without `wait` waits for the waveform files once the stems are complete."""

_WITHOUT_RESULT = (StageState.FAILED, StageState.CANCELLED, StageState.SKIPPED)


class WaveformReaders:
    """Opens the waveforms of jobs for reading; on the event loop only."""

    def __init__(
        self,
        repository: JobRepository,
        runs: Runs,
        stem_files: StemFileCache,
        copies: Copies,
        in_thread: InThread,
    ) -> None:
        """`in_thread` opens and reads the files."""
        self._repository = repository
        self._runs = runs
        self._stem_files = stem_files
        self._copies = copies
        self._in_thread = in_thread

    @asynccontextmanager
    async def open(
        self, job: Job, expected_run_id: str = "", *, wait: bool = False
    ) -> AsyncGenerator[GrowingWaveform]:
        """The waveform of a job; its run is held meanwhile.

        With `wait` it waits until the separation begins; without, it raises JobNotReadyError before that. Also raises
        RunReplacedError, ArtifactNotFoundError if a finished run has no waveforms, BlobError if they are only in the
        container and it cannot be read, or the error that ended the job.
        """
        check_run(job.job_id, expected_run_id, job.run_id)
        active = self._repository.active.get(job.job_id)
        if active is not None and active.job.run_id != job.run_id:
            active = None
        with self._runs.held(job.run_id) as files:
            if active is not None:
                await _wait_until_settled(active, wait=wait)
                job = active.job
            status = job.stem_status
            without = status is not None and status.state in _WITHOUT_RESULT
            if without or job.state in (JobState.FAILED, JobState.CANCELLED):
                raise ended_without(job)
            if active is not None and active.stems is not None:
                lease = await acquire_stems(self._stem_files, files, job, self._copies)
                try:
                    if isinstance(lease.stems, StemSet) and lease.stems.peaks is not None:
                        yield _growing(active, lease.stems, lease.stems.peaks, self._in_thread)
                        return
                    job = active.job
                finally:
                    lease.release()
            if status is None:
                raise ArtifactNotFoundError(
                    f"job {job.job_id} makes no stems, so it has no waveforms; "
                    "submit the track with STAGE_STEMS among options.stages"
                )
            async with _stored(files, job, self._copies, self._in_thread) as waveform:
                yield waveform


async def _wait_until_settled(active: ActiveJob, *, wait: bool) -> None:
    patience = None if wait else WRITING_SECONDS if _separated(active) else 0.0
    if not await active.stems_changed.wait(lambda: _settled(active), patience):
        raise JobNotReadyError(
            "the track is not decoded yet, or what was done before a restart is being checked; "
            "ask again later (over gRPC, follow waits for it)"
        )


def _separated(active: ActiveJob) -> bool:
    """Whether the stems are complete, so that the stored waveforms will exist soon."""
    layout = active.job.layout
    whole = layout is not None and active.ready.covers(0, layout.total_frames)
    return whole or _stems_are_over(active.job)


def _settled(active: ActiveJob) -> bool:
    """Whether the waveform grows or is final."""
    job = active.job
    never = job.stem_status is None
    waveforms = job.stage(Stage.WAVEFORMS) if job.has(Stage.WAVEFORMS) else None
    return active.stems is not None or never or _is_over(job, waveforms)


def _stems_are_over(job: Job) -> bool:
    return _is_over(job, job.stem_status)


def _is_over(job: Job, status: StageStatus | None) -> bool:
    # The end of the job follows a cancelled stage, and has the reason.
    going_on = (StageState.PENDING, StageState.RUNNING, StageState.CANCELLED)
    return job.state.ended or (status is not None and status.state not in going_on)


def _growing(active: ActiveJob, stems: StemSet, peaks: PeakFile, in_thread: InThread) -> GrowingWaveform:
    return GrowingWaveform(
        active.job.job_id,
        active.job.run_id,
        stems.layout,
        peaks,
        lambda: stems.ready,
        active.stems_changed,
        lambda: _stems_are_over(active.job),
        lambda: ended_without(active.job),
        lambda: active.stems is not None and active.stems is not stems,
        in_thread,
    )


@asynccontextmanager
async def _stored(
    files: RunFiles, job: Job, copies: Copies, in_thread: InThread
) -> AsyncGenerator[GrowingWaveform]:
    layout = job.layout
    if layout is None:
        raise ArtifactNotFoundError(f"job {job.job_id} has no waveforms; submit the track again")
    opening = asyncio.ensure_future(in_thread(StoredPeaks, files, layout))
    try:
        try:
            peaks: PeakSource = await asyncio.shield(opening)
        except ArtifactNotFoundError:
            if not has_waveforms(copies, job):
                raise
            peaks = await read_copied_peaks(copies, job, layout, in_thread)
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
    """Closes the files, even if the caller was cancelled while they were opened."""
    await wait_ended([opening])
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()

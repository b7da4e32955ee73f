"""One job's way from the queue to its end: decode, separate, finish."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from mismo_grpc.audio.decode import DecodedMix
from mismo_grpc.completion import run_to_completion, settled
from mismo_grpc.errors import (
    DiskFullError,
    InternalError,
    JobNotReadyError,
    MismoError,
    disk_error,
)
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.events import EventKind
from mismo_grpc.jobs.job import Job, JobFailure, JobState, Stage, StageState, StageStatus
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.jobs.store.records import model_fingerprint_of
from mismo_grpc.orchestration.sources import playhead_error
from mismo_grpc.results.disk_room import check_room_for_stems
from mismo_grpc.results.finishing import Results, write_results
from mismo_grpc.results.runs import Runs
from mismo_grpc.separation.engine import SegmentEngine, Separation, SeparationSpec
from mismo_grpc.separation.models import Bag
from mismo_grpc.stages.decode import TrackDecoder
from mismo_grpc.storage.disk import Disk
from mismo_grpc.streaming.file_cache import StemFileCache

log = structlog.get_logger(__name__)

STORE_RETRY_SECONDS = 2.0


class JobRunner:
    """Carries jobs out; one `run` a job, each in its own task."""

    def __init__(
        self,
        repository: JobRepository,
        stem_files: StemFileCache,
        engine: Callable[[], Awaitable[SegmentEngine]],
        load: Callable[[str], Awaitable[Bag]],
        decoder: TrackDecoder,
        runs: Runs,
        *,
        default_ttl: float,
        disk: Disk,
        disk_reserve: int,
        boot: str,
        bulk: InThread,
    ) -> None:
        self._repository = repository
        self._stem_files = stem_files
        self._engine = engine
        self._load = load
        self._decoder = decoder
        self._runs = runs
        self._default_ttl = default_ttl
        self._disk = disk
        self._disk_reserve = disk_reserve
        self._boot = boot
        self._bulk = bulk

    async def run(self, active: ActiveJob) -> None:
        """Carries a job to its end, whatever that is; a cancelled task leaves it as stored, to go on later."""
        try:
            await self._carry_out(active)
        except MismoError as error:
            await self._fail(active, error)
        except OSError as error:
            log.error("job could not use its files", job_id=active.job.job_id, exc_info=True)
            await self._fail(active, disk_error(error))
        except Exception:
            log.error("job failed unexpectedly", job_id=active.job.job_id, exc_info=True)
            await self._fail(active, InternalError("the server failed on this job; its log says why"))

    async def _carry_out(self, active: ActiveJob) -> None:
        now = self._repository.now
        stage = StageStatus(Stage.DECODE, StageState.RUNNING, now())
        await self._repository.record(
            active,
            lambda job: replace(job, state=JobState.RUNNING, started_at=job.started_at or now()).with_stage(
                stage
            ),
            EventKind.STAGE,
            stage,
        )
        engine = await self._engine()
        with engine.scheduler.expecting(int(active.job.priority)):
            mix, bag = await self._decode_and_load(active)
            spec = self._spec(active, mix, bag, engine)
            await self._bulk(check_room_for_stems, self._disk, self._disk_reserve, spec, bag)
            separation = await self._open(engine, spec, bag)
        active.separation = separation
        # What UpdateJob asked for while the files were opened.
        engine.scheduler.set_priority(separation.scheduled, int(active.job.priority))
        frame = separation.frame_at(active.job.options.stems.playhead)
        if frame != (spec.start_frame if spec.playing else None):
            engine.scheduler.suggest(separation.scheduled, frame)
        lease = self._stem_files.put(active.job.run_id, separation.stems)
        try:
            await self._separate(active, separation, stage)
            await self._finish(active, separation, engine)
        except BaseException:
            engine.cancel(separation, JobNotReadyError("the job was stopped"))
            raise
        finally:
            active.separation = None
            try:
                await run_to_completion(asyncio.to_thread(engine.quiesce, separation))
            finally:
                # Also if the job was stopped a second time while it waited.
                lease.release()

    async def _open(self, engine: SegmentEngine, spec: SeparationSpec, bag: Bag) -> Separation:
        opening = asyncio.ensure_future(asyncio.to_thread(engine.open, spec, bag))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            await run_to_completion(self._discard(opening, engine))
            raise

    async def _discard(self, opening: asyncio.Future[Separation], engine: SegmentEngine) -> None:
        """Closes a separation that nobody wants any more, once it is open."""
        await settled([opening])
        if not opening.cancelled() and opening.exception() is None:
            separation = opening.result()
            engine.cancel(separation, JobNotReadyError("the job was stopped"))
            await asyncio.to_thread(engine.quiesce, separation)
            separation.stems.close()

    async def _decode_and_load(self, active: ActiveJob) -> tuple[DecodedMix, Bag]:
        decoding = asyncio.ensure_future(self._decoder.decode(active.job))
        loading = asyncio.ensure_future(self._load(active.job.model))
        both = (decoding, loading)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_EXCEPTION)
            for task in both:
                if task.done():
                    task.result()
            return decoding.result(), loading.result()
        finally:
            for task in both:
                task.cancel()
            await run_to_completion(settled(both))

    def _spec(self, active: ActiveJob, mix: DecodedMix, bag: Bag, engine: SegmentEngine) -> SeparationSpec:
        job, options = active.job, active.job.options.stems
        seconds = mix.frames / mix.sample_rate
        playhead = options.playhead
        # One that came by UpdateJob, when nobody knew the length, ends no job.
        if not job.playhead_moved and playhead is not None and playhead >= seconds:
            raise playhead_error(playhead, seconds)
        return SeparationSpec(
            mix,
            self._runs.files(job.run_id),
            options.stem_names,
            options.two_stems,
            options.shifts,
            options.overlap,
            options.encoding,
            options.sample_rate,
            int(job.priority),
            # The time of day may be set back or forth; the scheduler's clock is not.
            engine.scheduler.clock() - max(0.0, self._repository.now() - job.created_at),
            min(int((playhead or 0.0) * mix.sample_rate), mix.frames - 1),
            playing=playhead is not None,
            boot=self._boot,
            model_fingerprint=model_fingerprint_of(bag.fingerprint, engine.devices[0].info()),
            job_id=job.job_id,
        )

    async def _separate(self, active: ActiveJob, separation: Separation, decoded: StageStatus) -> None:
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()

        def wake() -> None:
            woken.set()
            active.stems_changed.notify()

        def wake_from_thread(_: object = None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(wake)

        unsubscribe = separation.stems.subscribe(wake_from_thread)
        separation.finished.add_done_callback(wake_from_thread)
        try:
            active.segments_before = separation.segments_done
            active.separating_since = time.monotonic()
            await self._announce(active, separation, decoded)
            wake()
            while True:
                await woken.wait()
                woken.clear()
                over = separation.finished.done()
                if active.job.segments_done != separation.segments_done:
                    active.progressed_at = time.monotonic()
                fresh = _difference(separation, active)
                if fresh:
                    await self._repository.record(
                        active, self._progressed(active, separation), EventKind.SEGMENT_READY, fresh
                    )
                elif active.job.segments_done != separation.segments_done:
                    active.job = replace(active.job, segments_done=separation.segments_done)
                    active.event_log.touch()
                if over:
                    separation.finished.result()
                    return
        finally:
            unsubscribe()

    async def _announce(self, active: ActiveJob, separation: Separation, decoded: StageStatus) -> None:
        """Records that the track is decoded and what its stems will be."""
        now = self._repository.now
        mix = separation.spec.mix
        done = replace(decoded, state=StageState.SUCCEEDED, ended_at=now())
        running = StageStatus(Stage.STEMS, StageState.RUNNING, now())
        warnings = active.job.warnings
        if mix.nonfinite_samples:
            warnings = (
                *warnings,
                f"{mix.nonfinite_samples} samples of the source were not numbers; they were made silent",
            )

        def known(job: Job) -> Job:
            return replace(
                job,
                layout=separation.stems.layout,
                segments_total=len(separation.plan.segments),
                model_fingerprint=separation.spec.model_fingerprint,
                source_sha256=job.source_sha256 if mix.source_sha256 is None else mix.source_sha256,
                warnings=tuple(dict.fromkeys(warnings)),
            ).with_stage(done)

        await self._repository.record(active, known, EventKind.STAGE, done)
        await self._repository.record(active, lambda job: job.with_stage(running), EventKind.STAGE, running)
        active.stems_changed.notify()

    def _progressed(self, active: ActiveJob, separation: Separation) -> Callable[[Job], Job]:
        now = self._repository.now()
        first = now - active.job.created_at

        def progressed(job: Job) -> Job:
            return replace(
                job,
                segments_done=separation.segments_done,
                time_to_first_audio=first if job.time_to_first_audio is None else job.time_to_first_audio,
            ).with_playhead_audio(separation.stems.ready, now)

        return progressed

    async def _finish(self, active: ActiveJob, separation: Separation, engine: SegmentEngine) -> None:
        ended = self._repository.now()
        results = await run_to_completion(
            self._bulk(
                write_results,
                self._runs,
                active.job,
                separation.stems,
                self._disk,
                self._disk_reserve,
                ended,
            )
        )
        await run_to_completion(self._succeed(active, separation, engine, results, ended))

    async def _succeed(
        self, active: ActiveJob, separation: Separation, engine: SegmentEngine, results: Results, ended: float
    ) -> None:
        stage = replace(active.job.stage(Stage.STEMS), state=StageState.SUCCEEDED, ended_at=ended)

        def succeeded(job: Job) -> Job:
            return replace(
                job,
                state=JobState.SUCCEEDED,
                ended_at=ended,
                expires_at=ended + (job.result_ttl or self._default_ttl),
                segments_done=job.segments_total,
                artifacts=results.artifacts,
                stem_sha256=results.stem_sha256,
                result_bytes=results.bytes,
            ).with_stage(stage)

        async def link() -> None:
            await self._runs.publish(active.job.job_id, active.job.run_id)

        try:
            await self._repository.record(
                active, lambda job: job.with_stage(stage), EventKind.STAGE, stage, must_write=True
            )
            await self._repository.record(
                active, succeeded, EventKind.TERMINAL, must_write=True, before_publishing=link
            )
        except DiskFullError:
            # The work files go now anyway, and may be the room that is missing.
            await self._bulk(engine.remove_work, separation)
            await self._repository.record(active, succeeded, EventKind.TERMINAL, before_publishing=link)
        active.stems_changed.notify()
        await self._bulk(self._remove_needless, separation, engine)

    def _remove_needless(self, separation: Separation, engine: SegmentEngine) -> None:
        engine.remove_work(separation)
        separation.spec.files.source.unlink(missing_ok=True)

    async def _fail(self, active: ActiveJob, error: MismoError) -> None:
        failure = JobFailure.of(error)
        log.warning("job failed", job_id=active.job.job_id, reason=failure.reason, message=error.message)
        while True:
            try:
                await run_to_completion(self.end(active, JobState.FAILED, StageState.FAILED, failure))
                return
            except MismoError as trouble:
                log.error(
                    "the end of a job cannot be stored; it is tried again",
                    job_id=active.job.job_id,
                    reason=trouble.message,
                )
                await asyncio.sleep(STORE_RETRY_SECONDS)

    async def end(
        self, active: ActiveJob, state: JobState, stage_state: StageState, failure: JobFailure | None
    ) -> None:
        """Ends a job that has no result and removes its files; stages that were not done get `stage_state`.

        A job that has ended stays as it is. Raises DiskFullError or StoreError if the end cannot be stored.
        """
        if active.job.state.ended:
            return
        try:
            await self._record_end(active, state, stage_state, failure)
        except MismoError:
            # The files go now anyway, and may be the room that is missing.
            await self._bulk(self._remove_results, active.job)
            await self._record_end(active, state, stage_state, failure)
        active.stems_changed.notify()
        if active.job.state is not JobState.SUCCEEDED:
            self._runs.discard(active.job.run_id)

    async def _record_end(
        self, active: ActiveJob, state: JobState, stage_state: StageState, failure: JobFailure | None
    ) -> None:
        now = self._repository.now()
        open_states = (StageState.PENDING, StageState.RUNNING)
        stages = tuple(
            replace(s, state=stage_state, ended_at=now, error=failure) if s.state in open_states else s
            for s in active.job.stages
        )

        def ended(job: Job) -> Job:
            return replace(
                job,
                state=state,
                ended_at=now,
                expires_at=now + (job.result_ttl or self._default_ttl),
                error=failure,
                stages=stages,
            )

        for changed, before in zip(stages, active.job.stages, strict=True):
            if changed is not before and before.state is StageState.RUNNING:
                await self._repository.record(
                    active,
                    lambda job, s=changed: job.with_stage(s),
                    EventKind.STAGE,
                    changed,
                    must_write=True,
                )
        await self._repository.record(active, ended, EventKind.TERMINAL, must_write=True)

    def _remove_results(self, job: Job) -> None:
        """All but the source, which a restart needs as long as the job's end is not stored."""
        files = self._runs.files(job.run_id)
        for folder in (files.stems, files.work):
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Ends the decoding threads."""
        self._decoder.close()


def _difference(separation: Separation, active: ActiveJob) -> tuple[tuple[int, int], ...]:
    """Ready ranges that were not announced yet."""
    fresh: list[tuple[int, int]] = []
    for start, end in separation.stems.ready:
        fresh.extend(active.ready.missing(start, end))
    return tuple(fresh)

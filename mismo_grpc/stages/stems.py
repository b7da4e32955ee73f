"""Separates the stems of a track, segment by segment in the engine; they can be read while they grow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from mismo_grpc.completion import run_to_completion, wait_ended
from mismo_grpc.errors import JobNotReadyError, PlayheadBeyondEndError
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Job, Stage
from mismo_grpc.jobs.store.records import model_fingerprint_of
from mismo_grpc.results.disk_room import check_room_for_stems
from mismo_grpc.results.finishing import write_stem_results
from mismo_grpc.results.runs import Runs
from mismo_grpc.separation.engine import SegmentEngine, Separation, SeparationSpec
from mismo_grpc.separation.models import Bag
from mismo_grpc.stages.context import StageContext
from mismo_grpc.stages.growing_stems import record_growth, with_results
from mismo_grpc.stages.stage import Retry, StageResult
from mismo_grpc.storage.disk import Disk
from mismo_grpc.streaming.file_cache import StemFileCache


class StemsStage:
    """Separates the stems. The engine repeats failed segments and waits for memory, so the stage has no retries."""

    stage = Stage.STEMS
    retries: Sequence[Retry] = ()

    def __init__(
        self,
        runs: Runs,
        stem_files: StemFileCache,
        engine: Callable[[], Awaitable[SegmentEngine]],
        load: Callable[[str], Awaitable[Bag]],
        *,
        disk: Disk,
        disk_reserve: int,
        boot: str,
        bulk: InThread,
    ) -> None:
        """`engine` waits for the engine, `load` loads a model; `boot` is the id of this boot, "" if unknown."""
        self._runs = runs
        self._stem_files = stem_files
        self._engine = engine
        self._load = load
        self._disk = disk
        self._disk_reserve = disk_reserve
        self._boot = boot
        self._bulk = bulk

    def time_limit(self, audio_seconds: float) -> float | None:
        """See StageWork: no limit, because segments of other jobs may be computed first."""
        return None

    async def run(self, context: StageContext) -> StageResult:
        """See StageWork. The model is loaded while the track is decoded."""
        with ExitStack() as expecting:
            engine, bag = await context.beside_needs(self._prepare(context, expecting))
            spec = self._spec(context, bag, engine)
            await self._bulk(check_room_for_stems, self._disk, self._disk_reserve, spec, bag)
            separation = await self._open(engine, spec, bag)
        active = context.active
        active.separation, active.stems = separation, separation.stems
        # Applies an UpdateJob that came while the files were opened.
        engine.scheduler.set_priority(separation.scheduled, int(active.job.priority))
        frame = separation.frame_at(active.job.options.stems.playhead)
        if frame != (spec.start_frame if spec.playing else None):
            engine.scheduler.suggest(separation.scheduled, frame)
        lease = self._stem_files.put(active.job.run_id, separation.stems)
        # Readers that wait for the files need not wait until the layout is stored.
        active.stems_changed.notify()
        try:
            await record_growth(context, separation, lambda job: _opened(job, separation))
            results = await run_to_completion(
                self._bulk(write_stem_results, self._runs, active.job, separation.stems, context.now)
            )
        except BaseException:
            engine.cancel(separation, JobNotReadyError("the job was stopped"))
            raise
        finally:
            active.separation = active.stems = None
            try:
                await run_to_completion(asyncio.to_thread(engine.quiesce, separation))
            finally:
                # Completes even if the job is stopped a second time meanwhile.
                lease.release()
        context.memory.separated = True
        return StageResult(
            artifacts=results.artifacts, bytes=results.bytes, change=lambda job: with_results(job, results)
        )

    async def _prepare(self, context: StageContext, expecting: ExitStack) -> tuple[SegmentEngine, Bag]:
        engine = await self._engine()
        expecting.enter_context(engine.scheduler.expecting(int(context.job.priority)))
        return engine, await self._load(context.job.model)

    async def _open(self, engine: SegmentEngine, spec: SeparationSpec, bag: Bag) -> Separation:
        opening = asyncio.ensure_future(asyncio.to_thread(engine.open, spec, bag))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            await run_to_completion(_discard(opening, engine))
            raise

    def _spec(self, context: StageContext, bag: Bag, engine: SegmentEngine) -> SeparationSpec:
        mix, job, options = context.mix, context.job, context.job.options.stems
        seconds = mix.frames / mix.sample_rate
        playhead = options.playhead
        # A playhead set by UpdateJob before the length was known must not fail the job.
        if not job.playhead_moved and playhead is not None and playhead >= seconds:
            raise playhead_error(playhead, seconds)
        return SeparationSpec(
            mix,
            context.files,
            options.stem_names,
            options.two_stems,
            options.shifts,
            options.overlap,
            options.encoding,
            options.sample_rate,
            int(job.priority),
            # The time of day may be changed; the scheduler's clock is monotonic.
            engine.scheduler.clock() - max(0.0, context.now - job.created_at),
            min(int((playhead or 0.0) * mix.sample_rate), mix.frames - 1),
            playing=playhead is not None,
            boot=self._boot,
            model_fingerprint=model_fingerprint_of(bag.fingerprint, engine.devices[0].info()),
            job_id=job.job_id,
        )


def playhead_error(
    playhead: float, seconds: float, field: str = "options.stems.playhead"
) -> PlayheadBeyondEndError:
    """Builds the error for a playhead in the request's `field` that is past the end of a track of `seconds`."""
    return PlayheadBeyondEndError(
        f"{field}: {playhead:g} s is past the end of the track ({seconds:.3f} s)", field=field
    )


async def _discard(opening: asyncio.Future[Separation], engine: SegmentEngine) -> None:
    """Closes a separation that is no longer needed, once it is open."""
    await wait_ended([opening])
    if not opening.cancelled() and opening.exception() is None:
        separation = opening.result()
        engine.cancel(separation, JobNotReadyError("the job was stopped"))
        await asyncio.to_thread(engine.quiesce, separation)
        separation.stems.close()


def _opened(job: Job, separation: Separation) -> Job:
    return replace(
        job,
        layout=separation.stems.layout,
        segments_total=len(separation.plan.segments),
        model_fingerprint=separation.spec.model_fingerprint,
    )

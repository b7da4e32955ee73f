"""The stems of a track: separated segment by segment in the engine, readable as they grow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from mismo_grpc.completion import run_to_completion, wait_ended
from mismo_grpc.errors import JobNotReadyError, PlayheadBeyondEndError
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Job, Stage
from mismo_grpc.jobs.repository import ActiveJob
from mismo_grpc.jobs.store.records import model_fingerprint_of
from mismo_grpc.results.disk_room import check_room_for_stems
from mismo_grpc.results.finishing import StemResults, write_stem_results
from mismo_grpc.results.runs import Runs
from mismo_grpc.separation.engine import SegmentEngine, Separation, SeparationSpec
from mismo_grpc.separation.models import Bag
from mismo_grpc.stages.context import StageContext
from mismo_grpc.stages.stage import Retry, StageResult
from mismo_grpc.storage.disk import Disk
from mismo_grpc.streaming.file_cache import StemFileCache


class StemsStage:
    """Separates the stems. The engine tries a failed segment again, and waits for memory: an attempt here is enough."""

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
        """`engine` waits for the engine, `load` makes a model warm; `boot` is the id of this boot, "" if unknown."""
        self._runs = runs
        self._stem_files = stem_files
        self._engine = engine
        self._load = load
        self._disk = disk
        self._disk_reserve = disk_reserve
        self._boot = boot
        self._bulk = bulk

    def time_limit(self, audio_seconds: float) -> float | None:
        """See StageWork: others go first, so no time is too long."""
        return None

    async def run(self, context: StageContext) -> StageResult:
        """See StageWork. The model is loaded while the track is decoded."""
        with ExitStack() as expecting:
            engine, bag = await context.beside_needs(self._prepare(context, expecting))
            spec = self._spec(context, bag, engine)
            await self._bulk(check_room_for_stems, self._disk, self._disk_reserve, spec, bag)
            separation = await self._open(engine, spec, bag)
        active = context.active
        active.separation = separation
        # What UpdateJob asked for while the files were opened.
        engine.scheduler.set_priority(separation.scheduled, int(active.job.priority))
        frame = separation.frame_at(active.job.options.stems.playhead)
        if frame != (spec.start_frame if spec.playing else None):
            engine.scheduler.suggest(separation.scheduled, frame)
        lease = self._stem_files.put(active.job.run_id, separation.stems)
        # Readers that waited for the files need not wait until their form is stored.
        active.stems_changed.notify()
        try:
            await self._separate(context, separation)
            results = await run_to_completion(
                self._bulk(write_stem_results, self._runs, active.job, separation.stems, context.now)
            )
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
        context.memory.separated = True
        return StageResult(
            artifacts=results.artifacts, bytes=results.bytes, change=lambda job: _separated(job, results)
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
        # One that came by UpdateJob, when nobody knew the length, ends no job.
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
            # The time of day may be set back or forth; the scheduler's clock is not.
            engine.scheduler.clock() - max(0.0, context.now - job.created_at),
            min(int((playhead or 0.0) * mix.sample_rate), mix.frames - 1),
            playing=playhead is not None,
            boot=self._boot,
            model_fingerprint=model_fingerprint_of(bag.fingerprint, engine.devices[0].info()),
            job_id=job.job_id,
        )

    async def _separate(self, context: StageContext, separation: Separation) -> None:
        """Records what becomes final until all is; readers, and this, are woken once a segment."""
        active, loop = context.active, asyncio.get_running_loop()

        def wake(_: object = None) -> None:
            """In a thread of the engine."""
            if not loop.is_closed():
                loop.call_soon_threadsafe(active.stems_changed.notify)

        def is_news() -> bool:
            return (
                separation.finished.done()
                or active.job.segments_done != separation.segments_done
                or bool(_fresh(separation, active))
            )

        unsubscribe = separation.stems.subscribe(wake)
        separation.finished.add_done_callback(wake)
        try:
            active.segments_before = separation.segments_done
            active.separating_since = time.monotonic()
            await context.begin(lambda job: _opened(job, separation))
            while True:
                await active.stems_changed.wait(is_news, None)
                over = separation.finished.done()
                await self._record_progress(context, separation)
                if over:
                    separation.finished.result()
                    return
        finally:
            unsubscribe()

    async def _record_progress(self, context: StageContext, separation: Separation) -> None:
        active = context.active
        if active.job.segments_done != separation.segments_done:
            active.progressed_at = time.monotonic()
        fresh = _fresh(separation, active)
        if fresh:
            now = context.now
            await context.segments_ready(fresh, lambda job: _progressed(job, separation, now))
        elif active.job.segments_done != separation.segments_done:
            active.job = replace(active.job, segments_done=separation.segments_done)
            active.event_log.touch()


def playhead_error(
    playhead: float, seconds: float, field: str = "options.stems.playhead"
) -> PlayheadBeyondEndError:
    """The playhead in the request's `field` lies past the end of a track of `seconds`."""
    return PlayheadBeyondEndError(
        f"{field}: {playhead:g} s is past the end of the track ({seconds:.3f} s)", field=field
    )


async def _discard(opening: asyncio.Future[Separation], engine: SegmentEngine) -> None:
    """Closes a separation that nobody wants any more, once it is open."""
    await wait_ended([opening])
    if not opening.cancelled() and opening.exception() is None:
        separation = opening.result()
        engine.cancel(separation, JobNotReadyError("the job was stopped"))
        await asyncio.to_thread(engine.quiesce, separation)
        separation.stems.close()


def _fresh(separation: Separation, active: ActiveJob) -> tuple[tuple[int, int], ...]:
    """Ready ranges that were not announced yet."""
    fresh: list[tuple[int, int]] = []
    for start, end in separation.stems.ready:
        fresh.extend(active.ready.missing(start, end))
    return tuple(fresh)


def _opened(job: Job, separation: Separation) -> Job:
    return replace(
        job,
        layout=separation.stems.layout,
        segments_total=len(separation.plan.segments),
        model_fingerprint=separation.spec.model_fingerprint,
    )


def _progressed(job: Job, separation: Separation, now: float) -> Job:
    first = now - job.created_at
    return replace(
        job,
        segments_done=separation.segments_done,
        time_to_first_audio=first if job.time_to_first_audio is None else job.time_to_first_audio,
    ).with_playhead_audio(separation.stems.ready, now)


def _separated(job: Job, results: StemResults) -> Job:
    return replace(job, segments_done=job.segments_total, stem_sha256=results.stem_sha256)

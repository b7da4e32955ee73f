"""Generates stems that did not exist before, block by block; they can be read while they grow."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from math import ceil

import numpy as np
import numpy.typing as npt

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.completion import run_to_completion, wait_ended
from mismo_grpc.errors import JobNotReadyError, disk_error
from mismo_grpc.executors import InThread
from mismo_grpc.generation.generator import GenerationPlan, StemGenerator
from mismo_grpc.generation.generators import Generators
from mismo_grpc.generation.options import GenerationOptions
from mismo_grpc.jobs.job import Job, Stage
from mismo_grpc.results.finishing import write_stem_results
from mismo_grpc.results.runs import Runs
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.stems import StemLayout, StemSet
from mismo_grpc.slots import Slots
from mismo_grpc.stages.context import StageContext
from mismo_grpc.stages.growing_stems import record_growth, with_results
from mismo_grpc.stages.stage import Retry, StageResult
from mismo_grpc.storage.disk import Disk
from mismo_grpc.storage.run_files import RunFiles
from mismo_grpc.streaming.file_cache import StemFileCache

Block = tuple[int, npt.NDArray[np.float32]]


class GenerationStage:
    """Generates stems with the generator that the job names.

    Each generator renders one block at a time, of the most urgent job. After a restart it begins again: the same
    options give the same bytes.
    """

    stage = Stage.GENERATION
    retries: Sequence[Retry] = ()

    def __init__(
        self,
        runs: Runs,
        stem_files: StemFileCache,
        generators: Generators,
        *,
        disk: Disk,
        disk_reserve: int,
        bulk: InThread,
        generate: InThread,
    ) -> None:
        """`generate` renders a block in a thread, one of each generator at once; `bulk` runs what else blocks."""
        self._runs = runs
        self._stem_files = stem_files
        self._generators = generators
        self._disk = disk
        self._disk_reserve = disk_reserve
        self._bulk = bulk
        self._generate = generate
        self.turns: defaultdict[str, Slots] = defaultdict(lambda: Slots(1))
        """Who renders next, by the name of the generator: a slow one does not delay the others."""

    def time_limit(self, audio_seconds: float) -> float | None:
        """See StageWork: no limit, because blocks of other jobs may be rendered first."""
        return None

    async def run(self, context: StageContext) -> StageResult:
        """See StageWork."""
        await context.needs()
        active = context.active
        options = active.job.options.generation
        assert options is not None
        generator = self._generators.named(active.job.model)
        plan = generator.plan(options)
        version = await asyncio.to_thread(generator.version)
        stems = await self._opened(context.files, layout_of(plan))
        generated = _Generated(stems, ceil(plan.total_frames / plan.sample_rate))
        lease = self._stem_files.put(active.job.run_id, stems)
        active.stems = stems
        # Readers that wait for the files need not wait until the layout is stored.
        active.stems_changed.notify()
        rendering = asyncio.create_task(self._render(context, generator, options, generated))

        def begun(job: Job) -> Job:
            return replace(
                job, layout=stems.layout, segments_total=generated.segments, model_fingerprint=version
            )

        try:
            await record_growth(context, generated, begun)
            results = await run_to_completion(
                self._bulk(write_stem_results, self._runs, active.job, stems, context.now)
            )
        finally:
            generated.stopped.set()
            rendering.cancel()
            active.stems = None
            try:
                await run_to_completion(wait_ended([rendering]))
            finally:
                lease.release()
        context.memory.separated = True
        return StageResult(
            artifacts=results.artifacts,
            bytes=results.bytes,
            change=lambda job: with_results(job, results),
            version=version,
        )

    async def _opened(self, files: RunFiles, layout: StemLayout) -> StemSet:
        opening = asyncio.ensure_future(self._bulk(self._open, files, layout))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            await run_to_completion(wait_ended([opening]))
            if not opening.cancelled() and opening.exception() is None:
                opening.result().close()
            raise

    def _open(self, files: RunFiles, layout: StemLayout) -> StemSet:
        needed = len(layout.stem_names) * layout.stem_bytes
        try:
            files.work.mkdir(parents=True, exist_ok=True)
            self._disk.require(files.folder, needed, self._disk_reserve)
            stems = StemSet(files.stems, layout, files.peaks)
            try:
                stems.resume(RangeSet())
            except BaseException:
                stems.close()
                raise
        except OSError as error:
            raise disk_error(error) from error
        return stems

    async def _render(
        self,
        context: StageContext,
        generator: StemGenerator,
        options: GenerationOptions,
        generated: _Generated,
    ) -> None:
        """Writes block after block; reports its end by `generated.finished`, and raises nothing but a cancellation."""
        blocks = generator.render(options, generated.stopped.is_set, generated.report)
        turns = self.turns[generator.name]
        try:
            while not generated.stopped.is_set():
                await turns.acquire(lambda: int(context.job.priority))
                try:
                    written = await run_to_completion(self._generate(generated.write_next, blocks))
                finally:
                    turns.release()
                if not written:
                    break
            generated.end(None)
        except Exception as error:
            generated.end(disk_error(error) if isinstance(error, OSError) else error)
        finally:
            await run_to_completion(self._bulk(_close, blocks))


@dataclass(eq=False)
class _Generated:
    """Stems that a generator writes; `segments` is their number, of one second each."""

    stems: StemSet
    segments: int
    finished: Future[None] = field(default_factory=Future[None])
    stopped: threading.Event = field(default_factory=threading.Event)
    _fraction: float = 0.0

    @property
    def segments_done(self) -> int:
        return int(self._fraction * self.segments)

    def report(self, fraction: float) -> None:
        """Reports the finished share of the work, 0 to 1; called in a thread."""
        self._fraction = max(self._fraction, min(1.0, fraction))
        self.stems.publish(())

    def write_next(self, blocks: Iterator[Block]) -> bool:
        """Renders and writes the next block; blocks. Returns False if there is none; raises as the generator."""
        block = next(blocks, None)
        if block is None:
            return False
        start, samples = block
        written = self.stems.write(start, np.ascontiguousarray(samples))
        self._fraction = max(self._fraction, written.end / self.stems.layout.total_frames)
        self.stems.publish([(written.start, written.end)])
        return True

    def end(self, error: Exception | None) -> None:
        if error is None and not self.stems.ready.covers(0, self.stems.layout.total_frames):
            error = JobNotReadyError("the job was stopped")
        if error is None:
            self.finished.set_result(None)
        else:
            self.finished.set_exception(error)


def layout_of(plan: GenerationPlan) -> StemLayout:
    """The layout of the stem files that a generator's plan asks for."""
    return StemLayout(plan.stem_names, plan.sample_rate, plan.channels, plan.total_frames, Encoding.PCM_S16LE)


def _close(blocks: Iterator[Block]) -> None:
    close = getattr(blocks, "close", None)
    if close is not None:
        close()

"""The segment engine: jobs in, finished frames out, one segment at a time."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import structlog

from mismo_grpc.audio.decode import DecodedMix, open_mix
from mismo_grpc.audio.encode import Encoding
from mismo_grpc.errors import EngineError, MismoError, SeparationFailedError, disk_error
from mismo_grpc.separation.device import Device, DeviceLostError, InferenceSpec, Samples, SegmentInput
from mismo_grpc.separation.device_thread import RESTART_SECONDS, DeviceThread
from mismo_grpc.separation.grid import Plan, Segment, check_work, plan_track
from mismo_grpc.separation.models import Bag, is_out_of_memory
from mismo_grpc.separation.output import StemOutput
from mismo_grpc.separation.overlap import OverlapAdd, PieceStore
from mismo_grpc.separation.rates import RateConverter
from mismo_grpc.separation.scheduler import ScheduledJob, Scheduler, Task
from mismo_grpc.separation.selection import select_stems
from mismo_grpc.separation.stems import StemLayout, StemSet
from mismo_grpc.separation.work_record import WorkRecord
from mismo_grpc.storage.run_files import RunFiles

log = structlog.get_logger(__name__)

BATCHES_IN_FLIGHT = 2
"""Batches of a device that are computed or written at once: what a killed process has to compute again."""
ATTEMPTS = 2
STD_FLOOR = 1e-8
"""demucs adds it to the track's standard deviation (`Separator.separate_tensor`)."""


@dataclass(frozen=True)
class SeparationSpec:
    """What to separate and how; `files` gets stems and work files, `start_frame` is where to begin.

    `sample_rate` is that of the files in Hz, 0 for the model's; `start_frame` is of the decoded mix;
    `submitted_at` is of the scheduler's clock (seconds). Work that is found is taken up only if `boot` (the id of this
    boot, "" if unknown) and `model_fingerprint` (the model's weights and the arithmetic) are those it was done with.
    """

    mix: DecodedMix
    files: RunFiles
    stem_names: tuple[str, ...] = ()
    two_stems: str = ""
    shifts: int = 0
    overlap: float = 0.25
    encoding: Encoding = Encoding.PCM_S16LE
    sample_rate: int = 0
    priority: int = 2
    submitted_at: float = 0.0
    start_frame: int = 0
    playing: bool = False
    boot: str = ""
    model_fingerprint: str = ""
    job_id: str = ""
    """For the log."""


class Separation:
    """One job inside the engine. `finished` resolves when every segment is done, or with the error that ended it."""

    def __init__(
        self,
        spec: SeparationSpec,
        bag: Bag,
        plan: Plan,
        inferences: Sequence[InferenceSpec],
        stems: StemSet,
        output: StemOutput,
        record: WorkRecord,
        scheduled: ScheduledJob,
    ) -> None:
        self.spec = spec
        self.bag = bag
        self.plan = plan
        self.inferences = tuple(inferences)
        self.stems = stems
        self.output = output
        self.record = record
        self.scheduled = scheduled
        self.mix = open_mix(spec.mix)
        self.overlap = OverlapAdd(
            plan,
            PieceStore(spec.files.pieces, len(stems.layout.stem_names), stems.layout.channels),
        )
        self.finished: Future[None] = Future()
        self.forwards = 0
        self.failures: dict[int, int] = {}
        self.committing = threading.Lock()

    @property
    def segments_done(self) -> int:
        """How many segments are finished."""
        return self.record.done.total

    def take_up(self) -> None:
        """Goes on with what an earlier process has done of it and is as it was written; reads and checks it all.

        Raises OSError.
        """
        final, ready = self.output.intact(self.record)
        self.record.keep(self.overlap.recover(self.record.done, final), final)
        self.stems.take_up(ready)
        # Frames that are final and were lost after their conversion come with no segment any more.
        _, converted = self.output.write([], final)
        if converted:
            self.record.commit(None, [], converted)
            self.stems.publish([(each.start, each.end) for each in converted])

    def mix_frame(self, stem_frame: int) -> int:
        """The frame of the decoded mix at a frame of the stems; they differ where the rate is converted."""
        return stem_frame * self.spec.mix.sample_rate // self.stems.layout.sample_rate

    def frame_at(self, playhead: float | None) -> int | None:
        """The frame of the decoded mix at a playhead in seconds, the last one past the end; None without a playhead."""
        mix = self.spec.mix
        return None if playhead is None else min(int(playhead * mix.sample_rate), mix.frames - 1)

    def input_of(self, segment: Segment) -> SegmentInput:
        """The padded input of a segment: the track on both sides of it, silence beyond the track.

        Placed as by demucs' `TensorChunk.padded`.
        """
        grid = self.plan.grids[segment.grid]
        valid = self.bag.members[grid.members[0]].valid_frames(segment.length)
        trim = (valid - segment.length) // 2
        start = segment.start - trim
        low, high = max(0, start), min(self.plan.total_frames, start + valid)
        mix = self.spec.mix
        std = (mix.std if np.isfinite(mix.std) else 0.0) + STD_FLOOR
        return SegmentInput(self.mix[low:high], low - start, valid, trim, segment.length, mix.mean, std)


class SegmentEngine:
    """Runs segments of all separations on its devices, a thread each, and writes what becomes final."""

    def __init__(
        self,
        devices: Sequence[Device],
        scheduler: Scheduler,
        on_segment: Callable[[str, float], None] | None = None,
        *,
        restart_seconds: float = RESTART_SECONDS,
    ) -> None:
        self.devices = tuple(devices)
        self.scheduler = scheduler
        self._on_segment = on_segment
        self._by_job: dict[int, Separation] = {}
        self._threads: list[DeviceThread] = []
        self._restart_seconds = restart_seconds
        self._ending = threading.Lock()
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._in_flight = threading.Semaphore(BATCHES_IN_FLIGHT * len(self.devices))

    def start(self, on_given_up: Callable[[], None] = lambda: None) -> None:
        """Starts a thread for each device; `on_given_up` is called in it if it dies too often, see `failure`."""
        for device in self.devices:
            thread = DeviceThread(
                device.name, partial(self._serve, device), on_given_up, restart_seconds=self._restart_seconds
            )
            self._threads.append(thread)
            thread.start()

    @property
    def failure(self) -> str:
        """Why nothing is computed any more, "" as long as a device works. What is queued waits for another start."""
        failures = [thread.failure for thread in self._threads]
        return "; ".join(failures) if all(failures) else ""

    def stop(self, timeout: float) -> None:
        """Lets the devices finish the batch they are at, at most `timeout` seconds; the rest stays on disk."""
        self.scheduler.close()
        stopped = [thread.stop(timeout) for thread in self._threads]
        self._committer.shutdown(wait=all(stopped))

    def load(self, model: str) -> Bag:
        """Makes a model warm on every device; blocks."""
        bags = [device.pool.get(model) for device in self.devices]
        return bags[0]

    def open(self, spec: SeparationSpec, bag: Bag) -> Separation:
        """Plans a job, makes or takes up its stem files, and queues what is missing; blocks on the disk.

        Raises InvalidFieldError for stems that the model does not have and for more than MAX_SEGMENTS segments,
        OSError if the disk is full.
        """
        selection = select_stems(bag.sources, spec.stem_names, spec.two_stems)
        needed = bag.needed_members(selection.needed_sources)
        mix = spec.mix
        lengths = [bag.members[i].segment_frames for i in needed]
        check_work(mix.frames, mix.sample_rate, lengths, overlap=spec.overlap, shifts=spec.shifts)
        plan = plan_track(mix.frames, mix.sample_rate, lengths, overlap=spec.overlap, shifts=spec.shifts)
        plan = Plan(
            plan.total_frames, [replace(g, members=tuple(needed[m] for m in g.members)) for g in plan.grids]
        )
        scale = 1.0 / max(1, spec.shifts)
        inferences = [InferenceSpec(bag, grid.members, selection.matrix, scale) for grid in plan.grids]
        converter: RateConverter | None = None
        if spec.sample_rate not in (0, mix.sample_rate):
            converter = RateConverter(mix.sample_rate, spec.sample_rate, mix.frames)
        rate, frames = (
            (spec.sample_rate, converter.output_frames) if converter else (mix.sample_rate, mix.frames)
        )
        layout = StemLayout(selection.names, rate, mix.channels, frames, spec.encoding)
        files = spec.files
        files.work.mkdir(parents=True, exist_ok=True)
        stems = StemSet(files.stems, layout, files.peaks)
        record: WorkRecord | None = None
        try:
            record = WorkRecord(files.journal, _work(spec, layout, plan), trusted=bool(spec.boot))
            scheduled = ScheduledJob(
                plan,
                mix.sample_rate,
                spec.priority,
                spec.submitted_at,
                batch_key=(id(bag), needed, selection.matrix.tobytes(), scale),
                start_frame=spec.start_frame,
            )
            output = StemOutput(stems, converter, files.unconverted, mix.frames)
            separation = Separation(spec, bag, plan, inferences, stems, output, record, scheduled)
            separation.take_up()
        except BaseException:
            stems.close()
            if record is not None:
                record.close()
            raise
        scheduled.pending.update(t.index for t in plan.segments if t.index not in record.done)
        if spec.playing:
            self.scheduler.suggest(scheduled, spec.start_frame)
        self._by_job[id(scheduled)] = separation
        if scheduled.pending:
            self.scheduler.add(scheduled)
        else:
            self._end(separation, None)
        return separation

    def cancel(self, separation: Separation, error: MismoError) -> None:
        """Ends a separation; a segment that is being computed is dropped when it comes."""
        self._end(separation, error)

    def quiesce(self, separation: Separation) -> None:
        """Waits until nothing more is written for an ended separation, and closes its journal."""
        with separation.committing:
            separation.record.close()

    def _serve(self, device: Device) -> None:
        """Computes until the scheduler is closed. What escapes leaves no segment taken and no place in flight."""
        while True:
            # Before the choice, so that what is urgent by then goes first.
            self._in_flight.acquire()
            handed_on = False
            try:
                batch = self.scheduler.take(device.max_batch, timeout=None)
                if not batch:
                    return
                handed_on = self._run(device, batch)
            finally:
                if not handed_on:
                    self._in_flight.release()

    def _run(self, device: Device, batch: list[Task]) -> bool:
        """Computes a batch; answers whether it is on its way to the disk. What escapes gives all of it back."""
        live = [
            (task, s)
            for task in batch
            if (s := self._by_job.get(id(task.job))) is not None and not s.finished.done()
        ]
        if not live:
            return False
        try:
            outputs = self._compute(device, live)
        except BaseException:
            for task, _ in live:
                self.scheduler.give_back(task)
            raise
        if outputs is None:
            return False
        try:
            self._committer.submit(self._commit_batch, [t for t, _ in live], [s for _, s in live], outputs)
        except RuntimeError:  # shutting down: what is not committed is computed again after the restart
            return False
        return True

    def _compute(self, device: Device, live: list[tuple[Task, Separation]]) -> list[Samples] | None:
        """The stems of each segment; None if the model failed on them."""
        first = live[0][1]
        begin = time.perf_counter()
        try:
            inference = first.inferences[live[0][0].segment.grid]
            outputs = device.run(inference, [s.input_of(task.segment) for task, s in live])
        except DeviceLostError:
            raise
        except Exception as error:
            log.warning(
                "the model failed on a batch",
                segments=[(s.spec.job_id, task.segment.index) for task, s in live],
                exc_info=error,
            )
            if is_out_of_memory(error):
                device.pool.free()
            for task, separation in live:
                self._retry(task, separation, error)
            return None
        seconds = (time.perf_counter() - begin) / len(live)
        for task, separation in live:
            job_id, segment = separation.spec.job_id, task.segment.index
            log.debug("segment done", job_id=job_id, segment=segment, seconds=round(seconds, 4))
        if self._on_segment is not None:
            self._on_segment(first.bag.name, seconds)
        return outputs

    def _retry(self, task: Task, separation: Separation, error: Exception) -> None:
        failures = separation.failures.get(task.segment.index, 0) + 1
        separation.failures[task.segment.index] = failures
        if failures < ATTEMPTS:
            self.scheduler.give_back(task)
            return
        if not isinstance(error, EngineError):
            error = SeparationFailedError(f"the model failed on a segment: {type(error).__name__}")
        self._end(separation, error)

    def _commit_batch(self, tasks: list[Task], separations: list[Separation], outputs: list[Samples]) -> None:
        try:
            for task, separation, samples in zip(tasks, separations, outputs, strict=True):
                try:
                    self._commit(task, separation, samples)
                except BaseException as error:
                    failed = SeparationFailedError(f"a segment could not be kept: {type(error).__name__}")
                    self._end(separation, disk_error(error) if isinstance(error, OSError) else failed)
                    log.error("a segment could not be kept", job_id=separation.spec.job_id, exc_info=True)
        finally:
            self._in_flight.release()

    def _commit(self, task: Task, separation: Separation, samples: Samples) -> None:
        with separation.committing:
            if separation.finished.done():
                return
            segment, record = task.segment, separation.record
            separation.forwards += 1
            added = separation.overlap.add(segment, samples, record.done, record.final)
            final, ready = separation.output.write(added.final, record.final)
            record.commit(segment.index, final, ready, added.lost)
            separation.stems.publish([(each.start, each.end) for each in ready])
            separation.overlap.settle(segment, added)
            self.scheduler.finish(task)
            if added.lost:
                log.warning(
                    "parts of segments were lost; these are computed again",
                    job_id=separation.spec.job_id,
                    segments=sorted(added.lost),
                )
                self.scheduler.run_again(separation.scheduled, added.lost)
            complete = separation.segments_done == len(separation.plan.segments)
        if complete:
            self._end(separation, None)

    def _end(self, separation: Separation, error: MismoError | None) -> None:
        self.scheduler.remove(separation.scheduled)
        with self._ending:
            self._by_job.pop(id(separation.scheduled), None)
            if separation.finished.done():
                return
            if error is None:
                separation.finished.set_result(None)
            else:
                separation.finished.set_exception(error)


def _work(spec: SeparationSpec, layout: StemLayout, plan: Plan) -> dict[str, object]:
    """What a journal must be of to be taken up: the same boot, mix, model, stems and segments."""
    mix = spec.mix
    grids = repr(plan.grids).encode()
    return {
        "boot": spec.boot,
        "recipe": spec.model_fingerprint,
        "mix": [mix.frames, mix.sample_rate, mix.channels, mix.crc32c],
        "stems": list(layout.stem_names),
        "files": [layout.sample_rate, layout.channels, layout.total_frames, layout.encoding.name],
        "segments": hashlib.sha256(grids).hexdigest(),
    }

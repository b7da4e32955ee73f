"""The segment engine: separates jobs segment by segment and writes the frames that become final."""

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
"""The most batches of a device that are computed or written at once; a killed process must compute them again."""
ATTEMPTS = 2
STD_FLOOR = 1e-8
"""Added to the track's standard deviation, as demucs does (`Separator.separate_tensor`)."""


@dataclass(frozen=True)
class SeparationSpec:
    """What to separate and how; the stems and work files are written to `files`.

    `sample_rate` is the stem files' rate in Hz, 0 for the model's; `start_frame` is the frame of the decoded mix to
    begin at; `submitted_at` is in seconds of the scheduler's clock. Work of an earlier process is resumed only if
    `boot` (the id of this boot, "" if unknown) and `model_fingerprint` (weights and arithmetic) are the same as then.
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
    """One job in the engine. `finished` resolves when every segment is done, or with the error that ended the job."""

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

    @property
    def seconds_a_segment(self) -> float:
        """A segment's share of the track, in seconds; the shares of all segments add up to the track."""
        return self.plan.total_frames / self.spec.mix.sample_rate / len(self.plan.segments)

    def resume(self) -> None:
        """Resumes the work of an earlier process: reads all of it, and keeps what its checksums confirm.

        Raises OSError.
        """
        final, ready = self.output.intact(self.record)
        self.record.keep_only(self.overlap.recover(self.record.done, final), final)
        self.stems.resume(ready)
        # Final frames whose converted output was lost are converted here: no segment will produce them again.
        _, converted = self.output.write([], final)
        if converted:
            self.record.commit(None, [], converted)
            self.stems.publish([(each.start, each.end) for each in converted])

    def mix_frame(self, stem_frame: int) -> int:
        """Converts a frame of the stems to the frame of the decoded mix; they differ if the rate is converted."""
        return stem_frame * self.spec.mix.sample_rate // self.stems.layout.sample_rate

    def frame_at(self, playhead: float | None) -> int | None:
        """Converts a playhead in seconds to a frame of the decoded mix, at most the last one; None stays None."""
        mix = self.spec.mix
        return None if playhead is None else min(int(playhead * mix.sample_rate), mix.frames - 1)

    def input_of(self, segment: Segment) -> SegmentInput:
        """Builds the padded input of a segment: the track on both sides of it, silence outside the track.

        The padding is that of demucs' `TensorChunk.padded`.
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
    """Runs the segments of all jobs on its devices, one thread each, and writes the frames that become final."""

    def __init__(
        self,
        devices: Sequence[Device],
        scheduler: Scheduler,
        on_segment: Callable[[str, float, float], None] | None = None,
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

    def start(self, on_abandoned: Callable[[], None] = lambda: None) -> None:
        """Starts a thread for each device; the thread calls `on_abandoned` if it is abandoned, see `failure`."""
        for device in self.devices:
            thread = DeviceThread(
                device.name, partial(self._serve, device), on_abandoned, restart_seconds=self._restart_seconds
            )
            self._threads.append(thread)
            thread.start()

    @property
    def failure(self) -> str:
        """Why nothing can be computed, "" while any device works. Queued jobs then wait for a restart of the server."""
        failures = [thread.failure for thread in self._threads]
        return "; ".join(failures) if all(failures) else ""

    def stop(self, timeout: float) -> None:
        """Lets the devices finish their current batches, at most `timeout` seconds; finished work stays on disk."""
        self.scheduler.close()
        stopped = [thread.stop(timeout) for thread in self._threads]
        self._committer.shutdown(wait=all(stopped))

    def load(self, model: str) -> Bag:
        """Loads a model on every device; blocks."""
        bags = [device.pool.get(model) for device in self.devices]
        return bags[0]

    def open(self, spec: SeparationSpec, bag: Bag) -> Separation:
        """Plans a job, creates or resumes its stem files, and queues the missing segments; blocks on the disk.

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
            separation.resume()
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
        """Ends a separation; the output of a segment in progress is discarded."""
        self._end(separation, error)

    def quiesce(self, separation: Separation) -> None:
        """Waits for the last write of an ended separation, then closes its journal; blocks."""
        with separation.committing:
            separation.record.close()

    def _serve(self, device: Device) -> None:
        """Computes batches until the scheduler is closed. After an exception no segment or slot stays taken."""
        while True:
            # Wait for a slot before choosing, so that the choice considers jobs that became urgent meanwhile.
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
        """Computes a batch; returns whether it is being written. An exception returns its segments to the queue."""
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
        except RuntimeError:  # shutting down: uncommitted segments are computed again after the restart
            return False
        return True

    def _compute(self, device: Device, live: list[tuple[Task, Separation]]) -> list[Samples] | None:
        """Returns the stems of each segment; None if the model failed on the batch."""
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
            for _, separation in live:
                self._on_segment(first.bag.name, seconds, separation.seconds_a_segment)
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
                    failed = SeparationFailedError(f"a segment could not be stored: {type(error).__name__}")
                    self._end(separation, disk_error(error) if isinstance(error, OSError) else failed)
                    log.error("a segment could not be stored", job_id=separation.spec.job_id, exc_info=True)
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
            separation.overlap.drop_used_pieces(segment, added)
            self.scheduler.finish(task)
            if added.lost:
                log.warning(
                    "pieces of segments were lost; these segments are computed again",
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
    """Identifies the work of a journal, which is resumed only for the same boot, mix, model, stems and segments."""
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

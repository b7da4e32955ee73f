"""The stems as a stage: a real engine with a tiny network between the decoded track and the files of the run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mismo_grpc.errors import DiskFullError, ModelUnavailableError, PlayheadBeyondEndError
from mismo_grpc.jobs.job import JobOptions, Stage, StageState, StemOptions
from mismo_grpc.jobs.repository import ActiveJob
from mismo_grpc.separation.catalog import ModelCatalog
from mismo_grpc.separation.device import InferenceSpec, Samples, SegmentInput, torch_device
from mismo_grpc.separation.engine import SegmentEngine
from mismo_grpc.separation.models import Bag, ModelPool
from mismo_grpc.separation.scheduler import Scheduler
from mismo_grpc.stages.context import StageContext
from mismo_grpc.stages.stems import StemsStage
from mismo_grpc.storage.disk import Disk, FileSystemDisk, QuotaDisk
from mismo_grpc.streaming.file_cache import StemFileCache
from tests.unit.separation.bags import SOURCES, tiny_htdemucs, write_safetensors_bag
from tests.unit.stages.workbench import RATE, Workbench, a_track

STEMS, DECODE = Stage.STEMS, Stage.DECODE
SECONDS = 1.0


class HeldDevice:
    """The real device; once `hold_from` segments are done, the next one waits for `go_on`."""

    def __init__(self, models: Path) -> None:
        self._device = torch_device(
            "cpu",
            lambda place: ModelPool(ModelCatalog([models]), place, 1 << 30),
            precision="fp32",
            cpu_threads=1,
        )
        self.name = self._device.name
        self.max_batch = 1
        self.pool = self._device.pool
        self.info = self._device.info
        self.close = self._device.close
        self.hold_from: int | None = None
        self.runs = 0
        self.held, self.go_on = threading.Event(), threading.Event()

    def run(self, inference: InferenceSpec, segments: Sequence[SegmentInput]) -> list[Samples]:
        if self.runs == self.hold_from:
            self.held.set()
            assert self.go_on.wait(30)
        self.runs += len(segments)
        return self._device.run(inference, segments)


class Rig:
    """An engine with one tiny model, and the stage over it."""

    def __init__(self, bench: Workbench, models: Path) -> None:
        write_safetensors_bag(models, "m", [tiny_htdemucs(1)])
        self.bench = bench
        self.device = HeldDevice(models)
        self.engine = SegmentEngine([self.device], Scheduler(time.monotonic))
        self.engine.start()
        self.stem_files = StemFileCache()

    def stage(self, disk: Disk | None = None, boot: str = "boot") -> StemsStage:
        async def engine() -> SegmentEngine:
            return self.engine

        async def load(model: str) -> Bag:
            return await asyncio.to_thread(self.engine.load, model)

        return StemsStage(
            self.bench.runs,
            self.stem_files,
            engine,
            load,
            disk=disk or FileSystemDisk(),
            disk_reserve=0,
            boot=boot,
            bulk=asyncio.to_thread,
        )

    async def decoded_job(self, stems: StemOptions | None = None) -> ActiveJob:
        self.bench.record(a_track(SECONDS))
        active = await self.bench.job(STEMS)
        active.job = replace(active.job, options=JobOptions((STEMS,), stems or StemOptions()))
        await self.bench.decoded(active)
        return active


@pytest.fixture
async def rig(bench: Workbench, tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(bench, tmp_path / "models")
    yield rig
    rig.device.go_on.set()
    await asyncio.to_thread(rig.engine.stop, 10)


async def test_a_track_becomes_stems(bench: Workbench, rig: Rig) -> None:
    active = await rig.decoded_job()
    result = await rig.stage().run(bench.context(STEMS, active))
    job = active.job
    assert job.layout is not None
    assert (job.layout.total_frames, job.layout.sample_rate) == (int(SECONDS * RATE), RATE)
    assert job.segments_total == rig.device.runs > 1
    assert active.ready.missing(0, job.layout.total_frames) == []
    assert job.time_to_playhead_audio is not None
    assert "stems.json" in [artifact.name for artifact in result.artifacts]
    assert result.bytes >= len(SOURCES) * job.layout.stem_bytes
    after = result.change(job)
    assert after.segments_done == after.segments_total
    assert len(after.stem_sha256) == len(SOURCES)
    assert bench.memory.separated
    assert active.separation is None


async def test_the_form_of_the_stems_is_known_with_the_beginning_of_the_stage(
    bench: Workbench, rig: Rig
) -> None:
    active = await rig.decoded_job()
    rig.device.hold_from = 0
    running = asyncio.create_task(rig.stage().run(bench.context(STEMS, active)))
    assert await asyncio.to_thread(rig.device.held.wait, 30)
    await active.stems_changed.wait(lambda: active.job.stage(STEMS).state is StageState.RUNNING, 30)
    stored = bench.store.get("job")
    assert stored is not None
    assert stored.stage(STEMS).state is StageState.RUNNING
    assert stored.layout is not None
    assert stored.segments_total > 1
    rig.device.go_on.set()
    await running


async def test_a_playhead_past_the_end_is_refused_before_anything_is_written(
    bench: Workbench, rig: Rig
) -> None:
    active = await rig.decoded_job(StemOptions(playhead=SECONDS))
    with pytest.raises(PlayheadBeyondEndError, match=r"options\.stems\.playhead: 1 s is past the end"):
        await rig.stage().run(bench.context(STEMS, active))
    assert active.job.stage(STEMS).attempts == 0
    assert not bench.files.stems.exists()


async def test_a_playhead_that_was_moved_past_the_end_ends_no_job(bench: Workbench, rig: Rig) -> None:
    """Nobody knew the length when it was moved."""
    active = await rig.decoded_job(StemOptions(playhead=99.0))
    active.job = replace(active.job, playhead_moved=True)
    await rig.stage().run(bench.context(STEMS, active))
    assert active.job.time_to_playhead_audio is not None


async def test_without_room_nothing_is_written(bench: Workbench, rig: Rig) -> None:
    active = await rig.decoded_job()
    with pytest.raises(DiskFullError):
        await rig.stage(QuotaDisk(0)).run(bench.context(STEMS, active))
    assert active.job.stage(STEMS).attempts == 0
    assert not bench.files.stems.exists()


async def test_a_model_that_is_not_there_fails_while_the_track_is_still_decoded(
    bench: Workbench, rig: Rig
) -> None:
    active = await rig.decoded_job()
    active.job = replace(active.job, model="no_such_model")
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    with pytest.raises(ModelUnavailableError):
        await rig.stage().run(bench.context(STEMS, active, {DECODE: never}))
    assert not never.done()


@pytest.mark.parametrize("boot", ["boot", "another"])
async def test_a_stage_that_was_stopped_goes_on_with_what_was_done_in_this_boot(
    bench: Workbench, rig: Rig, boot: str
) -> None:
    active = await rig.decoded_job()
    rig.device.hold_from = 1
    running = asyncio.create_task(rig.stage().run(bench.context(STEMS, active)))
    assert await asyncio.to_thread(rig.device.held.wait, 30)
    running.cancel()
    rig.device.go_on.set()
    await asyncio.wait([running])
    assert running.cancelled()
    assert (active.separation, bench.memory.separated) == (None, False)
    done, rig.device.hold_from, rig.device.runs = rig.device.runs, None, 0
    assert done >= 1
    context = StageContext(STEMS, active, bench.files, bench.repository, bench.memory, {}, going_on=True)
    result = await rig.stage(boot=boot).run(context)
    assert active.job.stage(STEMS).attempts == 1
    total = active.job.segments_total
    assert rig.device.runs < total if boot == "boot" else rig.device.runs == total
    assert result.change(active.job).segments_done == total

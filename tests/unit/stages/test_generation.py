"""Generated stems: what is left of a generation that is stopped, that fails or that has no room."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from mismo_grpc.audio.peaks import PeakFile
from mismo_grpc.errors import DiskFullError, ModelLoadError, ModelUnavailableError
from mismo_grpc.generation.generator import GenerationPlan, plan_of
from mismo_grpc.generation.generators import Generators
from mismo_grpc.generation.options import GenerationOptions
from mismo_grpc.jobs.job import Stage
from mismo_grpc.jobs.repository import ActiveJob
from mismo_grpc.stages.generation import GenerationStage
from mismo_grpc.storage.disk import Disk, FileSystemDisk, QuotaDisk
from mismo_grpc.streaming.file_cache import StemFileCache
from tests.unit.stages.workbench import Workbench

OPTIONS = GenerationOptions(("bass", "drums"), seconds=2.0)
BLOCK_FRAMES = 22_050


class Level:
    """Generates constant samples, half a second a block; `before_block` may wait or raise."""

    name = "level"

    def __init__(self, before_block: Callable[[int], object] = lambda _: None) -> None:
        self._before_block = before_block
        self.closed = threading.Event()

    def version(self) -> str:
        return "level 1"

    def unavailable_reason(self) -> str:
        return ""

    def plan(self, options: GenerationOptions) -> GenerationPlan:
        return plan_of(options)

    def render(
        self,
        options: GenerationOptions,
        should_stop: Callable[[], bool],
        progress: Callable[[float], None],
    ) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        try:
            for number in range(4):
                self._before_block(number)
                if should_stop():
                    return
                shape = (len(options.target_stems), BLOCK_FRAMES, 2)
                yield number * BLOCK_FRAMES, np.full(shape, 0.25, np.float32)
        finally:
            self.closed.set()


def stage_of(
    bench: Workbench, generator: Level, *, disk: Disk | None = None, bulk: Any = asyncio.to_thread
) -> GenerationStage:
    return GenerationStage(
        bench.runs,
        StemFileCache(),
        Generators([generator], "level"),
        disk=disk or FileSystemDisk(),
        disk_reserve=0,
        bulk=bulk,
        generate=asyncio.to_thread,
    )


async def accepted(bench: Workbench, model: str = "level") -> ActiveJob:
    active = await bench.job(Stage.GENERATION)
    options = replace(active.job.options, generation=OPTIONS)
    active.job = replace(active.job, options=options, model=model)
    return active


def open_stems(bench: Workbench) -> list[str]:
    """The stem files of the run that this process has open."""
    found: list[str] = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue
        if path.startswith(str(bench.files.folder)) and path.endswith(".wav"):
            found.append(path)
    return found


async def test_stems_have_the_samples_of_the_generator(bench: Workbench) -> None:
    active = await accepted(bench)
    result = await stage_of(bench, Level()).run(bench.context(Stage.GENERATION, active))
    assert result.version == "level 1"
    job = result.change(active.job)
    assert (job.segments_done, job.segments_total, len(job.stem_sha256)) == (2, 2, 2)
    for name in OPTIONS.target_stems:
        samples, rate = soundfile.read(bench.files.stem(name), dtype="float32")
        assert (samples.shape, rate) == ((88_200, 2), 44_100)
        np.testing.assert_allclose(samples, 0.25, atol=1e-4)
    assert open_stems(bench) == []


async def test_a_generation_that_is_cancelled_while_its_files_are_opened_closes_them(
    bench: Workbench,
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    async def bulk(function: Callable[..., Any], *arguments: Any) -> Any:
        def slowly() -> Any:
            result = function(*arguments)
            reached.set()
            assert go_on.wait(30)
            return result

        return await asyncio.to_thread(slowly)

    active, generator = await accepted(bench), Level()
    running = asyncio.create_task(
        stage_of(bench, generator, bulk=bulk).run(bench.context(Stage.GENERATION, active))
    )
    assert await asyncio.to_thread(reached.wait, 30)
    assert len(open_stems(bench)) == 2
    running.cancel()
    await asyncio.sleep(0)
    assert not running.done(), "it returned while its thread was still at work"
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert open_stems(bench) == []
    assert active.stems is None


async def test_a_generation_that_is_cancelled_midway_has_stopped_writing(bench: Workbench) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def wait(number: int) -> None:
        if number == 2:
            reached.set()
            assert go_on.wait(30)

    active, generator = await accepted(bench), Level(wait)
    running = asyncio.create_task(stage_of(bench, generator).run(bench.context(Stage.GENERATION, active)))
    assert await asyncio.to_thread(reached.wait, 30)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=0.05)
    assert not done, "it returned while its generator was still at work"
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert generator.closed.is_set()
    assert open_stems(bench) == []
    samples, _ = soundfile.read(bench.files.stem("bass"))
    assert not samples[2 * BLOCK_FRAMES :].any()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "full"), DiskFullError),
        (ValueError("a fault of the generator"), ValueError),
    ],
)
async def test_an_error_of_the_generator_ends_the_stage_and_closes_all(
    bench: Workbench, error: Exception, told: type[Exception]
) -> None:
    def fail(number: int) -> None:
        if number == 2:
            raise error

    active, generator = await accepted(bench), Level(fail)
    with pytest.raises(told):
        await stage_of(bench, generator).run(bench.context(Stage.GENERATION, active))
    assert generator.closed.is_set()
    assert open_stems(bench) == []
    assert active.stems is None
    # Another attempt begins anew and works.
    await stage_of(bench, Level()).run(bench.context(Stage.GENERATION, active))


async def test_a_generator_whose_version_cannot_be_read_leaves_nothing_open(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the files of a model, which may be gone."""
    threads: list[int] = []

    def version() -> str:
        threads.append(threading.get_ident())
        raise ModelLoadError("the weights are gone")

    active, generator = await accepted(bench), Level()
    monkeypatch.setattr(generator, "version", version)
    with pytest.raises(ModelLoadError):
        await stage_of(bench, generator).run(bench.context(Stage.GENERATION, active))
    assert threads != [threading.get_ident()]
    assert active.stems is None
    assert open_stems(bench) == []


async def test_a_full_disk_once_the_stem_files_are_open_closes_them(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mark_complete(_: PeakFile) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(PeakFile, "mark_complete", mark_complete)
    active = await accepted(bench)
    with pytest.raises(DiskFullError):
        await stage_of(bench, Level()).run(bench.context(Stage.GENERATION, active))
    assert open_stems(bench) == []


async def test_without_room_nothing_is_written(bench: Workbench) -> None:
    active, generator = await accepted(bench), Level()
    with pytest.raises(DiskFullError):
        await stage_of(bench, generator, disk=QuotaDisk(100_000)).run(bench.context(Stage.GENERATION, active))
    assert not bench.files.stems.exists()
    assert not generator.closed.is_set()


async def test_a_generator_that_the_server_has_no_more_is_named(bench: Workbench) -> None:
    active = await accepted(bench, "orchestra")
    with pytest.raises(ModelUnavailableError, match="no generator 'orchestra'"):
        await stage_of(bench, Level()).run(bench.context(Stage.GENERATION, active))

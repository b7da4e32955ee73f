"""The walk over stages that come after others: they wait for any end of them, in this process or an earlier one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mismo_grpc.errors import CorruptAudioError
from mismo_grpc.jobs.job import JobState, Stage, StageState
from mismo_grpc.jobs.repository import ActiveJob
from tests.unit.orchestration.test_runner import House, ToldStage, states

DECODE, STEMS, CHORDS, BASIC = Stage.DECODE, Stage.STEMS, Stage.CHORDS, Stage.BASIC_FEATURES
ANALYSES = (BASIC, CHORDS, Stage.ANNOTATION)
ASKED = (STEMS, CHORDS)

Build = Callable[..., House]


@pytest.fixture
async def build(tmp_path: Path) -> AsyncIterator[Build]:
    built: list[House] = []

    def build(asked: tuple[Stage, ...] = ASKED) -> House:
        house = House(tmp_path, asked=asked)
        house.stages |= {stage: ToldStage(stage) for stage in ANALYSES}
        built.append(house)
        return house

    yield build
    for house in built:
        await house.close()


async def until(active: ActiveJob, stage: Stage) -> None:
    """Until the stage has ended."""
    await active.stems_changed.wait(lambda: active.job.has_ended(stage), 20)


async def stop(task: asyncio.Task[object]) -> None:
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize("fails", [False, True])
async def test_a_stage_waits_for_the_end_of_one_that_it_comes_after(build: Build, fails: bool) -> None:
    house = build()
    house.stages[STEMS].gate = gate = asyncio.Event()
    active = await house.take_up()
    task = asyncio.create_task(house.run(active))
    await until(active, BASIC)
    await house.stages[STEMS].begun.wait()
    assert active.job.stage(CHORDS).state is StageState.PENDING
    if fails:
        house.stages[STEMS].artifacts = ()
        await stop(task)
        house.stages[STEMS].errors = [CorruptAudioError("no stems")]
        task = asyncio.create_task(house.run(active))
    gate.set()
    job = await task
    assert job.state is JobState.SUCCEEDED
    assert job.has_result_of(STEMS) is not fails
    assert all(map(job.has_result_of, ANALYSES))
    assert [house.stages[stage].runs for stage in ANALYSES] == [1, 1, 1]
    assert (house.runs.linked("job") is None) is fails


@pytest.mark.parametrize("failed", [BASIC, DECODE])
async def test_a_stage_that_needs_a_failed_one_does_not_wait_for_another(build: Build, failed: Stage) -> None:
    house = build()
    house.stages[failed].errors = [CorruptAudioError("no")]
    job = await house.run()
    assert job.stage(CHORDS).state is StageState.SKIPPED
    assert job.stage(CHORDS).error == job.stage(failed).error
    assert job.has_result_of(STEMS) is (failed is BASIC)
    assert job.state is (JobState.SUCCEEDED if failed is BASIC else JobState.FAILED)


@pytest.mark.parametrize("stems", ["succeeded", "failed", "running"])
async def test_after_a_restart_the_order_is_the_same(build: Build, stems: str) -> None:
    first = build()
    held = STEMS if stems == "running" else CHORDS
    first.stages[held].gate = asyncio.Event()
    if stems == "failed":
        first.stages[STEMS].errors = [CorruptAudioError("no stems")]
    active = await first.take_up()
    task = asyncio.create_task(first.run(active))
    await first.stages[held].begun.wait()
    await until(active, BASIC)
    await stop(task)
    await first.close()
    second = build()
    second.stages[STEMS].gate = gate = asyncio.Event()
    active = await second.take_up()
    task = asyncio.create_task(second.run(active))
    if stems == "running":
        await second.stages[STEMS].begun.wait()
        assert not second.stages[CHORDS].begun.is_set()
    gate.set()
    job = await task
    assert job.has_result_of(CHORDS)
    assert job.has_result_of(STEMS) is (stems != "failed")
    assert second.stages[STEMS].runs == (stems == "running")
    assert (second.stages[BASIC].runs, second.stages[CHORDS].runs, second.stages[DECODE].runs) == (0, 1, 1)


async def test_a_cancel_while_a_stage_waits_for_another_leaves_nothing(build: Build) -> None:
    house = build()
    house.stages[STEMS].gate = asyncio.Event()
    active = await house.take_up()
    runner = house.runner()
    task = asyncio.create_task(runner.run(active))
    await until(active, BASIC)
    await house.stages[STEMS].begun.wait()
    await stop(task)
    assert house.stages[CHORDS].runs == 0
    await runner.end(active, JobState.CANCELLED, StageState.CANCELLED, None)
    assert states(active.job) == {
        **dict.fromkeys(states(active.job), "CANCELLED"),
        "DECODE": "SUCCEEDED",
        "BASIC_FEATURES": "SUCCEEDED",
    }
    assert house.runs.linked("job") is None
    await house.runs.removed()


async def test_a_decoded_track_alone_is_no_result(build: Build) -> None:
    house = build(asked=(DECODE, STEMS))
    house.stages[STEMS].errors = [CorruptAudioError("no stems")]
    job = await house.run()
    assert (job.state, job.error) == (JobState.FAILED, job.stage(STEMS).error)

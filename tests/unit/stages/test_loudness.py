"""Loudness as a stage: measured in a process of the pool, and which of its failures are met with another attempt."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from mismo_grpc.analysis.loudness import LoudnessResult, measure_loudness
from mismo_grpc.analysis.pool import AnalysisPool
from mismo_grpc.errors import (
    AnalysisCrashedError,
    AnalysisFailedError,
    AnalysisTimeoutError,
    InternalError,
    MismoError,
    OutOfMemoryError,
    QueueFullError,
    ServerDrainingError,
)
from mismo_grpc.jobs.job import JobFailure, Stage, StageState
from mismo_grpc.stages.analyses.loudness import loudness_stage
from mismo_grpc.stages.analysis import RETRIES, AnalysisStage
from mismo_grpc.stages.context import NeedFailedError
from mismo_grpc.stages.stage import retry_delay
from tests.unit.analysis.workers import LONG, pool_of
from tests.unit.stages import analyses
from tests.unit.stages.workbench import RATE, Workbench, a_track

LOUDNESS = Stage.LOUDNESS


def crashing(pool: AnalysisPool) -> AnalysisStage:
    return AnalysisStage(LOUDNESS, pool, analyses.crash, fixed_seconds=LONG, times_length=0.0)


async def test_a_decoded_track_has_its_loudness(bench: Workbench) -> None:
    bench.record(a_track(seconds=4.0, level=0.1))
    active = await bench.job(LOUDNESS)
    await bench.decoded(active)
    async with pool_of(1) as pool:
        result = await loudness_stage(pool).run(bench.context(LOUDNESS, active))
    found = result.data
    assert isinstance(found, LoudnessResult)
    # A sine of 997 Hz and -20 dBFS in two channels has -20 LUFS: BS.1770-5 is normed so.
    for lufs in (found.integrated_lufs, found.max_momentary_lufs, found.max_short_term_lufs):
        assert lufs == pytest.approx(-20.0, abs=0.05)
    assert found.sample_peak_dbfs == pytest.approx(-20.0, abs=0.01)
    assert found.true_peak_dbtp == pytest.approx(-20.0, abs=0.05)
    assert found.loudness_range_lu == pytest.approx(0.0, abs=0.05)
    assert found == measure_loudness(bench.samples(), RATE)
    assert ([each.name for each in result.artifacts], result.bytes) == (["loudness.json"], 0)
    assert active.job.stage(LOUDNESS).state is StageState.RUNNING
    assert active.job.stage(LOUDNESS).attempts == 1


async def test_a_worker_that_crashes_is_an_error_that_is_tried_again(bench: Workbench) -> None:
    bench.record(a_track())
    active = await bench.job(LOUDNESS)
    await bench.decoded(active)
    async with pool_of(1) as pool:
        stage = crashing(pool)
        with pytest.raises(AnalysisCrashedError) as crashed:
            await stage.run(bench.context(LOUDNESS, active))
    assert retry_delay(stage.retries, crashed.value, 1) == 1.0
    assert active.job.stage(LOUDNESS).attempts == 1


async def test_a_pool_without_a_place_is_asked_again_later(bench: Workbench, tmp_path: Path) -> None:
    bench.record(a_track())
    active = await bench.job(LOUDNESS)
    await bench.decoded(active)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    async with pool_of(1, max_queued=0) as pool:
        other = asyncio.create_task(pool.run(analyses.wait_for, gate, timeout_seconds=LONG))
        await asyncio.sleep(0)
        stage = loudness_stage(pool)
        with pytest.raises(QueueFullError) as refused:
            await stage.run(bench.context(LOUDNESS, active))
        assert retry_delay(stage.retries, refused.value, 1) == 2.0
        await asyncio.to_thread(gate.write_text, "open")
        assert await other == "open"
        # The attempt that follows goes on from there.
        assert (await stage.run(bench.context(LOUDNESS, active))).data is not None
    assert active.job.stage(LOUDNESS).attempts == 2


async def test_without_the_decoded_track_it_does_not_begin(bench: Workbench) -> None:
    active = await bench.job(LOUDNESS)
    failure = JobFailure("NOT_FOUND", "SOURCE_NOT_FOUND", "gone")
    decoded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with pool_of(1) as pool:
        running = asyncio.create_task(
            loudness_stage(pool).run(bench.context(LOUDNESS, active, {Stage.DECODE: decoded}))
        )
        await asyncio.sleep(0)
        decoded.set_exception(NeedFailedError(failure))
        with pytest.raises(NeedFailedError) as failed:
            await running
        assert (pool.running, pool.waiting) == (0, 0)
    assert failed.value.failure == failure
    assert active.job.stage(LOUDNESS).attempts == 0


async def test_a_stage_that_does_not_say_that_it_needs_the_track_is_a_bug(bench: Workbench) -> None:
    active = await bench.job(LOUDNESS)
    async with pool_of(1) as pool:
        with pytest.raises(InternalError, match="LOUDNESS uses the decoded track"):
            await loudness_stage(pool).run(bench.context(LOUDNESS, active))


async def test_a_pool_that_closes_fails_the_attempt(bench: Workbench) -> None:
    bench.record(a_track())
    active = await bench.job(LOUDNESS)
    await bench.decoded(active)
    async with pool_of(1) as pool:
        await pool.close(0)
        with pytest.raises(ServerDrainingError):
            await loudness_stage(pool).run(bench.context(LOUDNESS, active))


async def test_the_time_limit_grows_with_the_track() -> None:
    async with pool_of(1) as pool:
        limit = loudness_stage(pool).time_limit
        assert (limit(0.0), limit(240.0)) == (30.0, 90.0)


@pytest.mark.parametrize("error", [AnalysisCrashedError("x"), OutOfMemoryError("x")])
def test_a_crash_and_a_lack_of_memory_are_met_with_two_more_attempts(error: MismoError) -> None:
    assert [retry_delay(RETRIES, error, failed) for failed in (1, 2, 3)] == [1.0, 2.0, None]


def test_a_full_queue_is_asked_again_for_about_half_an_hour() -> None:
    delays = [retry_delay(RETRIES, QueueFullError("x"), failed) for failed in range(1, 14)]
    assert delays.pop() is None
    assert sum(delay for delay in delays if delay is not None) == pytest.approx(1710.0)


@pytest.mark.parametrize("error", [AnalysisTimeoutError("x"), AnalysisFailedError("x"), InternalError("x")])
def test_what_would_fail_again_is_not_tried_again(error: MismoError) -> None:
    assert retry_delay(RETRIES, error, 1) is None

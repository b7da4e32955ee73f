"""The pool of worker processes: what a task may do to its worker never reaches the server or another task."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mismo_grpc.analysis import pool as pool_module
from mismo_grpc.analysis.pool import waited_for_core
from mismo_grpc.errors import (
    AnalysisCrashedError,
    AnalysisFailedError,
    AnalysisTimeoutError,
    CorruptAudioError,
    QueueFullError,
)
from tests.unit.analysis import tasks
from tests.unit.analysis.workers import LONG, ended, pool_of, started

LIMIT = 0.5


async def test_runs_a_function_in_another_process_and_keeps_it() -> None:
    async with pool_of(2) as pool:
        assert await pool.run(tasks.add, 2, 3, timeout_seconds=LONG) == 5
        workers = {await pool.run(tasks.process, timeout_seconds=LONG) for _ in range(3)}
        assert len(workers) == 1
        assert os.getpid() not in workers
        assert (pool.running, pool.waiting) == (0, 0)


async def test_as_many_tasks_as_workers_run_side_by_side(fifo: Callable[[str], Path]) -> None:
    gates = [fifo(name) for name in ("a", "b")]
    async with pool_of(2) as pool:
        runs = [asyncio.create_task(pool.run(tasks.wait_for, gate, timeout_seconds=LONG)) for gate in gates]
        # Opening the second gate first: it opens only because both tasks run.
        for gate in reversed(gates):
            await asyncio.to_thread(gate.write_text, gate.name)
        assert await asyncio.gather(*runs) == ["a", "b"]


async def test_more_tasks_than_may_wait_are_refused(fifo: Callable[[str], Path]) -> None:
    gate = fifo("gate")
    async with pool_of(1, max_queued=1) as pool:
        first = asyncio.create_task(pool.run(tasks.wait_for, gate, timeout_seconds=LONG))
        second = asyncio.create_task(pool.run(tasks.add, 1, 1, timeout_seconds=LONG))
        await asyncio.sleep(0)
        assert (pool.running, pool.waiting) == (1, 1)
        with pytest.raises(QueueFullError, match="1 analyses wait already"):
            await pool.run(tasks.add, 1, 1, timeout_seconds=LONG)
        await asyncio.to_thread(gate.write_text, "open")
        assert (await first, await second) == ("open", 2)


async def test_a_task_that_is_cancelled_while_it_waits_leaves_the_running_one_alone(
    fifo: Callable[[str], Path],
) -> None:
    gate = fifo("gate")
    async with pool_of(1) as pool:
        first = asyncio.create_task(pool.run(tasks.wait_for, gate, timeout_seconds=LONG))
        second = asyncio.create_task(pool.run(tasks.add, 1, 1, timeout_seconds=LONG))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert pool.waiting == 0
        await asyncio.to_thread(gate.write_text, "open")
        assert await first == "open"
        assert await pool.run(tasks.add, 1, 1, timeout_seconds=LONG) == 2


async def test_a_task_that_takes_too_long_is_ended_though_it_holds_the_gil(
    fifo: Callable[[str], Path],
) -> None:
    report = fifo("report")
    async with pool_of(1) as pool:
        run = asyncio.create_task(pool.run(tasks.report_and_wait, report, timeout_seconds=1))
        worker = await started(report)
        with pytest.raises(AnalysisTimeoutError, match="report_and_wait took longer than the 1 s"):
            await run
        await ended(worker)
        assert await pool.run(tasks.add, 2, 3, timeout_seconds=LONG) == 5


async def test_time_in_which_no_core_was_free_for_the_worker_does_not_count(
    fifo: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the lowest priority, beside a separation on all cores, an analysis may wait most of the time."""
    gate, looks = fifo("gate"), 0

    def starved(task: Path) -> float:
        nonlocal looks
        looks += 1
        if looks == 6:
            threading.Thread(target=gate.write_text, args=["open"]).start()
        return looks * LIMIT

    monkeypatch.setattr(pool_module, "waited_for_core", starved)
    async with pool_of(1) as pool:
        assert await pool.run(tasks.wait_for, gate, timeout_seconds=LIMIT) == "open"
        assert looks >= 6


async def test_a_task_that_computes_too_long_is_ended() -> None:
    async with pool_of(1) as pool:
        with pytest.raises(AnalysisTimeoutError):
            await pool.run(tasks.compute_for_ever, timeout_seconds=0.3)


def test_the_kernel_counts_how_long_a_thread_waited_for_a_core(tmp_path: Path) -> None:
    (tmp_path / "schedstat").write_text("7911000000 19515000000 2618\n")
    assert waited_for_core(tmp_path) == pytest.approx(19.515)
    assert waited_for_core(Path("/proc/self")) >= 0
    assert waited_for_core(tmp_path / "gone") == 0
    (tmp_path / "schedstat").write_text("")
    assert waited_for_core(tmp_path) == 0


async def test_a_task_that_is_cancelled_is_ended_at_once(fifo: Callable[[str], Path]) -> None:
    report = fifo("report")
    async with pool_of(1) as pool:
        run = asyncio.create_task(pool.run(tasks.report_and_wait, report, timeout_seconds=LONG))
        worker = await started(report)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await ended(worker)
        assert pool.running == 0
        assert await pool.run(tasks.add, 2, 3, timeout_seconds=LONG) == 5


async def test_cancelling_at_any_moment_leaves_no_word_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = tmp_path / "never"
    os.mkfifo(gate)
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with pool_of(1) as pool:
        for turns in range(24):
            await pool.run(tasks.add, 1, 1, timeout_seconds=LONG)
            run = asyncio.create_task(pool.run(tasks.wait_for, gate, timeout_seconds=LONG))
            for _ in range(turns):
                await asyncio.sleep(0)
            run.cancel()
            await asyncio.wait([run])
    gc.collect()
    assert complaints == []
    assert [record.getMessage() for record in caplog.records] == []


async def test_what_a_task_has_started_ends_with_it(fifo: Callable[[str], Path]) -> None:
    report = fifo("report")
    async with pool_of(1) as pool:
        run = asyncio.create_task(pool.run(tasks.with_a_child, report, timeout_seconds=LONG))
        child = await started(report)
        run.cancel()
        await asyncio.wait([run])
        await ended(child)


@pytest.mark.parametrize("crash", [tasks.segfault, tasks.be_killed])
async def test_a_crash_fails_its_task_alone(crash: Callable[[], None], fifo: Callable[[str], Path]) -> None:
    gate = fifo("gate")
    async with pool_of(2) as pool:
        beside = asyncio.create_task(pool.run(tasks.wait_for, gate, timeout_seconds=LONG))
        with pytest.raises(AnalysisCrashedError, match=f"the analysis {crash.__name__} crashed"):
            await pool.run(crash, timeout_seconds=LONG)
        assert await pool.run(tasks.add, 2, 3, timeout_seconds=LONG) == 5
        await asyncio.to_thread(gate.write_text, "open")
        assert await beside == "open"


async def test_an_error_of_ours_arrives_as_itself_and_the_worker_stays() -> None:
    async with pool_of(1) as pool:
        worker = await pool.run(tasks.process, timeout_seconds=LONG)
        with pytest.raises(CorruptAudioError, match="no music in it") as raised:
            await pool.run(tasks.refuse, timeout_seconds=LONG)
        error = raised.value
        assert (error.message, error.field, error.metadata, error.retry_after) == (
            "no music in it",
            "source",
            {"at": "3"},
            2.0,
        )
        assert await pool.run(tasks.process, timeout_seconds=LONG) == worker


@pytest.mark.parametrize(
    ("function", "arguments", "kind"),
    [
        (tasks.divide, (1, 0), "ZeroDivisionError"),
        (tasks.leave, (), "SystemExit"),
        (tasks.answer_nothing_that_travels, (), "TypeError"),
        (tasks.add, (threading.Lock(), 1), "PicklingError"),
    ],
)
async def test_any_other_error_fails_the_task_and_the_worker_stays(
    function: Callable[..., Any], arguments: tuple[Any, ...], kind: str
) -> None:
    async with pool_of(1) as pool:
        worker = await pool.run(tasks.process, timeout_seconds=LONG)
        with pytest.raises(AnalysisFailedError) as raised:
            await pool.run(function, *arguments, timeout_seconds=LONG)
        assert raised.value.message == f"the analysis {function.__name__} failed ({kind})"
        assert type(raised.value) is AnalysisFailedError
        assert await pool.run(tasks.process, timeout_seconds=LONG) == worker


async def test_the_cause_of_a_failure_has_the_traceback_of_the_worker() -> None:
    async with pool_of(1) as pool:
        with pytest.raises(AnalysisFailedError) as raised:
            await pool.run(tasks.divide, 1, 0, timeout_seconds=LONG)
    assert "return a / b" in str(raised.value.__cause__)


async def test_every_task_of_a_storm_ends_as_it_should(tmp_path: Path) -> None:
    gate = tmp_path / "never"
    os.mkfifo(gate)
    chance = random.Random(5)
    kinds = [chance.choice(["add", "add", "crash", "slow", "cancel"]) for _ in range(40)]
    assert set(kinds) == {"add", "crash", "slow", "cancel"}

    async def one(number: int, kind: str) -> None:
        if kind == "crash":
            with pytest.raises(AnalysisCrashedError):
                await pool.run(tasks.be_killed, timeout_seconds=LONG)
        elif kind == "slow":
            with pytest.raises(AnalysisTimeoutError):
                await pool.run(tasks.wait_for, gate, timeout_seconds=0.02)
        elif kind == "cancel":
            run = asyncio.create_task(pool.run(tasks.wait_for, gate, timeout_seconds=LONG))
            await asyncio.sleep(chance.random() * 0.02)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
        else:
            assert await pool.run(tasks.add, number, 1, timeout_seconds=LONG) == number + 1

    async with pool_of(2) as pool, asyncio.timeout(100):
        await asyncio.gather(*(one(number, kind) for number, kind in enumerate(kinds)))
        assert (pool.running, pool.waiting) == (0, 0)
        assert await pool.run(tasks.add, 2, 3, timeout_seconds=LONG) == 5

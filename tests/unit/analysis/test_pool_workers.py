"""The workers of the pool: how they start, how they live, and that they never outlive their server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mismo_grpc.analysis import pool as pool_module
from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.loudness import analyse_loudness, measure_loudness
from mismo_grpc.analysis.mix import MixFile
from mismo_grpc.analysis.pool import AnalysisPool
from mismo_grpc.errors import (
    AnalysisCrashedError,
    ServerDrainingError,
)
from tests.unit.analysis import tasks
from tests.unit.analysis.signals import music
from tests.unit.analysis.workers import LONG, ended, is_worker, pool_of, started, wait_for_end

ROOT = Path(__file__).resolve().parents[3]


async def test_a_module_that_cannot_be_imported_stops_no_worker(module: Callable[[str], str]) -> None:
    async with pool_of(1, modules=[module("raise ImportError('no such library')"), "wave"]) as pool:
        assert "wave" in (await pool.run(tasks.environment, timeout_seconds=LONG))["modules"]


@pytest.mark.parametrize(
    "text", ["import os; os.kill(os.getpid(), 9)", "import time; time.sleep(600)"], ids=["crash", "hang"]
)
async def test_a_worker_that_does_not_come_up_fails_the_task(
    text: str, module: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "START_SECONDS", 0.5)
    async with pool_of(1, modules=[module(text)]) as pool:
        pool.start(2)
        for _ in range(2):
            with pytest.raises(AnalysisCrashedError):
                await pool.run(tasks.add, 2, 3, timeout_seconds=LONG)
        assert pool.running == 0


async def test_the_time_limit_does_not_count_the_start_of_the_worker(
    module: Callable[[str], str], fifo: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    report, gate = fifo("report"), fifo("gate")
    slow = module(
        f"from pathlib import Path\nPath({str(report)!r}).write_text('importing')\nPath({str(gate)!r}).read_text()"
    )
    async with pool_of(1, modules=[slow]) as pool:
        run = asyncio.create_task(pool.run(tasks.environment, timeout_seconds=LONG))
        assert await asyncio.to_thread(report.read_text) == "importing"
        # The loop's clock passes the time limit of the task, not that of the start.
        assert LONG + 1 < pool_module.START_SECONDS
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda time=loop.time: time() + LONG + 1)
        await asyncio.to_thread(gate.write_text, "go on")
        assert slow in (await run)["modules"]


async def test_started_workers_have_imported_their_modules_before_the_first_task() -> None:
    before = set(psutil.Process().children())
    async with pool_of(2, modules=["wave"]) as pool:
        pool.start(2)
        pool.start(2)
        assert pool.running == 0
        found = await pool.run(tasks.environment, timeout_seconds=LONG)
        assert "wave" in found["modules"]
        workers = [child for child in set(psutil.Process().children()) - before if is_worker(child)]
        assert len(workers) == 2


async def test_a_task_that_is_cancelled_while_its_worker_starts_starts_none() -> None:
    async with pool_of(1) as pool:
        before = set(psutil.Process().children())
        run = asyncio.create_task(pool.run(tasks.process, timeout_seconds=LONG))
        await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        worker = await pool.run(tasks.process, timeout_seconds=LONG)
        for child in set(psutil.Process().children()) - before:
            if child.pid != worker and is_worker(child):
                await ended(child.pid)


async def test_a_worker_that_is_idle_for_long_is_ended() -> None:
    async with pool_of(1, idle_seconds=0.1) as pool:
        worker = await pool.run(tasks.process, timeout_seconds=LONG)
        await ended(worker)
        assert await pool.run(tasks.process, timeout_seconds=LONG) != worker


async def test_a_worker_that_died_while_it_was_idle_costs_no_task() -> None:
    async with pool_of(1) as pool:
        worker = await pool.run(tasks.process, timeout_seconds=LONG)
        os.kill(worker, signal.SIGKILL)
        await ended(worker)
        assert await pool.run(tasks.process, timeout_seconds=LONG) != worker


async def test_a_worker_that_holds_too_much_memory_is_ended_after_its_task() -> None:
    async with pool_of(1, max_idle_bytes=200 << 20) as pool:
        small = await pool.run(tasks.remember, 10 << 20, timeout_seconds=LONG)
        assert await pool.run(tasks.remember, 300 << 20, timeout_seconds=LONG) == small
        await ended(small)
        assert await pool.run(tasks.process, timeout_seconds=LONG) != small


async def test_a_worker_gives_way_to_the_server_and_has_one_thread_of_each_library() -> None:
    async with pool_of(1, niceness=7) as pool:
        found = await pool.run(tasks.environment, timeout_seconds=LONG)
    assert found["niceness"] == os.getpriority(os.PRIO_PROCESS, 0) + 7
    assert found["oom_score"] > int(Path("/proc/self/oom_score_adj").read_text())
    assert found["threads"] == {"1"}


async def test_measures_loudness_in_a_worker_without_the_models_libraries(tmp_path: Path) -> None:
    audio = music(4, 44_100)
    path = tmp_path / "mix.f32"
    path.write_bytes(audio.tobytes())
    inputs = AnalysisInputs(MixFile(path, len(audio), 2, 44_100))
    async with pool_of(1, modules=["mismo_grpc.analysis.loudness"]) as pool:
        loaded = (await pool.run(tasks.environment, timeout_seconds=LONG))["modules"]
        result = await pool.run(analyse_loudness, inputs, timeout_seconds=LONG)
    assert result == measure_loudness(audio, 44_100)
    assert "mismo_grpc.analysis.loudness" in loaded
    assert not {"torch", "av", "soxr", "grpc", "mismo_grpc.separation", "structlog", "asyncio"} & loaded


async def test_closing_lets_running_tasks_end_and_refuses_others(fifo: Callable[[str], Path]) -> None:
    gate = fifo("gate")
    pool = AnalysisPool(1)
    first = asyncio.create_task(pool.run(tasks.wait_for, gate, timeout_seconds=LONG))
    waiting = asyncio.create_task(pool.run(tasks.add, 1, 1, timeout_seconds=LONG))
    await asyncio.sleep(0)
    closing = asyncio.create_task(pool.close(LONG))
    await asyncio.sleep(0)
    with pytest.raises(ServerDrainingError):
        await pool.run(tasks.add, 1, 1, timeout_seconds=LONG)
    await asyncio.to_thread(gate.write_text, "open")
    assert await first == "open"
    with pytest.raises(ServerDrainingError):
        await waiting
    await closing


async def test_closing_ends_what_runs_longer_than_the_grace(fifo: Callable[[str], Path]) -> None:
    report = fifo("report")
    pool = AnalysisPool(1)
    run = asyncio.create_task(pool.run(tasks.report_and_wait, report, timeout_seconds=LONG))
    worker = await started(report)
    await pool.close(0.05)
    with pytest.raises(ServerDrainingError):
        await run
    await ended(worker)


async def test_closing_is_bounded_and_the_kernel_ends_what_is_left(
    fifo: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(pool_module._Worker, "end", lambda _: None)
    report = fifo("report")
    pool = AnalysisPool(1)
    run = asyncio.create_task(pool.run(tasks.report_and_wait, report, timeout_seconds=LONG))
    worker = await started(report)
    await pool.close(0.05)
    await ended(worker)
    with pytest.raises(ServerDrainingError):
        await run


async def test_closing_ends_idle_workers() -> None:
    pool = AnalysisPool(1)
    worker = await pool.run(tasks.process, timeout_seconds=LONG)
    await pool.close(LONG)
    await ended(worker)
    pool.start(2)
    with pytest.raises(ServerDrainingError):
        await pool.run(tasks.process, timeout_seconds=LONG)


SERVER = """
import asyncio, sys
from pathlib import Path
import wave
from mismo_grpc.analysis.pool import AnalysisPool
from tests.unit.analysis import tasks

async def main():
    pool = AnalysisPool(1)
    if sys.argv[1] == "noise":
        await pool.run(tasks.shout, timeout_seconds=60)
        print("wave" in (await pool.run(tasks.environment, timeout_seconds=60))["modules"])
        await pool.close(60)
    elif sys.argv[1] == "idle":
        Path(sys.argv[2]).write_text(str(await pool.run(tasks.process, timeout_seconds=60)))
        await asyncio.Event().wait()
    else:
        await pool.run(tasks.report_and_wait, Path(sys.argv[2]), timeout_seconds=60)

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.fixture
def server(tmp_path: Path) -> list[str]:
    """The command of a server with a pool, in a process of its own."""
    (tmp_path / "server.py").write_text(SERVER)
    return [sys.executable, str(tmp_path / "server.py")]


def test_workers_print_nothing_into_the_log_of_the_server_and_do_not_import_its_main(
    server: list[str],
) -> None:
    done = subprocess.run([*server, "noise"], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_a_worker_dies_with_a_server_that_is_killed(
    server: list[str], fifo: Callable[[str], Path], state: str
) -> None:
    report = fifo("report")
    with subprocess.Popen([*server, state, str(report)], cwd=ROOT) as process:
        try:
            worker = int(report.read_text())
        finally:
            process.kill()
    wait_for_end(worker)

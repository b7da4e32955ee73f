"""Measures what 50 browsers that follow one running job cost the server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from benchmarks.case import EMBEDDED_MODEL, ROOT, Bench, Case
from benchmarks.cases.browsers.browser_process import KINDS
from benchmarks.commands import CommandError, child, last_lines
from benchmarks.playing import measure_forward, wait_segments
from benchmarks.server import Server
from benchmarks.table import Row
from mismo.analysis.v1.job_pb2 import PRIORITY_LOW

NAME = "browser_watchers"
BROWSERS = 50
REACH_PERCENT = 5.0
OPENING_SECONDS = 60.0
CLOSING_SECONDS = 30.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """CPU of the server without its computing threads, in % of a core; events a second that each browser received."""

    percent: float
    events: float = 0.0
    ended: int = 0


async def run(bench: Bench) -> list[Row]:
    """Measures one long job with many short segments without browsers, with 50 of each kind, and without again."""
    seconds = bench.few(20, 6)
    track = bench.tracks.wav(bench.few(3600, 1200))
    async with bench.server(NAME, model=EMBEDDED_MODEL) as server:
        await measure_forward(server, bench.tracks.wav(3))
        job = (await server.client.submit(track, priority=PRIORITY_LOW)).job
        await wait_segments(server.client, job.job_id, 1)
        alone = [await _measure(server, seconds)]
        found = {kind: await _with_browsers(bench, server, job.job_id, kind, seconds) for kind in KINDS}
        alone.append(await _measure(server, seconds))
        await server.client.cancel(job.job_id)
    before = mean(each.percent for each in alone)
    return [_row(kind, measured, before) for kind, measured in found.items()]


def _row(kind: str, measured: Measured, before: float) -> Row:
    extra = measured.percent - before
    complete = measured.ended == 0 and measured.events > 0
    return Row(
        NAME,
        f"{BROWSERS} browsers follow one running job by {kind}: CPU of the server above that of the job",
        f"≤ {REACH_PERCENT:g} % of a core",
        f"{extra:.1f} % ({measured.percent:.1f} % against {before:.1f} %), "
        f"{measured.events:.1f} events a second each" + ("" if complete else "; some were cut off"),
        met=bool(extra <= REACH_PERCENT) and complete,
        figures={"extra_percent": extra, "percent": measured.percent, "events_per_second": measured.events},
    )


async def _with_browsers(bench: Bench, server: Server, job_id: str, kind: str, seconds: float) -> Measured:
    log = bench.folder / f"browsers-{list(KINDS).index(kind)}.log"
    command = [sys.executable, "-m", "benchmarks.cases.browsers.browser_process"]
    command += [kind, server.http, job_id, str(BROWSERS)]
    async with child(command, log, bench.environment, cwd=ROOT, piped=True) as process:
        assert process.stdout is not None
        async with asyncio.timeout(OPENING_SECONDS):
            if not await process.stdout.readline():
                raise CommandError(f"the browsers ended early{last_lines(log)}")
        bench.say(f"{BROWSERS} browsers follow the job by {kind}")
        begin = time.perf_counter()
        measured = await _measure(server, seconds)
        process.terminate()
        async with asyncio.timeout(CLOSING_SECONDS):
            report = json.loads(await process.stdout.read())
        took = time.perf_counter() - begin
    return Measured(measured.percent, mean(report["received"]) / took, report["ended"])


async def _measure(server: Server, seconds: float) -> Measured:
    # The event loop and the store's threads; what computes takes all cores, with browsers or without.
    tasks = Path(f"/proc/{server.pid}/task")
    before, begin = _cpu_seconds(tasks), time.perf_counter()
    await asyncio.sleep(seconds)
    after, took = _cpu_seconds(tasks), time.perf_counter() - begin
    return Measured(100.0 * (after - before) / took)


def _cpu_seconds(tasks: Path) -> float:
    """The CPU time of the event loop's thread and of the store's threads, user and system."""
    total = 0
    for task in tasks.iterdir():
        stat = (task / "stat").read_text()
        name, fields = stat.partition("(")[2].rpartition(")")[0], stat.rpartition(")")[2].split()
        if task.name == tasks.parent.name or name.startswith("store"):
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


CASE = Case(NAME, "50 browsers that follow one running job", run)

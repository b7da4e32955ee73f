"""Measures what many watchers of a running job cost the calls of others, and the delay of their events."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import numpy as np

from benchmarks.case import ROOT, Bench, Case
from benchmarks.commands import CommandError, child, last_lines
from benchmarks.playing import measure_forward, wait_segments
from benchmarks.server import Server
from benchmarks.table import Row
from mismo.analysis.v1.job_pb2 import PRIORITY_LOW

NAME = "watchers"
STREAMS, CHANNELS = 500, 5
CALL_REACH_MS, EVENT_REACH_MS = 60, 250
CALL_PAUSE_SECONDS = 0.02
OPENING_SECONDS = 60.0
CLOSING_SECONDS = 30.0


async def run(bench: Bench) -> list[Row]:
    """Opens 500 WatchJob streams from a second process while the model runs, and calls GetJob from this process."""
    seconds = bench.few(25, 8)
    track = bench.tracks.wav(bench.few(300, 1200))
    async with bench.server(NAME) as server:
        await measure_forward(server, bench.tracks.wav(3))
        job = (await server.client.submit(track, priority=PRIORITY_LOW)).job
        await wait_segments(server.client, job.job_id, 1)
        log = bench.folder / "watchers.log"
        command = [sys.executable, "-m", "benchmarks.cases.watch_process", server.target, job.job_id]
        command += [str(STREAMS), str(CHANNELS)]
        async with child(command, log, bench.environment, cwd=ROOT, piped=True) as process:
            assert process.stdout is not None
            async with asyncio.timeout(OPENING_SECONDS):
                if not await process.stdout.readline():
                    raise CommandError(f"the watching process ended early{last_lines(log)}")
            bench.say(f"{STREAMS} streams are open")
            calls = await _call_for(server, job.job_id, seconds)
            await server.client.cancel(job.job_id)
            async with asyncio.timeout(CLOSING_SECONDS):
                report = await process.stdout.read()
                if await process.wait() != 0:
                    raise CommandError(f"the watching process failed{last_lines(log)}")
    told = json.loads(report)
    delays = np.array(told["delays_seconds"]) * 1000
    call50, call99 = np.percentile(np.array(calls) * 1000, [50, 99])
    event50, event99 = np.percentile(delays, [50, 99])
    complete = told["terminals"] == STREAMS and told["frames_min"] == told["frames_max"]
    return [
        Row(
            NAME,
            f"GetJob while {STREAMS} WatchJob streams are open during a separation",
            f"p99 ≤ {CALL_REACH_MS} ms",
            f"p99 {call99:.0f} ms, p50 {call50:.1f} ms of {len(calls)} calls",
            met=bool(call99 <= CALL_REACH_MS),
            figures={"p99_ms": float(call99), "p50_ms": float(call50), "calls": len(calls)},
        ),
        Row(
            NAME,
            f"events to all {STREAMS} of them: made → received",
            f"p99 ≤ {EVENT_REACH_MS} ms",
            f"p99 {event99:.0f} ms, p50 {event50:.0f} ms of {len(delays)} deliveries"
            + ("" if complete else "; some watchers missed events"),
            met=bool(event99 <= EVENT_REACH_MS) and complete,
            figures={"p99_ms": float(event99), "p50_ms": float(event50), "deliveries": len(delays)},
        ),
    ]


async def _call_for(server: Server, job_id: str, seconds: float) -> list[float]:
    """Calls GetJob repeatedly for `seconds`; returns the duration of each call in seconds."""
    took: list[float] = []
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        begin = time.perf_counter()
        await server.client.get(job_id)
        took.append(time.perf_counter() - begin)
        await asyncio.sleep(CALL_PAUSE_SECONDS)
    return took


CASE = Case(NAME, "500 watchers of a running job", run)

"""Watching all jobs: what catching up over many costs, and how late watchers hear of a change."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import numpy as np

from benchmarks.case import Bench, Case
from benchmarks.server import Server
from benchmarks.table import Row
from mismo.analysis.v1 import job_service_pb2_grpc
from mismo.analysis.v1.job_service_pb2 import WatchJobsRequest
from mismo_grpc.jobs.job import Job, JobOptions, JobState, Priority, Source, SourceKind
from mismo_grpc.jobs.store.sqlite_store import SqliteJobStore

NAME = "watch_jobs"
WATCHERS, CHANNELS = 50, 5
CHANGE_PAUSE_SECONDS = 0.05
CATCH_UP_REACH_SECONDS, CALL_REACH_MS, DELIVERY_REACH_MS = 10.0, 60, 100


class Watcher:
    """One stream from its beginning: when each removal came."""

    def __init__(self) -> None:
        self.jobs = 0
        self.caught_up = asyncio.Event()
        self.removed_at: dict[str, float] = {}
        self._awaited: dict[str, asyncio.Event] = {}

    async def watch(self, stub: job_service_pb2_grpc.JobServiceAsyncStub, labels: dict[str, str]) -> None:
        """Reads until cancelled."""
        async for message in stub.WatchJobs(WatchJobsRequest(labels=labels)):
            kind = message.WhichOneof("event")
            if kind == "job":
                self.jobs += 1
            elif kind == "caught_up":
                self.caught_up.set()
            elif kind == "deleted":
                job_id = message.deleted.job_id
                self.removed_at[job_id] = time.perf_counter()
                self._awaited.setdefault(job_id, asyncio.Event()).set()

    async def heard_of(self, job_id: str) -> None:
        """Waits for a removal."""
        await self._awaited.setdefault(job_id, asyncio.Event()).wait()


async def run(bench: Bench) -> list[Row]:
    """A store of 10,000 ended jobs; one watcher reads all of them, then 50 hear of deletions."""
    count, changes = bench.few(10_000, 1_000), bench.few(300, 50)
    await asyncio.to_thread(_fill, bench.folder / NAME / ".mismo", count)
    async with bench.server(NAME) as server, AsyncExitStack() as stack:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(server.target, options=options))
            for _ in range(CHANNELS)
        ]
        stubs = [job_service_pb2_grpc.JobServiceStub(channel) for channel in channels]
        caught_up = await _catch_up(server, stubs[0], count)
        bench.say(f"one watcher has read {count} jobs")
        alone = await _delete(server, [], [f"job{number}" for number in range(changes)])
        watchers = [Watcher() for _ in range(WATCHERS)]
        async with asyncio.TaskGroup() as group:
            # One label fits a hundred jobs: what is measured is the change, not the catching up.
            tasks = [
                group.create_task(watcher.watch(stubs[number % CHANNELS], {"hundred": "1"}))
                for number, watcher in enumerate(watchers)
            ]
            for watcher in watchers:
                await watcher.caught_up.wait()
            watched = [f"job{number}" for number in range(1, count, 100) if number >= changes]
            told = await _delete(server, watchers, watched)
            for task in tasks:
                task.cancel()
    return [caught_up, _delivery(alone, told, watchers, len(watched))]


async def _catch_up(server: Server, stub: job_service_pb2_grpc.JobServiceAsyncStub, count: int) -> Row:
    watcher = Watcher()
    cpu, begin = _cpu_seconds(server.pid), time.perf_counter()
    reading = asyncio.create_task(watcher.watch(stub, {}))
    calls: list[float] = []
    while not watcher.caught_up.is_set():
        sent = time.perf_counter()
        await server.client.get("job0")
        calls.append(time.perf_counter() - sent)
        await asyncio.sleep(0.02)
    seconds, cpu = time.perf_counter() - begin, _cpu_seconds(server.pid) - cpu
    reading.cancel()
    p99 = float(np.percentile(np.array(calls) * 1000, 99))
    return Row(
        NAME,
        f"WatchJobs without a cursor over {count} jobs, and GetJob meanwhile",
        f"≤ {CATCH_UP_REACH_SECONDS:g} s, p99 of GetJob ≤ {CALL_REACH_MS} ms",
        f"{seconds:.2f} s ({cpu:.2f} s of the server's CPU), p99 {p99:.0f} ms of {len(calls)} calls",
        met=seconds <= CATCH_UP_REACH_SECONDS and p99 <= CALL_REACH_MS and watcher.jobs == count,
        figures={"seconds": seconds, "cpu_seconds": cpu, "p99_ms": p99, "jobs": watcher.jobs},
    )


class Deletions:
    """What a series of deletions took: when each was asked for, and the server's CPU time (seconds)."""

    def __init__(self) -> None:
        self.asked_at: dict[str, float] = {}
        self.cpu_seconds = 0.0


async def _delete(server: Server, watchers: Sequence[Watcher], job_ids: Sequence[str]) -> Deletions:
    done = Deletions()
    cpu = _cpu_seconds(server.pid)
    for job_id in job_ids:
        done.asked_at[job_id] = time.perf_counter()
        await server.client.delete(job_id)
        await asyncio.gather(*(watcher.heard_of(job_id) for watcher in watchers))
        await asyncio.sleep(CHANGE_PAUSE_SECONDS)
    done.cpu_seconds = _cpu_seconds(server.pid) - cpu
    return done


def _delivery(alone: Deletions, told: Deletions, watchers: Sequence[Watcher], changes: int) -> Row:
    delays = [
        (watcher.removed_at[job_id] - asked_at) * 1000
        for watcher in watchers
        for job_id, asked_at in told.asked_at.items()
    ]
    p50, p99 = (float(value) for value in np.percentile(delays, [50, 99]))
    needed = told.cpu_seconds / changes - alone.cpu_seconds / len(alone.asked_at)
    micros = max(0.0, needed) / len(watchers) * 1e6
    return Row(
        NAME,
        f"a deletion, as each of {len(watchers)} WatchJobs streams hears of it: call sent → message received",
        f"p99 ≤ {DELIVERY_REACH_MS} ms",
        f"p99 {p99:.0f} ms, p50 {p50:.0f} ms of {len(delays)} deliveries; "
        f"{micros:.0f} µs of the server's CPU for each",
        met=p99 <= DELIVERY_REACH_MS,
        figures={"p99_ms": p99, "p50_ms": p50, "cpu_micros": micros, "deliveries": len(delays)},
    )


def _fill(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    store = SqliteJobStore(folder / "jobs.sqlite3")
    now = time.time()
    for number in range(count):
        job = Job(
            job_id=f"job{number}",
            run_id=f"{number:032x}",
            revision=9,
            state=JobState.CANCELLED,
            priority=Priority.NORMAL,
            source=Source(SourceKind.PATH, f"/music/track {number}.flac"),
            options=JobOptions(),
            labels={"hundred": str(number % 100), "owner": "benchmark"},
            model="mismo_lite",
            created_at=now,
            ended_at=now,
            expires_at=now + 1e6,
        )
        store.accept(job, "", "", now)
    store.close()


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


CASE = Case(NAME, f"{WATCHERS} watchers of all jobs, and 10,000 jobs to catch up on", run)

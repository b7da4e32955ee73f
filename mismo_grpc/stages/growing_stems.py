"""Records stems that grow while an engine or a generator writes them; each write wakes the event loop once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Protocol

from mismo_grpc.jobs.job import Job
from mismo_grpc.jobs.repository import ActiveJob
from mismo_grpc.results.finishing import StemResults
from mismo_grpc.separation.stems import StemSet
from mismo_grpc.stages.context import StageContext


class Growth(Protocol):
    """Stems that are being written; `finished` resolves when all frames are final, or with the error that ended it."""

    @property
    def stems(self) -> StemSet: ...
    @property
    def finished(self) -> Future[None]: ...
    @property
    def segments_done(self) -> int: ...


async def record_growth(context: StageContext, growth: Growth, begun: Callable[[Job], Job]) -> None:
    """Records the begin of the stage with the change `begun`, and frames as they become final, until all are.

    Raises the error that ended it, DiskFullError or StoreError.
    """
    active, loop = context.active, asyncio.get_running_loop()

    def wake(_: object = None) -> None:
        """Called in a thread of the engine or generator."""
        if not loop.is_closed():
            loop.call_soon_threadsafe(active.stems_changed.notify)

    def is_news() -> bool:
        return (
            growth.finished.done()
            or active.job.segments_done != growth.segments_done
            or bool(_fresh(growth.stems, active))
        )

    unsubscribe = growth.stems.subscribe(wake)
    growth.finished.add_done_callback(wake)
    try:
        active.segments_before = growth.segments_done
        active.separating_since = time.monotonic()
        await context.begin(begun)
        while True:
            await active.stems_changed.wait(is_news, None)
            over = growth.finished.done()
            await _record(context, growth)
            if over:
                growth.finished.result()
                return
    finally:
        unsubscribe()


def with_results(job: Job, results: StemResults) -> Job:
    """The job with the checksums of its finished stems."""
    return replace(job, segments_done=job.segments_total, stem_sha256=results.stem_sha256)


async def _record(context: StageContext, growth: Growth) -> None:
    active = context.active
    if active.job.segments_done != growth.segments_done:
        active.progressed_at = time.monotonic()
    fresh = _fresh(growth.stems, active)
    if fresh:
        now = context.now
        await context.segments_ready(fresh, lambda job: _progressed(job, growth, now))
    elif active.job.segments_done != growth.segments_done:
        # Stored before anybody is told of it, so that a restart does not take it back.
        await context.progressed(lambda job: replace(job, segments_done=growth.segments_done))


def _fresh(stems: StemSet, active: ActiveJob) -> tuple[tuple[int, int], ...]:
    """The ready ranges that were not announced yet."""
    fresh: list[tuple[int, int]] = []
    for start, end in stems.ready:
        fresh.extend(active.ready.missing(start, end))
    return tuple(fresh)


def _progressed(job: Job, growth: Growth, now: float) -> Job:
    first = now - job.created_at
    return replace(
        job,
        segments_done=growth.segments_done,
        time_to_first_audio=first if job.time_to_first_audio is None else job.time_to_first_audio,
    ).with_playhead_audio(growth.stems.ready, now)

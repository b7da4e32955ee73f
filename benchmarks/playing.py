"""What a player does, with a clock: submit, listen, seek."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.server import Server
from benchmarks.tracks import SAMPLE_RATE
from mismo.analysis.v1.job_pb2 import PRIORITY_NORMAL, Job, Priority
from mismo_client import AsyncClient, StemPlayer

PATIENCE_SECONDS = 120.0
"""For anything that one or two segments should bring."""


@dataclass(frozen=True)
class Heard:
    """A player that has heard all stems of a job, `seconds` after the submit."""

    job: Job
    seconds: float


@asynccontextmanager
async def playing(
    server: Server,
    track: Path,
    playhead_frame: int,
    *,
    priority: Priority = PRIORITY_NORMAL,
) -> AsyncGenerator[Heard, None]:
    """Submits a track with a playhead and follows it until all stems can be heard; the job is deleted at the end."""
    client = server.client
    begin = time.perf_counter()
    submitted = await client.submit(track, playhead=playhead_frame / SAMPLE_RATE, priority=priority)
    job = submitted.job
    try:
        player = client.stream_stems(job.job_id, start_frame=playhead_frame, follow=True)
        async with player:
            await hear(player)
            yield Heard(job, time.perf_counter() - begin)
    finally:
        await client.delete(job.job_id)


async def hear(player: StemPlayer) -> None:
    """Reads until every stem has brought a chunk of the current generation; raises TimeoutError."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        missing = set((await player.format()).stem_names)
        async for chunk in player:
            missing.discard(chunk.stem_name)
            if not missing:
                return
    raise EOFError("the stream ended before every stem was heard")


async def settle(server: Server, short_track: Path) -> float:
    """Waits until the device is idle by a job of one segment; answers the time of a forward (seconds).

    What a cancelled job left running is over by then, and the server's average is fresh.
    """
    await finished(server.client, short_track, forget=True)
    return await server.forward_seconds()


async def finished(
    client: AsyncClient, track: Path, *, forget: bool = False, limit_seconds: float = 600.0
) -> Job:
    """A job that succeeded; `forget` deletes it, so that the next one is computed again."""
    submitted = await client.submit(track)
    try:
        async with asyncio.timeout(limit_seconds):
            return await client.wait(submitted.job.job_id)
    finally:
        if forget:
            await client.delete(submitted.job.job_id)


async def wait_segments(client: AsyncClient, job_id: str, segments: int) -> None:
    """Waits until so many segments of a job are done; raises TimeoutError, EOFError if the job ended before."""
    async with asyncio.timeout(PATIENCE_SECONDS * max(1, segments)):
        async with aclosing(client.watch(job_id, min_progress_interval=0.0)) as events:
            async for event in events:
                kind = event.WhichOneof("event")
                if kind == "progress" and event.progress.segments_done >= segments:
                    return
                if kind == "snapshot" and event.snapshot.progress.segments_done >= segments:
                    return
    raise EOFError(f"job {job_id} ended before {segments} segments were done")

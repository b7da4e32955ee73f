"""Timed actions of a player: submit, receive audio, wait."""

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
"""The longest wait for the result of one or two segments."""


@dataclass(frozen=True)
class FirstAudio:
    """A player that has received audio of all stems of a job, `seconds` after the submit."""

    job: Job
    seconds: float


@asynccontextmanager
async def playing(
    server: Server,
    track: Path,
    playhead_frame: int,
    *,
    priority: Priority = PRIORITY_NORMAL,
) -> AsyncGenerator[FirstAudio, None]:
    """Submits a track with a playhead and follows it until all stems have audio; deletes the job after the block."""
    client = server.client
    begin = time.perf_counter()
    submitted = await client.submit(track, playhead=playhead_frame / SAMPLE_RATE, priority=priority)
    job = submitted.job
    try:
        player = client.stream_stems(job.job_id, start_frame=playhead_frame, follow=True)
        async with player:
            await wait_for_audio(player)
            yield FirstAudio(job, time.perf_counter() - begin)
    finally:
        await client.delete(job.job_id)


async def wait_for_audio(player: StemPlayer) -> None:
    """Reads until a chunk of the current generation has arrived for every stem; raises TimeoutError."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        missing = set((await player.format()).stem_names)
        async for chunk in player:
            missing.discard(chunk.stem_name)
            if not missing:
                return
    raise EOFError("the stream ended before every stem had audio")


async def measure_forward(server: Server, short_track: Path) -> float:
    """Runs a job of one segment, so that the device is idle afterwards; returns the time of a forward pass (seconds).

    Segments of cancelled jobs have then ended, and the server's moving average is up to date.
    """
    await finished(server.client, short_track, forget=True)
    return await server.forward_seconds()


async def finished(
    client: AsyncClient, track: Path, *, forget: bool = False, limit_seconds: float = 600.0
) -> Job:
    """Runs a job until it succeeded; `forget` deletes it, so that the next one is computed again."""
    submitted = await client.submit(track)
    try:
        async with asyncio.timeout(limit_seconds):
            return await client.wait(submitted.job.job_id)
    finally:
        if forget:
            await client.delete(submitted.job.job_id)


async def wait_segments(client: AsyncClient, job_id: str, segments: int) -> None:
    """Waits until `segments` segments of a job are done; raises TimeoutError, EOFError if the job ended before."""
    async with asyncio.timeout(PATIENCE_SECONDS * max(1, segments)):
        async with aclosing(client.watch(job_id, min_progress_interval=0.0)) as events:
            async for event in events:
                kind = event.WhichOneof("event")
                if kind == "progress" and event.progress.segments_done >= segments:
                    return
                if kind == "snapshot" and event.snapshot.progress.segments_done >= segments:
                    return
    raise EOFError(f"job {job_id} ended before {segments} segments were done")

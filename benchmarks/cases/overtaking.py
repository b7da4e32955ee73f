"""Submits a HIGH job while a LOW one runs; measures the time to its first audio, and what the LOW job loses."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from benchmarks.case import Bench, Case
from benchmarks.limits import SLACK_SECONDS, ForwardLimit, Trial
from benchmarks.playing import PATIENCE_SECONDS, measure_forward, playing, wait_segments
from benchmarks.server import Server
from benchmarks.table import Row
from mismo.analysis.v1.job_pb2 import PRIORITY_HIGH, PRIORITY_LOW

NAME = "overtaking"
SEGMENTS = 2


async def run(bench: Bench) -> list[Row]:
    """Submits HIGH jobs at different moments of a LOW job's segment."""
    trials = bench.few(6, 2)
    long = bench.tracks.wav(bench.few(300, 600))
    other = bench.tracks.wav(bench.few(180, 60))
    short = bench.tracks.wav(3)
    heard_after: list[Trial] = []
    async with bench.server(NAME) as server:
        forward = await measure_forward(server, short)
        low = await server.client.submit(long, priority=PRIORITY_LOW)
        seen = Announcements()
        watching = asyncio.create_task(seen.watch(server, low.job.job_id))
        try:
            for trial in range(trials):
                done = (await server.client.get(low.job.job_id)).progress.segments_done
                await wait_segments(server.client, low.job.job_id, done + 1)
                await asyncio.sleep(forward * trial / trials)
                before = list(seen.ranges)
                async with playing(server, other, 0, priority=PRIORITY_HIGH) as heard:
                    pass
                forward = await server.forward_seconds()
                heard_after.append(Trial(heard.seconds, forward))
                # The LOW job must not lose or repeat a finished segment meanwhile.
                await wait_segments(server.client, low.job.job_id, done + 2)
                ready = (await server.client.get(low.job.job_id)).stem_set.ready
                seen.lost += sum(
                    not any(r.start_frame <= s and e <= r.end_frame for r in ready) for s, e in before
                )
                bench.say(f"{trial}/{trials} of a segment after its start: {heard.seconds:.2f} s")
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await server.client.delete(low.job.job_id)
    limit = ForwardLimit(SEGMENTS, heard_after)
    return [
        Row(
            NAME,
            "HIGH job submitted while a LOW one runs: submit → its first audio",
            f"≤ {SEGMENTS} segments' time + {SLACK_SECONDS} s",
            limit.measured,
            met=limit.met,
            figures=limit.figures,
        ),
        Row(
            NAME,
            "what the LOW job loses by it",
            "no finished segment",
            f"{seen.lost} of {len(seen.ranges)} finished ranges lost, {seen.twice} made twice",
            met=seen.lost == 0 and seen.twice == 0 and len(seen.ranges) > 0,
            figures={"ranges": len(seen.ranges), "lost": seen.lost, "twice": seen.twice},
        ),
    ]


class Announcements:
    """The finished frame ranges that a job's events announced."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.twice = 0
        self.lost = 0

    async def watch(self, server: Server, job_id: str) -> None:
        """Watches the job until it is cancelled."""
        async with asyncio.timeout(PATIENCE_SECONDS * 10), aclosing(server.client.watch(job_id)) as events:
            async for event in events:
                for told in event.segment_ready.ranges:
                    start, end = told.start_frame, told.end_frame
                    self.twice += any(start < e and s < end for s, e in self.ranges)
                    self.ranges.append((start, end))


CASE = Case(NAME, "a HIGH job that comes while a LOW one runs", run)

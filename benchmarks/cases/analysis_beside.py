"""Measures how much analyses slow a separation beside them, and how long all analyses of a track take on a server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.case import Bench, Case
from benchmarks.playing import finished, measure_forward
from benchmarks.server import Server
from benchmarks.table import Row
from mismo.analysis.v1.stage_pb2 import STAGE_STATE_SUCCEEDED, Stage
from mismo_client.stages import stage_name, stage_of

NAME = "analysis_beside"
STAGES = ("loudness", "basic_features", "characteristics", "sections", "chords", "transition")
SLOWER = 0.10
REAL_TIME_SHARE = 0.15
LIMIT_SECONDS = 600.0


async def run(bench: Bench) -> list[Row]:
    """Analyses a track, then separates another in turns alone and beside analyses, which are repeated until it ends."""
    analysed_seconds, separated_seconds = bench.few(180, 30), bench.few(90, 30)
    analysed = await asyncio.to_thread(bench.tracks.wav, analysed_seconds)
    # Another length, so that neither job reuses a result of the other.
    separated = await asyncio.to_thread(bench.tracks.wav, separated_seconds + 1)
    async with bench.server(NAME) as server:
        stages = await _offered(server)
        names = ", ".join(stage_name(stage) for stage in stages)
        await measure_forward(server, bench.tracks.wav(3))
        # The workers start and load their models.
        await _analyse(server, bench.tracks.wav(20), stages)
        alone_analysis = [await _analyse(server, analysed, stages) for _ in range(bench.few(2, 1))]
        bench.say(f"{names}: {min(alone_analysis):.1f} s for {analysed_seconds} s of audio")
        alone: list[float] = []
        beside: list[float] = []
        done = 0
        for _ in range(bench.few(3, 1)):
            alone.append(await _separate(server, separated))
            seconds, count = await _separate_beside(server, separated, analysed, stages)
            beside.append(seconds)
            done += count
            bench.say(f"separation {alone[-1]:.1f} s alone, {seconds:.1f} s beside {count} analyses")
    share = min(alone_analysis) / analysed_seconds
    slower = min(beside) / min(alone) - 1
    missing = set(STAGES) - {stage_name(stage) for stage in stages}
    lacking = f"; not offered: {', '.join(sorted(missing))}" if missing else ""
    return [
        Row(
            NAME,
            f"a job of all analyses ({names}) of a track of {analysed_seconds} s on a warm server: submit → succeeded",
            f"≤ {REAL_TIME_SHARE:g} × real time",
            f"{share:.3f} × real time: {min(alone_analysis):.1f} s, the best of {len(alone_analysis)}{lacking}",
            met=share <= REAL_TIME_SHARE and not missing,
            figures={"seconds": alone_analysis},
        ),
        Row(
            NAME,
            f"separation of {separated_seconds + 1} s ({bench.model}) while such jobs run one after the other",
            f"at most {SLOWER:.0%} slower",
            f"{slower:+.1%}: {min(beside):.1f} s against {min(alone):.1f} s, the best of {len(alone)} in turns; "
            f"{done} analyses ended meanwhile{lacking}",
            met=slower <= SLOWER and not missing,
            figures={"alone_seconds": alone, "beside_seconds": beside, "analyses": done},
        ),
    ]


async def _offered(server: Server) -> list[Stage]:
    """The analyses that the server offers, of STAGES."""
    wanted = [stage_of(name) for name in STAGES]
    return [info.stage for info in await server.client.stages() if info.available and info.stage in wanted]


async def _separate(server: Server, track: Path) -> float:
    begin = time.perf_counter()
    job = await finished(server.client, track, forget=True, limit_seconds=LIMIT_SECONDS)
    assert job.stem_set.stem_names
    return time.perf_counter() - begin


async def _separate_beside(
    server: Server, separated: Path, analysed: Path, stages: Sequence[Stage]
) -> tuple[float, int]:
    """Separates a track while another is analysed repeatedly; returns the seconds and how many analyses ended."""
    count = 0

    async def analyse() -> None:
        nonlocal count
        while True:
            await _analyse(server, analysed, stages)
            count += 1

    analysing = asyncio.create_task(analyse())
    try:
        seconds = await _separate(server, separated)
        if analysing.done():
            await analysing
    finally:
        analysing.cancel()
        await asyncio.gather(analysing, return_exceptions=True)
    return seconds, count


async def _analyse(server: Server, track: Path, stages: Sequence[Stage]) -> float:
    """Runs a job of analyses and deletes it, so that the next one is computed again; returns the seconds it took."""
    begin = time.perf_counter()
    submitted = await server.client.submit(track, stages=stages)
    assert not submitted.cache_hit, "an earlier result was reused: nothing was measured"
    job_id = submitted.job.job_id
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            job = await server.client.wait(job_id)
        seconds = time.perf_counter() - begin
    finally:
        await server.client.delete(job_id)
    failed = [status.stage for status in job.stages if status.state != STAGE_STATE_SUCCEEDED]
    if failed:
        raise ValueError(f"stages failed: {', '.join(map(stage_name, failed))}")
    return seconds


CASE = Case(NAME, "separation beside analyses, and all analyses on a server", run, limit_seconds=1800.0)

"""Compares a whole track with the `demucs` command: same weights, both from start to files on disk."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import soundfile

from benchmarks.case import Bench, Case
from benchmarks.commands import timed
from benchmarks.playing import measure_forward
from benchmarks.server import Server
from benchmarks.table import Row

NAME = "whole_track"
WARM_RATIO, COLD_RATIO = 0.6, 0.75
LIMIT_SECONDS = 900.0


async def run(bench: Bench) -> list[Row]:
    """Runs rounds of the demucs command, of the client with a warm server, and of the client with a cold server."""
    seconds = bench.few(180, 30)
    track = bench.tracks.wav(seconds)
    repository = await asyncio.to_thread(lambda: bench.demucs_repository)
    demucs: list[float] = []
    warm: list[float] = []
    cold: list[float] = []
    for number in range(bench.few(2, 1)):
        demucs.append(await _demucs(bench, track, repository, number))
        bench.say(f"demucs command: {demucs[-1]:.1f} s")
        async with bench.server(f"{NAME}-warm{number}") as server:
            await measure_forward(server, bench.tracks.wav(3))
            warm.append(await _mismo(bench, server, track, f"warm{number}"))
        bench.say(f"mismo separate, warm: {warm[-1]:.1f} s")
        begin = time.perf_counter()
        async with bench.server(f"{NAME}-cold{number}", warm=False) as server:
            await _mismo(bench, server, track, f"cold{number}")
            cold.append(time.perf_counter() - begin)
        bench.say(f"server and mismo separate, cold: {cold[-1]:.1f} s")
    return [
        _row("warm", seconds, warm, demucs, WARM_RATIO),
        _row("cold (the server's start counts)", seconds, cold, demucs, COLD_RATIO),
    ]


async def _demucs(bench: Bench, track: Path, repository: Path, number: int) -> float:
    target = bench.folder / f"demucs{number}"
    command = [bench.command("demucs"), "--repo", str(repository), "-n", bench.model, "--shifts", "0"]
    command += ["-o", str(target), str(track)]
    took = await timed(command, bench.folder / "demucs.log", bench.environment, LIMIT_SECONDS)
    _check(target / bench.model / track.stem, track)
    shutil.rmtree(target)
    return took


async def _mismo(bench: Bench, server: Server, track: Path, name: str) -> float:
    target = bench.folder / name
    command = [bench.command("mismo"), "separate", str(track), "-o", str(target), "--server", server.target]
    took = await timed(command, bench.folder / "mismo.log", bench.environment, LIMIT_SECONDS)
    _check(target / track.stem, track)
    shutil.rmtree(target)
    return took


def _check(folder: Path, track: Path) -> None:
    """Checks that the output is complete."""
    stems = sorted(folder.glob("*.wav"))
    frames = {soundfile.info(path).frames for path in stems}
    if len(stems) != 4 or frames != {soundfile.info(track).frames}:
        raise ValueError(f"{folder.name}: {len(stems)} stems of {frames} frames are not the track's four")


def _row(how: str, seconds: int, ours: Sequence[float], demucs: Sequence[float], reach: float) -> Row:
    ratios = [mine / theirs for mine, theirs in zip(ours, demucs, strict=True)]
    worst = max(ratios)
    return Row(
        NAME,
        f"a whole {seconds} s track against the `demucs` command (4.1.0, same weights, `--shifts 0`), {how}",
        f"≤ {reach} × its time",
        f"{worst:.2f} × in the worse of {len(ratios)} rounds: {statistics.median(ours):.1f} s "
        f"against {statistics.median(demucs):.1f} s",
        met=worst <= reach,
        figures={"seconds": list(ours), "demucs_seconds": list(demucs), "ratios": ratios},
    )


CASE = Case(NAME, "a whole track against the demucs command, warm and cold", run, limit_seconds=1200.0)

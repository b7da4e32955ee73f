"""Measures the loudness analysis in a worker of the pool: its speed, its memory, and its difference to ffmpeg."""

from __future__ import annotations

import asyncio
import math
import os
import time
from pathlib import Path

from benchmarks.case import Bench, Case
from benchmarks.ebur128 import ebur128
from benchmarks.process_memory import rss_anon
from benchmarks.table import Row
from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.loudness import LoudnessResult, analyse_loudness
from mismo_grpc.analysis.mix import MixFile
from mismo_grpc.analysis.pool import AnalysisPool
from mismo_grpc.audio.decode import DecodedMix, decode_to_file, open_mix

NAME = "loudness"
SAMPLE_RATE = 44_100
TRACK_SECONDS = 240
WARM_SECONDS, COLD_SECONDS = 1.0, 1.5
WORKER_MB = 64
DIFFERENCE = 0.1
LIMIT_SECONDS = 60.0
MODULES = ("mismo_grpc.analysis.loudness",)


async def run(bench: Bench) -> list[Row]:
    """Analyses a track of four minutes in a new and in a running worker, and compares the real track with ffmpeg."""
    long = await asyncio.to_thread(_decoded, bench.tracks.wav(TRACK_SECONDS), bench.folder / "long.f32")
    source = await asyncio.to_thread(_decoded, bench.tracks.source, bench.folder / "source.f32")
    cold: list[float] = []
    warm: list[float] = []
    memory: list[float] = []
    for _ in range(bench.few(5, 2)):
        pool = AnalysisPool(1, modules=MODULES)
        try:
            cold.append(await _seconds(pool, long))
            warm.append(await _seconds(pool, long))
            worker = await pool.run(os.getpid, timeout_seconds=LIMIT_SECONDS)
            memory.append(rss_anon(Path(f"/proc/{worker}/status")) / 1e6)
        finally:
            await pool.close(0)
    bench.say("measured in workers")
    apart = await asyncio.to_thread(_apart, source)
    what = (
        f"loudness of a {TRACK_SECONDS} s track (LUFS, range, true peak), in a worker process with one thread"
    )
    return [
        Row(
            NAME,
            f"{what}, running",
            f"≤ {WARM_SECONDS:g} s",
            f"{max(warm):.2f} s at worst of {len(warm)}, {TRACK_SECONDS / max(warm):.0f} × real time",
            met=max(warm) <= WARM_SECONDS,
            figures={"seconds": warm},
        ),
        Row(
            NAME,
            f"{what}, which is started for it",
            f"≤ {COLD_SECONDS:g} s",
            f"{max(cold):.2f} s at worst of {len(cold)}",
            met=max(cold) <= COLD_SECONDS,
            figures={"seconds": cold},
        ),
        Row(
            NAME,
            "memory (RssAnon) of that worker afterwards",
            f"≤ {WORKER_MB} MB",
            f"{max(memory):.0f} MB",
            met=max(memory) <= WORKER_MB,
            figures={"megabytes": memory},
        ),
        Row(
            NAME,
            f"difference to ffmpeg's `ebur128=peak=true` on {source.frames / SAMPLE_RATE:.0f} s of music",
            f"≤ {DIFFERENCE} LU or dB in each of 6 measures",
            f"{max(apart.values()):.3f} ({max(apart, key=lambda name: apart[name])})",
            met=max(apart.values()) <= DIFFERENCE,
            figures=apart,
        ),
    ]


def _decoded(track: Path, target: Path) -> DecodedMix:
    return decode_to_file(track, target, SAMPLE_RATE, 2, hash_source=False)


async def _seconds(pool: AnalysisPool, mix: DecodedMix) -> float:
    begin = time.perf_counter()
    await _measure(pool, mix)
    return time.perf_counter() - begin


async def _measure(pool: AnalysisPool, mix: DecodedMix) -> LoudnessResult:
    return await pool.run(analyse_loudness, _inputs(mix), timeout_seconds=LIMIT_SECONDS)


def _inputs(mix: DecodedMix) -> AnalysisInputs:
    return AnalysisInputs(MixFile(mix.path, mix.frames, mix.channels, mix.sample_rate))


def _apart(mix: DecodedMix) -> dict[str, float]:
    """Returns each measure's difference to ffmpeg's, in LU or dB; infinite if only one of them has the measure."""
    ours = analyse_loudness(_inputs(mix))
    theirs = ebur128(open_mix(mix), mix.sample_rate)
    pairs = {
        "integrated loudness": (ours.integrated_lufs, theirs.integrated_lufs),
        "loudness range": (ours.loudness_range_lu, theirs.loudness_range_lu),
        "maximum momentary loudness": (ours.max_momentary_lufs, theirs.max_momentary_lufs),
        "maximum short-term loudness": (ours.max_short_term_lufs, theirs.max_short_term_lufs),
        "sample peak": (ours.sample_peak_dbfs, 20 * math.log10(theirs.sample_peak)),
        "true peak": (ours.true_peak_dbtp, 20 * math.log10(theirs.true_peak)),
    }
    return {name: math.inf if mine is None else abs(mine - other) for name, (mine, other) in pairs.items()}


CASE = Case(NAME, "loudness in a worker process: speed, memory, difference to ffmpeg", run)

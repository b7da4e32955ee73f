"""Measures how long the exports of a track take, and their memory, against the ffmpeg command."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.case import ROOT, Bench, Case
from benchmarks.commands import CommandError
from benchmarks.table import Row

NAME = "exports"
TRACK_SECONDS = 180
STEMS = 4
TIMES_FFMPEG = {"flac": 2.0, "mp3": 3.0, "stem.mp4": 1.5}
"""The LAME in PyAV's wheels is built without its assembler, and takes twice as long as Debian's."""
MEGABYTES = 64
LIMIT_SECONDS = 600
FORMATS = ("flac", "mp3", "stem.mp4")


async def run(bench: Bench) -> list[Row]:
    """Makes each format of a track of three minutes, in turns with ffmpeg, each in a process of its own."""
    seconds = bench.few(TRACK_SECONDS, 20)
    track = await asyncio.to_thread(bench.tracks.wav, seconds)
    target = bench.folder / "export"
    idle = await _measured(bench, ["none"])
    rows: list[Row] = []
    for kind in FORMATS:
        ours: list[dict[str, float]] = []
        theirs: list[dict[str, float]] = []
        for _ in range(bench.few(3, 1)):
            ours.append(await _measured(bench, [kind, str(track), str(target)]))
            if shutil.which("ffmpeg"):
                theirs.append(await _measured(bench, ["command", *_ffmpeg(kind, track, target)]))
        # Seconds of the processor, which other processes do not change much.
        took = min(each["cpu_seconds"] for each in ours) - idle["cpu_seconds"]
        took_ffmpeg = min((each["cpu_seconds"] for each in theirs), default=0.0)
        more = max(each["rss_mb"] for each in ours) - idle["rss_mb"]
        against = f", ffmpeg {took_ffmpeg:.1f} s" if theirs else ""
        figures = {
            "seconds": [each["seconds"] for each in ours],
            "megabytes": [each["rss_mb"] for each in ours],
        }
        if theirs:
            figures |= {"ffmpeg seconds": [each["seconds"] for each in theirs]}
        what = (
            "one STEM file with five AAC streams"
            if kind == "stem.mp4"
            else f"{STEMS} stems as {kind.upper()}"
        )
        rows += [
            Row(
                NAME,
                f"{what} of a {seconds} s track, one thread; seconds of the processor",
                f"≤ {TIMES_FFMPEG[kind]:g} × the ffmpeg command",
                f"{took:.1f} s ({seconds / took:.0f} × real time){against}",
                met=took <= TIMES_FFMPEG[kind] * took_ffmpeg if theirs else None,
                figures=figures,
            ),
            Row(
                NAME,
                f"memory meanwhile, besides the {idle['rss_mb']:.0f} MB of the idle process",
                f"≤ {MEGABYTES} MB",
                f"{more:.0f} MB",
                met=more <= MEGABYTES,
            ),
        ]
    return rows


def _ffmpeg(kind: str, track: Path, target: Path) -> Sequence[str]:
    """A command that makes the same of the same samples, with one thread for each encoder."""
    start = ["ffmpeg", "-y", "-v", "error", "-threads", "1", "-i", str(track)]
    if kind == "stem.mp4":
        mix = "[0:a]asplit=9[m1][m2][m3][m4][o1][o2][o3][o4][x];[x]anullsink;[m1][m2][m3][m4]amix=4:normalize=0,"
        maps = ["-map", "[m]", *(word for i in range(1, 5) for word in ("-map", f"[o{i}]"))]
        graph = ["-filter_complex", f"{mix}alimiter=limit=0.96:level=0[m]", *maps]
        return [*start, *graph, "-c:a", "aac", "-b:a", "256k", "-f", "mp4", str(target)]
    codec = ["flac", "-compression_level", "4"] if kind == "flac" else ["libmp3lame", "-b:a", "320k"]
    outputs = [
        word for i in range(STEMS) for word in ("-map", "0:a", "-c:a", *codec, "-f", kind, f"{target}{i}")
    ]
    return [*start, *outputs]


async def _measured(bench: Bench, arguments: Sequence[str]) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.cases.exports.encode_process", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**bench.environment, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            out, err = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise CommandError(f"{' '.join(arguments[:2])} failed: {err.decode(errors='replace')[-500:]}")
    return json.loads(out)


CASE = Case(NAME, "exports of a three-minute track: seconds and memory, against ffmpeg", run)

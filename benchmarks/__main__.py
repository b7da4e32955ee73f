"""`python -m benchmarks`: measures and prints a table; exit status 1 if anything is not met."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.case import EMBEDDED_MODEL, ROOT, Bench, Case
from benchmarks.cases import (
    analysis,
    analysis_beside,
    blobs,
    delivery,
    first_audio,
    interruptions,
    loudness,
    memory,
    overtaking,
    parity,
    player_beside_bulk,
    seeking,
    start_up,
    throughput,
    watch_jobs,
    watchers,
    whole_track,
)
from benchmarks.cases.browsers import following, web_page
from benchmarks.cases.exports import encoding
from benchmarks.cases.generators import generated_songs, generation
from benchmarks.commands import last_lines
from benchmarks.models import LOCAL_MODEL
from benchmarks.music.songs import FIRST_SEED, REAL_MUSIC, MusicOptions
from benchmarks.table import Row, failed, json_report, rich_table, write_markdown
from benchmarks.tracks import DEMO_TRACK, Tracks

CACHE = ROOT / "benchmarks" / "out"
CASES: tuple[Case, ...] = (
    parity.CASE,
    first_audio.CASE,
    whole_track.CASE,
    overtaking.CASE,
    seeking.CASE,
    memory.CASE,
    start_up.CASE,
    start_up.DEMO_CASE,
    throughput.CASE,
    watchers.CASE,
    watch_jobs.CASE,
    following.CASE,
    web_page.CASE,
    web_page.PLAYING_CASE,
    delivery.CASE,
    encoding.CASE,
    loudness.CASE,
    analysis.CASE,
    analysis_beside.CASE,
    generation.CASE,
    generated_songs.CASE,
    blobs.CASE,
    player_beside_bulk.CASE,
    interruptions.POWER_CUTS,
    interruptions.KILLS,
)
PLAIN_WIDTH = 160
BUSY_LOAD = 0.5
"""A load average above this before the start means that other processes will make the figures worse."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns exit status 0, 1 (a promise is not met) or 2 (usage)."""
    given = _parse(arguments)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    if given.list:
        for case in CASES:
            print(f"{case.name:12}  {case.summary}{' (only when named)' if case.optional else ''}")
        return 0
    machine = machine_facts(
        given.model or (EMBEDDED_MODEL if given.quick else LOCAL_MODEL), quick=given.quick
    )
    for name, value in machine.items():
        console.print(f"{name}: {value}", markup=False)
    try:
        rows = asyncio.run(_measure(given, chosen(given.names, with_demo=given.with_demo), console))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("interrupted; all started processes have ended")
        return 1
    console.print(rich_table(rows))
    if given.json is not None:
        given.json.write_text(json_report(rows, machine))
    if given.markdown is not None:
        write_markdown(given.markdown, rows, machine)
    return 0 if all(row.met is not False for row in rows) else 1


def chosen(names: Sequence[str], *, with_demo: bool) -> list[Case]:
    """Returns the cases to run, in the table's order; without names all but the optional ones."""
    if names:
        return [case for case in CASES if case.name in names]
    return [case for case in CASES if not case.optional or (with_demo and case is start_up.DEMO_CASE)]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="cases to run (all; --list shows their names)"
    )
    parser.add_argument("--list", action="store_true", help="show the cases and exit")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"a smoke test with {EMBEDDED_MODEL}, fewer trials and shorter tracks; its figures are not for publishing",
    )
    parser.add_argument("--with-demo", action="store_true", help="also run `make demo` in a fresh clone")
    parser.add_argument("--track", type=Path, default=DEMO_TRACK, help="any audio file (the demo track)")
    parser.add_argument(
        "--model",
        choices=[LOCAL_MODEL, EMBEDDED_MODEL],
        help=f"model to measure ({LOCAL_MODEL}, with random weights; with --quick {EMBEDDED_MODEL})",
    )
    parser.add_argument("--device", default="auto", help="as for server.py (auto)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all single values to FILE")
    parser.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="write the table to FILE, between its marks if it has them",
    )
    music = parser.add_argument_group("music, of the case analysis")
    music.add_argument("--songs", type=int, default=0, help="composed songs (24)")
    music.add_argument("--song-seconds", type=float, default=0.0, metavar="S", help="their length (90)")
    music.add_argument(
        "--song-seed", type=int, default=FIRST_SEED, metavar="N", help=f"seed of the first ({FIRST_SEED})"
    )
    music.add_argument(
        "--font", type=Path, action="append", default=[], help="sound font that plays them; repeatable"
    )
    music.add_argument(
        "--music", type=Path, default=REAL_MUSIC, help="folder of real songs (../shared/music)"
    )
    given = parser.parse_args(arguments)
    unknown = set(given.names) - {case.name for case in CASES}
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}; --list shows their names")
    if not given.list and not given.track.is_file():
        parser.error(f"there is no file {given.track}; name any audio file with --track")
    if missing := [str(font) for font in given.font if not font.is_file()]:
        parser.error(f"no such sound font: {', '.join(missing)}")
    return given


async def _measure(given: argparse.Namespace, cases: Sequence[Case], console: Console) -> list[Row]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    CACHE.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="run-", dir=CACHE, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        bench = Bench(
            folder=folder,
            cache=CACHE,
            tracks=Tracks(given.track.resolve(), folder / "tracks"),
            model=given.model or (EMBEDDED_MODEL if given.quick else LOCAL_MODEL),
            device=given.device,
            quick=given.quick,
            say=lambda text: console.print(f"    {text}", style="dim", markup=False),
            music=MusicOptions(
                given.songs, given.song_seconds, given.song_seed, tuple(given.font), given.music
            ),
        )
        for case in cases:
            console.print(f"{case.name}: {case.summary}", style="bold", markup=False)
            rows += await _run(case, bench, console)
    return rows


async def _run(case: Case, bench: Bench, console: Console) -> list[Row]:
    begin, started_at = time.perf_counter(), time.time()
    try:
        async with asyncio.timeout(case.limit_seconds):
            rows = await case.run(bench)
    except Exception as error:  # a case that fails must not prevent the others
        reason = str(error) or type(error).__name__
        rows = [failed(case.name, case.summary, reason.splitlines()[0])]
        console.print(reason, style="red", markup=False)
        for log in sorted(bench.folder.glob("*.log")):
            if log.stat().st_mtime >= started_at:
                console.print(f"{log.name}:{last_lines(log)}", markup=False)
    for row in rows:
        verdict = {True: "met", False: "NOT MET", None: ""}[row.met]
        console.print(f"  {row.measured}  {verdict}", markup=False)
    console.print(f"  {time.perf_counter() - begin:.0f} s", style="dim")
    return rows


def machine_facts(model: str, *, quick: bool) -> dict[str, str]:
    """Returns the facts that the figures depend on."""
    load = os.getloadavg()[0]
    facts = {
        "machine": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "software": f"Python {platform.python_version()}, commit {start_up.commit() or 'unknown'}",
        "model": f"{model}{', random weights' if model == LOCAL_MODEL else ''}",
        "load before": f"{load:.2f}"
        + (" (other processes are running: the figures will be worse)" if load > BUSY_LOAD else ""),
    }
    return {**facts, "mode": "quick: not for publishing"} if quick else facts


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())

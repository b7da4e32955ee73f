"""Measures how soon a server accepts jobs, and how long `make demo` takes in a fresh clone."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.case import ROOT, Bench, Case
from benchmarks.commands import timed
from benchmarks.table import Row

NAME, DEMO_NAME = "start_up", "demo"
REACH_SECONDS, DEMO_REACH_SECONDS = 3.0, 180.0
DEMO_LIMIT_SECONDS = 1500.0


async def run(bench: Bench) -> list[Row]:
    """Measures the time from the spawn of `python server.py` to its ready file, several times."""
    ready: list[float] = []
    warm: list[float] = []
    for number in range(bench.few(5, 2)):
        begin = time.perf_counter()
        async with bench.server(f"{NAME}{number}") as server:
            ready.append(server.start_seconds)
            warm.append(time.perf_counter() - begin)
        bench.say(f"accepting jobs after {ready[-1]:.2f} s, model warm after {warm[-1]:.2f} s")
    return [
        Row(
            NAME,
            "start to accepting jobs",
            f"≤ {REACH_SECONDS:.0f} s",
            f"{statistics.median(ready):.2f} s, at worst {max(ready):.2f} s of {len(ready)}; "
            f"model warm after {statistics.median(warm):.1f} s",
            met=max(ready) <= REACH_SECONDS,
            figures={"ready_seconds": ready, "warm_seconds": warm},
        )
    ]


async def run_demo(bench: Bench) -> list[Row]:
    """Runs `make demo` in a clone of the last commit, with packages that were downloaded before."""
    clone, wheels, log = bench.folder / "clone", bench.folder / "wheels", bench.folder / "demo.log"
    await timed(["git", "clone", "--quiet", str(ROOT), str(clone)], log, bench.environment, 120.0)
    # hatchling and editables build the project's own package; pip downloads them separately.
    download = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "-r",
        "requirements.lock",
        "hatchling",
        "editables",
    ]
    fetched = await timed(
        [*download, "-d", str(wheels)], log, bench.environment, DEMO_LIMIT_SECONDS, cwd=clone
    )
    bench.say(f"packages fetched in {fetched:.0f} s")
    offline = {**bench.environment, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    offline.pop("VIRTUAL_ENV", None)
    python = Path(sys.base_prefix, "bin", "python3")
    took = await timed(["make", "demo", f"PYTHON={python}"], log, offline, DEMO_LIMIT_SECONDS, cwd=clone)
    stems = sorted((clone / "out").rglob("*.wav"))
    return [
        Row(
            DEMO_NAME,
            "`make demo` in a fresh clone, downloads apart",
            f"≤ {DEMO_REACH_SECONDS / 60:.0f} min",
            f"{took:.0f} s, {len(stems)} stems (and {fetched:.0f} s of downloads)",
            met=took <= DEMO_REACH_SECONDS and len(stems) == 4,
            figures={"seconds": took, "download_seconds": fetched},
        )
    ]


def commit() -> str:
    """Returns the measured commit, marked if files differ from it; "" outside a clone."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


CASE = Case(NAME, "start to accepting jobs", run)
DEMO_CASE = Case(
    DEMO_NAME,
    "`make demo` in a fresh clone; installs everything anew",
    run_demo,
    limit_seconds=3000.0,
    optional=True,
)

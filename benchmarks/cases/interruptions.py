"""Cuts the power of a server, and kills one, while clients use it; counts the wrong, lost and failed jobs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.case import Bench, Case
from benchmarks.table import Row, failed
from tests.powercut.disk import missing
from tests.powercut.machine import Machine
from tests.powercut.results import undisturbed
from tests.powercut.trial import run_trial
from tests.support.process import ServerProcess
from tests.unit.separation.bags import tiny_htdemucs, write_safetensors_bag

MODEL = "tiny"
SEED = 10


async def _measure(
    bench: Bench,
    name: str,
    what: str,
    count: int,
    machine_of: Callable[[Path, Path], tuple[ServerProcess, Callable[[], None]]],
) -> list[Row]:
    folder = bench.folder / name
    models = folder / "models"
    for path in (models, folder / "undisturbed", folder / "disturbed"):
        path.mkdir(parents=True)
    write_safetensors_bag(models, MODEL, [tiny_htdemucs(1)])
    expected = await undisturbed(ServerProcess(folder / "undisturbed", models))
    process, interrupt = machine_of(folder / "disturbed", models)
    try:
        found = await run_trial(process, interrupt, expected, seed=SEED, interruptions=count, say=bench.say)
    finally:
        process.close()
    figures = {"wrong": len(found.wrong), "lost": len(found.lost), "failed": len(found.failed)}
    return [
        Row(
            name,
            f"{found.interruptions} {what} with jobs, uploads and callbacks under way",
            "0 jobs wrong, 0 lost, 0 failed, against undisturbed ones, byte by byte",
            f"{figures['wrong']} wrong, {figures['lost']} lost, {figures['failed']} failed of {found.jobs}",
            met=found.none,
            figures={**figures, "jobs": found.jobs, "interruptions": found.interruptions},
        )
    ]


def _with_power_cuts(folder: Path, models: Path) -> tuple[ServerProcess, Callable[[], None]]:
    machine = Machine(folder, models, MODEL, seed=SEED)
    return machine, machine.cut


def _with_kills(folder: Path, models: Path) -> tuple[ServerProcess, Callable[[], None]]:
    process = ServerProcess(folder, models, MODEL)
    return process, process.kill


async def run_power_cuts(bench: Bench) -> list[Row]:
    """40 power cuts, on a file system that loses what was not synced."""
    what = "power cuts"
    if reason := missing():
        return [failed("power_cuts", what, reason)]
    return await _measure(bench, "power_cuts", what, bench.few(40, 4), _with_power_cuts)


async def run_kills(bench: Bench) -> list[Row]:
    """100 times kill -9."""
    return await _measure(bench, "kills", "× kill -9", bench.few(100, 5), _with_kills)


LIMIT_SECONDS = 3600.0
POWER_CUTS = Case(
    "power_cuts", "40 power cuts at random moments", run_power_cuts, LIMIT_SECONDS, optional=True
)
KILLS = Case("kills", "100 × kill -9 at random moments", run_kills, LIMIT_SECONDS, optional=True)

"""After a power cut at any moment no audio is wrong, nothing that a client was told is lost, and no job has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.powercut.machine import Machine
from tests.powercut.results import Result, undisturbed
from tests.powercut.trial import Moment, run_trial, trial_of
from tests.support.process import ServerProcess

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def expected(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Result]]:
    process = ServerProcess(tmp_path_factory.mktemp("undisturbed"), models)
    yield asyncio.run(undisturbed(process))
    process.close()


@pytest.fixture
def machine(models: Path, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path, models, seed=1)
    yield machine
    machine.close()


async def test_cuts_while_work_goes_on_and_right_after_something_was_told(
    machine: Machine, expected: dict[str, Result]
) -> None:
    # The job "again" of the second episode reuses an earlier result.
    episodes: list[list[Moment]] = [
        ["uploaded sent-0", "measured long-0", "succeeded long-0"],
        ["succeeded again-1"],
    ]
    async with trial_of(machine, machine.cut, expected, seed=1) as trial:
        for moments in episodes:
            await trial.episode(moments)
    assert trial.findings.interruptions == 4
    assert trial.findings.none, trial.findings


@pytest.mark.heavy
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [2, 3])
async def test_cuts_at_random_moments(
    models: Path, tmp_path: Path, expected: dict[str, Result], seed: int
) -> None:
    machine = Machine(tmp_path, models, seed=seed)
    try:
        findings = await run_trial(machine, machine.cut, expected, seed=seed, interruptions=6)
    finally:
        machine.close()
    assert findings.none, findings


@pytest.mark.heavy
@pytest.mark.timeout(600)
async def test_kills_at_random_moments(models: Path, tmp_path: Path, expected: dict[str, Result]) -> None:
    """The same clients with kill -9 of the process instead of a power cut."""
    process = ServerProcess(tmp_path, models)
    try:
        findings = await run_trial(process, process.kill, expected, seed=4, interruptions=6)
    finally:
        process.close()
    assert findings.none, findings

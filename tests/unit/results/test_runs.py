"""A run's files stay as long as anyone reads them; a job's name leads to its newest result in one step."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from mismo_grpc.errors import InvalidJobIdError
from mismo_grpc.results.runs import Runs

ONE, TWO = "1" * 32, "2" * 32


def make(runs: Runs, run: str) -> Path:
    """A run's folder with a stem that tells whose it is."""
    files = runs.files(run)
    files.stems.mkdir(parents=True)
    files.stem("drums").write_text(run)
    files.stems_json.write_text("{}")
    return files.folder


async def test_a_discarded_run_stays_until_its_last_reader_has_left(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    folder = make(runs, ONE)
    with runs.held(ONE) as files:
        with runs.held(ONE):
            runs.discard(ONE)
            await runs.removed()
            assert runs.held_runs == {ONE}
        assert files.stem("drums").read_text() == ONE
    await runs.removed()
    assert not folder.exists()
    assert runs.held_runs == frozenset()


async def test_a_run_that_nobody_reads_goes_at_once_and_no_other(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    folder, other = make(runs, ONE), make(runs, TWO)
    runs.discard(ONE, None, ONE)
    await runs.removed()
    assert not folder.exists()
    assert other.exists()
    # Once more, and one that never was.
    runs.discard(ONE, "3" * 32)
    await runs.removed()


async def test_a_name_leads_to_the_newest_result_and_the_older_run_goes(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    older = make(runs, ONE)
    await runs.publish("job", ONE)
    stem = tmp_path / "job" / "stems" / "drums.wav"
    assert stem.read_text() == ONE
    make(runs, TWO)
    with runs.held(ONE) as files:
        await runs.publish("job", TWO)
        assert stem.read_text() == TWO
        assert files.stem("drums").read_text() == ONE, "who reads the older run reads on"
    await runs.removed()
    assert not older.exists()
    assert runs.linked("job") == TWO
    assert os.readlink(tmp_path / "job") == f".mismo/runs/{TWO}", "the jobs folder may be moved"


async def test_publishing_a_run_again_keeps_it(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    folder = make(runs, ONE)
    await runs.publish("job", ONE)
    await runs.publish("job", ONE)
    await runs.removed()
    assert folder.exists()


async def test_a_name_is_there_at_every_moment_of_a_swap(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    seen: set[str] = set()
    for run in (ONE, TWO):
        make(runs, run)
    runs.link("job", ONE)
    swapping = asyncio.create_task(asyncio.to_thread(lambda: [runs.link("job", r) for r in (TWO, ONE) * 200]))
    while not swapping.done():
        seen.add((tmp_path / "job" / "stems" / "drums.wav").read_text())
        await asyncio.sleep(0)
    await swapping
    assert seen <= {ONE, TWO}


async def test_a_forgotten_job_leaves_neither_link_nor_run(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    make(runs, ONE)
    make(runs, TWO)
    await runs.publish("job", ONE)
    # The newest run has no result yet; the link still leads to the one before.
    await runs.forget("job", TWO)
    await runs.removed()
    assert not os.path.lexists(tmp_path / "job")
    assert list(runs.root.iterdir()) == []


async def test_what_is_not_our_link_stays(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "jobs")
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "jobs" / "a").symlink_to(outside)
    (tmp_path / "jobs" / "b").mkdir()
    make(runs, ONE)
    for name in ("a", "b"):
        assert runs.linked(name) is None
        await runs.forget(name, "3" * 32)
        assert (tmp_path / "jobs" / name).exists()
    # A folder is not replaced; the result can be had from the server all the same.
    await runs.publish("b", ONE)
    assert not (tmp_path / "jobs" / "b").is_symlink()
    assert runs.files(ONE).folder.exists()
    assert [path.name for path in (tmp_path / "jobs" / ".mismo").iterdir() if path.is_symlink()] == []


@pytest.mark.parametrize("job_id", ["", ".", "..", ".mismo", "../outside", "a/b", "/etc", "a\0b"])
def test_what_is_no_job_id_is_no_link(tmp_path: Path, job_id: str) -> None:
    runs = Runs(tmp_path)
    for call in (runs.linked, runs.unlink, lambda name: runs.link(name, ONE)):
        with pytest.raises(InvalidJobIdError):
            call(job_id)

"""At the start folders and links are made to fit the stored jobs, whatever a crash or an older version left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mismo_grpc.errors import StoreError
from mismo_grpc.jobs.job import JobState
from mismo_grpc.jobs.store.port import RunStanding
from mismo_grpc.results.retention import trash_of
from mismo_grpc.results.run_recovery import Recovered, recover_runs
from mismo_grpc.results.runs import Runs

ONE, TWO, THREE = ("1" * 32, "2" * 32, "3" * 32)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def a_run(runs: Runs, run: str, *, finished: bool = True) -> Path:
    files = runs.files(run)
    files.stems.mkdir(parents=True)
    files.stem("drums").write_text(run)
    if finished:
        files.stems_json.write_text("{}")
    return files.folder


def standing(job_id: str, run: str, state: JobState = JobState.SUCCEEDED) -> RunStanding:
    return RunStanding(job_id, run, state)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_finished_job_without_its_link_gets_it(runs: Runs, tmp_path: Path) -> None:
    a_run(runs, ONE)
    assert recover_runs(runs, [standing("a", ONE)]) == Recovered(linked=1)
    assert (tmp_path / "a" / "stems" / "drums.wav").read_text() == ONE
    assert recover_runs(runs, [standing("a", ONE)]) == Recovered()


def test_a_link_that_a_power_cut_turned_back_leads_to_the_newest_result_again(runs: Runs) -> None:
    a_run(runs, ONE)
    a_run(runs, TWO)
    runs.link("a", ONE)
    recover_runs(runs, [standing("a", TWO)])
    assert runs.linked("a") == TWO
    assert names(runs.root) == {TWO}


def test_while_a_new_run_has_no_result_the_link_stays_where_it_leads(runs: Runs) -> None:
    a_run(runs, ONE)
    a_run(runs, TWO, finished=False)
    runs.link("a", ONE)
    for state in (JobState.QUEUED, JobState.RUNNING):
        recover_runs(runs, [standing("a", TWO, state)])
        assert runs.linked("a") == ONE
        assert names(runs.root) == {ONE, TWO}
    recover_runs(runs, [standing("a", TWO, JobState.FAILED)])
    assert runs.linked("a") == ONE
    assert names(runs.root) == {ONE}


def test_what_no_job_has_goes_to_the_trash(runs: Runs, tmp_path: Path) -> None:
    for run in (ONE, TWO, THREE):
        a_run(runs, run)
    runs.link("deleted", TWO)
    runs.link("dangling", "9" * 32)
    (tmp_path / ".mismo" / "link-0123").symlink_to("nowhere")
    recovered = recover_runs(runs, [standing("a", ONE), standing("dangling", THREE, JobState.CANCELLED)])
    assert recovered == Recovered(linked=3, removed=2)
    assert names(tmp_path) == {".mismo", "a"}
    assert names(runs.root) == {ONE}
    assert len(names(trash_of(tmp_path))) == 2
    assert not [path for path in (tmp_path / ".mismo").iterdir() if path.is_symlink()]


def test_folders_and_links_of_strangers_stay(runs: Runs, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "away").symlink_to(outside)
    (tmp_path / "notes.txt").write_text("mine")
    assert recover_runs(runs, []) == Recovered()
    assert names(tmp_path) == {".mismo", "away", "notes.txt", "outside"}


def test_a_finished_job_whose_files_are_gone_gets_no_link(runs: Runs, tmp_path: Path) -> None:
    assert recover_runs(runs, [standing("a", ONE)]) == Recovered()
    assert names(tmp_path) == {".mismo"}


# The layout of earlier versions: JOBS_DIR/{job_id} is the folder itself.


def older_folder(parent: Path, name: str, content: str) -> Path:
    folder = parent / name
    (folder / "stems").mkdir(parents=True)
    (folder / "stems" / "drums.wav").write_text(content)
    (folder / "stems.json").write_text("{}")
    (folder / "stems.zip").write_text("zip")
    return folder


def test_older_folders_become_runs_and_their_paths_stay(runs: Runs, tmp_path: Path) -> None:
    older_folder(tmp_path, "a", "of a")
    older_folder(tmp_path, "b", "of b")
    jobs = [standing("a", ONE), standing("b", TWO, JobState.RUNNING)]
    assert recover_runs(runs, jobs) == Recovered(moved=2, linked=1)
    assert (tmp_path / "a").is_symlink()
    assert (tmp_path / "a" / "stems" / "drums.wav").read_text() == "of a"
    assert names(tmp_path) == {".mismo", "a"}, "a job that still runs has no link"
    assert runs.files(TWO).stem("drums").read_text() == "of b"
    assert recover_runs(runs, jobs) == Recovered()


def test_a_migration_that_a_crash_cut_short_goes_on(runs: Runs, tmp_path: Path) -> None:
    os.rename(older_folder(tmp_path, "a", "of a"), runs.files(ONE).folder)
    older_folder(tmp_path, "b", "of b")
    recover_runs(runs, [standing("a", ONE), standing("b", TWO)])
    assert [(tmp_path / name / "stems" / "drums.wav").read_text() for name in "ab"] == ["of a", "of b"]


def test_a_folder_that_an_older_version_made_aside_belongs_to_its_run(runs: Runs, tmp_path: Path) -> None:
    staging = tmp_path / ".mismo" / "staging"
    older_folder(staging, f"{TWO}a", "of the new run")
    older_folder(staging, f"{THREE}b", "of a run that was never accepted")
    older_folder(tmp_path, "a", "of the run before")
    recover_runs(runs, [standing("a", TWO)])
    assert (tmp_path / "a" / "stems" / "drums.wav").read_text() == "of the new run"
    assert names(runs.root) == {TWO}
    assert not staging.exists()


def test_a_trash_that_leads_elsewhere_stops_the_start_and_nothing_is_lost(runs: Runs, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = a_run(runs, ONE)
    trash_of(tmp_path).rmdir()
    (tmp_path / ".mismo" / "trash").symlink_to(outside)
    with pytest.raises(StoreError, match="must not be a link"):
        recover_runs(runs, [])
    with pytest.raises(StoreError, match="must not be a link"):
        Runs(tmp_path)
    assert folder.exists()


def test_a_dead_letter_keeps_its_files_but_no_link_to_them(runs: Runs) -> None:
    a_run(runs, ONE)
    a_run(runs, TWO)
    runs.link("dead", ONE)
    recover_runs(
        runs, [RunStanding("dead", ONE, JobState.FAILED, True), standing("failed", TWO, JobState.FAILED)]
    )
    assert names(runs.root) == {ONE}
    assert runs.linked("dead") is None


def test_a_dead_letter_leaves_the_link_to_an_earlier_result(runs: Runs) -> None:
    a_run(runs, ONE)
    a_run(runs, TWO)
    runs.link("a", ONE)
    recover_runs(runs, [RunStanding("a", TWO, JobState.FAILED, True)])
    assert runs.linked("a") == ONE
    assert names(runs.root) == {ONE, TWO}


def test_a_job_whose_files_are_only_in_the_container_is_no_loss(runs: Runs, tmp_path: Path) -> None:
    runs.link("copied", ONE)
    with capture_logs() as logs:
        recovered = recover_runs(
            runs, [standing("copied", ONE), standing("lost", TWO)], lambda job_id: job_id == "copied"
        )
    assert [log["job_id"] for log in logs] == ["lost"]
    assert recovered == Recovered(linked=1)
    assert names(tmp_path) == {".mismo"}, "a link without a target is removed"

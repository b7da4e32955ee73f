"""Repairs the run folders at the start of the server: wrong links, runs without a job, older layouts.

The job store decides: a power cut may have lost any change of a link, and may have left any folder behind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from mismo_grpc.jobs.job import JobState
from mismo_grpc.jobs.store.port import RunStanding
from mismo_grpc.results.exports.rendering import remove_parts
from mismo_grpc.results.retention import STATE_FOLDER, move_to_trash
from mismo_grpc.results.runs import Runs
from mismo_grpc.storage.run_files import RunFiles

log = structlog.get_logger(__name__)

OLD_STAGING_FOLDER = "staging"
"""Where earlier versions created a run's folder, as {run}{job_id}, before they moved it."""
_WITHOUT_FILES = (JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class Recovered:
    """How many folders of the older layout were moved, links corrected, and folders discarded."""

    moved: int = 0
    linked: int = 0
    removed: int = 0


def recover_runs(
    runs: Runs, standing: Sequence[RunStanding], is_copied: Callable[[str], bool] = lambda _: False
) -> Recovered:
    """Makes folders and links match the stored jobs, before anything uses them. Blocks; raises OSError.

    `is_copied` says whether a job's results are in the blob container, so that they are not lost without its files.

    Discarded folders are moved to the trash and removed later. Folders and links of other programs are not changed.
    """
    moved = _move_older_folders(runs, standing)
    linked = _mend_links(runs, {each.job_id: each for each in standing}, is_copied)
    return Recovered(moved, linked, _throw_away(runs, standing))


def _move_older_folders(runs: Runs, standing: Sequence[RunStanding]) -> int:
    """Earlier versions kept the files of a job in JOBS_DIR/{job_id} itself."""
    staging = runs.jobs_dir / STATE_FOLDER / OLD_STAGING_FOLDER
    moved = 0
    for each in standing:
        target = runs.files(each.run_id).folder
        staged, in_place = staging / f"{each.run_id}{each.job_id}", runs.jobs_dir / each.job_id
        for folder in (staged, in_place):
            if not _is_folder(folder):
                continue
            if target.exists():
                # The folder of an earlier run, which the staged run was about to replace.
                move_to_trash(runs.jobs_dir, folder)
            else:
                os.rename(folder, target)
                moved += 1
    if _is_folder(staging):
        move_to_trash(runs.jobs_dir, staging)
    return moved


def _mend_links(runs: Runs, jobs: dict[str, RunStanding], is_copied: Callable[[str], bool]) -> int:
    mended = 0
    for entry in list(os.scandir(runs.jobs_dir)):
        if not entry.is_symlink() or entry.name == STATE_FOLDER or runs.linked(entry.name) is None:
            continue
        job = jobs.get(entry.name)
        linked = runs.linked(entry.name) or ""
        # A link to an older run may remain while the newest run has no result. A dead letter has files but no link.
        is_dead = job is not None and job.dead_letter and job.run_id == linked
        if job is None or is_dead or not runs.files(linked).stems_json.is_file():
            runs.unlink(entry.name)
            mended += 1
    for job in jobs.values():
        if job.state is not JobState.SUCCEEDED or runs.linked(job.job_id) == job.run_id:
            continue
        if not runs.files(job.run_id).stems_json.is_file():
            # A job without stems has no files.
            if runs.files(job.run_id).folder.is_dir():
                continue
            if is_copied(job.job_id):
                continue
            log.error("the files of a finished job are gone", job_id=job.job_id, run_id=job.run_id)
            continue
        try:
            runs.link(job.job_id, job.run_id)
            mended += 1
        except IsADirectoryError:
            log.warning(
                "a folder that is no job's has the name of a job; its link is missing", job_id=job.job_id
            )
    return mended


def _throw_away(runs: Runs, standing: Sequence[RunStanding]) -> int:
    kept = {each.run_id for each in standing if each.dead_letter or each.state not in _WITHOUT_FILES}
    kept |= {run_id for each in standing if (run_id := runs.linked(each.job_id)) is not None}
    removed = 0
    for folder in list(runs.root.iterdir()):
        if folder.name not in kept:
            move_to_trash(runs.jobs_dir, folder)
            removed += 1
        else:
            remove_parts(RunFiles(folder))
    for aside in (runs.jobs_dir / STATE_FOLDER).glob("link-*"):
        aside.unlink(missing_ok=True)
    return removed


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()

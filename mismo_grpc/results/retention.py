"""Decides which finished results are removed, and removes folders by way of the trash."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from mismo_grpc.errors import StoreError
from mismo_grpc.jobs.store.port import EndedResult

STATE_FOLDER = ".mismo"
TRASH_FOLDER = "trash"


def expired_jobs(ended: Sequence[EndedResult], now: float, in_use: Collection[str] = ()) -> list[str]:
    """The ids of the jobs that have expired, the earliest first; a job in use is kept."""
    expired = [job for job in ended if job.expires_at is not None and job.expires_at <= now]
    return [job.job_id for job in sorted(expired, key=_expiry) if job.job_id not in in_use]


def jobs_over_budget(
    ended: Sequence[EndedResult], now: float, budget_bytes: int, in_use: Collection[str] = ()
) -> list[str]:
    """The ids of the jobs whose files make room, those that ended first; the expired ones are removed anyway.

    A job in use keeps its files, but counts towards the budget (0: no limit). The budget never takes the newest
    result, because its client has hardly had time to download it, nor jobs without files, which would free no space.
    """
    if budget_bytes <= 0:
        return []
    gone = set(expired_jobs(ended, now, in_use))
    kept = sorted(
        (job for job in ended if job.result_bytes and job.job_id not in gone),
        key=lambda job: (job.ended_at or 0.0, job.job_id),
    )
    used = sum(job.result_bytes for job in kept)
    taken: list[str] = []
    for job in kept[:-1]:
        if used <= budget_bytes:
            break
        if job.job_id not in in_use:
            taken.append(job.job_id)
            used -= job.result_bytes
    return taken


def _expiry(job: EndedResult) -> tuple[float, str]:
    return (job.expires_at or 0.0, job.job_id)


def move_to_trash(jobs_dir: Path, path: Path) -> Path | None:
    """Moves a folder or file to the trash in one step; returns its new path, None if it did not exist.

    So no reader sees a half-removed folder, and after a crash the rest is in the trash. Blocks; raises OSError, and
    StoreError as `trash_of` does.
    """
    grave = trash_of(jobs_dir) / secrets.token_hex(8)
    try:
        os.rename(path, grave)
    except FileNotFoundError:
        return None
    return grave


def empty_trash(jobs_dir: Path) -> int:
    """Removes what a crash left in the trash; returns the number of folders. Blocks; raises OSError."""
    graves = list(trash_of(jobs_dir).iterdir())
    for grave in graves:
        remove_tree(grave)
    return len(graves)


def trash_of(jobs_dir: Path) -> Path:
    """JOBS_DIR/.mismo/trash, created if it does not exist; raises StoreError if it is a link."""
    state = jobs_dir / STATE_FOLDER
    trash = state / TRASH_FOLDER
    for folder in (state, trash):
        if folder.is_symlink():
            raise StoreError(
                f"{STATE_FOLDER}/{TRASH_FOLDER} in the jobs folder must not be a link: what it leads to "
                "would be deleted; remove the link"
            )
    trash.mkdir(parents=True, exist_ok=True)
    return trash


def remove_tree(path: Path) -> None:
    """Removes a folder with its content, or a file; links are removed, not followed. Blocks; raises OSError."""
    # rmtree refuses a path that is itself a link.
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

"""Which finished results are removed, and the trash through which folders go."""

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


def jobs_to_remove(
    ended: Sequence[EndedResult], now: float, budget_bytes: int, in_use: Collection[str] = ()
) -> list[str]:
    """The ids of the jobs whose results go now: first the expired, then, over budget, the oldest ended.

    A job in use never goes, but counts towards the budget (0: no limit). Nor does the budget take the newest
    result: its client has hardly had the time to fetch it.
    """
    expired = [job for job in ended if job.expires_at is not None and job.expires_at <= now]
    gone = {job.job_id for job in expired if job.job_id not in in_use}
    removed = [job.job_id for job in sorted(expired, key=_expiry) if job.job_id in gone]
    if budget_bytes <= 0:
        return removed
    kept = sorted(
        (job for job in ended if job.job_id not in gone), key=lambda job: (job.ended_at or 0.0, job.job_id)
    )
    used = sum(job.result_bytes for job in kept)
    for job in kept[:-1]:
        if used <= budget_bytes:
            break
        if job.job_id not in in_use:
            removed.append(job.job_id)
            used -= job.result_bytes
    return removed


def _expiry(job: EndedResult) -> tuple[float, str]:
    return (job.expires_at or 0.0, job.job_id)


def move_to_trash(jobs_dir: Path, path: Path) -> Path | None:
    """Moves a folder or file into the trash in one step; answers where it lies now, None if it was not there.

    So nobody sees half of it, and a crash leaves the rest in the trash. Blocks; raises OSError, and StoreError as
    `trash_of`.
    """
    grave = trash_of(jobs_dir) / secrets.token_hex(8)
    try:
        os.rename(path, grave)
    except FileNotFoundError:
        return None
    return grave


def empty_trash(jobs_dir: Path) -> int:
    """Removes what a crash left in the trash; answers how many folders. Blocks; raises OSError."""
    graves = list(trash_of(jobs_dir).iterdir())
    for grave in graves:
        remove_tree(grave)
    return len(graves)


def trash_of(jobs_dir: Path) -> Path:
    """JOBS_DIR/.mismo/trash, made if need be; raises StoreError if a link takes its place."""
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
    """Removes a folder with all below it, or a file; links are removed and not followed. Blocks; raises OSError."""
    # rmtree refuses a link at the top.
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

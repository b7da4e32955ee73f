"""Which finished results go, and how they go: at once for whoever looks, bit by bit on the disk."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mismo_grpc.errors import StoreError
from mismo_grpc.jobs.job import check_job_id

STATE_FOLDER = ".mismo"
TRASH_FOLDER = "trash"


@dataclass(frozen=True)
class EndedJob:
    """An ended job and the bytes of its files; times are seconds since the epoch, None: never."""

    job_id: str
    ended_at: float
    expires_at: float | None
    bytes: int


def jobs_to_remove(
    ended: Sequence[EndedJob], now: float, budget_bytes: int, in_use: Collection[str] = ()
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
        (job for job in ended if job.job_id not in gone), key=lambda job: (job.ended_at, job.job_id)
    )
    used = sum(job.bytes for job in kept)
    for job in kept[:-1]:
        if used <= budget_bytes:
            break
        if job.job_id not in in_use:
            removed.append(job.job_id)
            used -= job.bytes
    return removed


def _expiry(job: EndedJob) -> tuple[float, str]:
    return (job.expires_at or 0.0, job.job_id)


def next_expiry(ended: Sequence[EndedJob], in_use: Collection[str] = ()) -> float | None:
    """When the next job expires, in seconds since the epoch; None if none will."""
    times = [job.expires_at for job in ended if job.expires_at is not None and job.job_id not in in_use]
    return min(times, default=None)


def remove_job_files(jobs_dir: Path, job_id: str) -> bool:
    """Removes JOBS_DIR/{job_id}; False if there is none. Blocks on the disk.

    The folder leaves its place in one step, so nobody sees half of it, and a crash leaves the rest in the
    trash. A link in its place goes, what it leads to stays. Raises InvalidJobIdError for any other name.
    """
    check_job_id(job_id)
    grave = trash_of(jobs_dir) / secrets.token_hex(8)
    try:
        os.rename(jobs_dir / job_id, grave)
    except FileNotFoundError:
        return False
    _destroy(grave)
    return True


def empty_trash(jobs_dir: Path) -> int:
    """Removes what a crash left in the trash, at start; answers how many folders. Blocks on the disk."""
    graves = list(trash_of(jobs_dir).iterdir())
    for grave in graves:
        _destroy(grave)
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


def _destroy(grave: Path) -> None:
    # rmtree follows no links, neither at the top, where it refuses them, nor below.
    if grave.is_dir() and not grave.is_symlink():
        shutil.rmtree(grave)
    else:
        grave.unlink(missing_ok=True)

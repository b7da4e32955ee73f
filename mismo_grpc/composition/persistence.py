"""Opens the jobs folder: the job store, the files of runs, the uploads."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from mismo_grpc.errors import StoreError
from mismo_grpc.executors import Executors
from mismo_grpc.jobs.repository import JobRepository
from mismo_grpc.jobs.store.sqlite_store import SqliteJobStore
from mismo_grpc.results.retention import STATE_FOLDER
from mismo_grpc.results.run_recovery import Recovered, recover_runs
from mismo_grpc.results.runs import Runs
from mismo_grpc.settings import Settings
from mismo_grpc.storage.disk import Disk, sync
from mismo_grpc.storage.disk_reserve import DiskReserve
from mismo_grpc.uploads.spooled_upload import SpooledUploads
from mismo_grpc.uploads.uploads import Uploads

log = structlog.get_logger(__name__)

STORE_FILE = "jobs.sqlite3"
RESERVE_FILE = "spare"


@dataclass(frozen=True)
class Persistence:
    """The open jobs folder; `repository.close` closes the store."""

    store: SqliteJobStore
    repository: JobRepository
    disk: Disk
    runs: Runs
    uploads: Uploads
    spooled_uploads: SpooledUploads


def open_persistence(
    settings: Settings, executors: Executors, disk: Disk, now: Callable[[], float]
) -> Persistence:
    """Opens the jobs folder and repairs the state that a crash or an older version left; blocks.

    `now` returns seconds since the epoch. Raises StoreError if the folder cannot be used.
    """
    state = settings.jobs_dir / STATE_FOLDER
    try:
        _make_folder(state)
        store = SqliteJobStore(state / STORE_FILE)
    except OSError as error:
        raise _unusable(settings.jobs_dir, error) from error
    try:
        runs = Runs(settings.jobs_dir, executors.bulk)
        recovered = recover_runs(runs, store.standing_runs(), lambda job_id: _is_copied(store, job_id))
        uploads = _open_uploads(state, settings, executors, disk, store)
        spooled_uploads = SpooledUploads(
            state / "incoming",
            uploads,
            disk,
            max_bytes=settings.max_upload_bytes,
            reserve_bytes=settings.disk_reserve_bytes,
            in_thread=executors.bulk,
        )
        repository = JobRepository(store, now, DiskReserve(state / RESERVE_FILE))
    except OSError as error:
        store.close()
        raise _unusable(settings.jobs_dir, error) from error
    except BaseException:
        store.close()
        raise
    if recovered != Recovered():
        log.info("the jobs folder was repaired", **asdict(recovered))
    return Persistence(store, repository, disk, runs, uploads, spooled_uploads)


def _is_copied(store: SqliteJobStore, job_id: str) -> bool:
    job = store.get(job_id)
    return job is not None and bool(job.blobs)


def _make_folder(state: Path) -> None:
    state.mkdir(parents=True, exist_ok=True)
    # Without this, a power cut soon after the first start could lose the folder and all its content.
    sync(state.parent)
    with suppress(PermissionError):
        sync(state.parent.parent)


def _unusable(jobs_dir: Path, error: OSError) -> StoreError:
    return StoreError(
        f"the jobs folder {jobs_dir} cannot be used ({error.strerror}); set JOBS_DIR to a writable folder"
    )


def _open_uploads(
    state: Path, settings: Settings, executors: Executors, disk: Disk, store: SqliteJobStore
) -> Uploads:
    return Uploads(
        state / "uploads",
        store,
        disk,
        max_upload_bytes=settings.max_upload_bytes,
        idle_seconds=settings.upload_idle_seconds,
        keep_seconds=settings.job_retention_hours * 3600,
        reserve_bytes=settings.disk_reserve_bytes,
        in_thread=executors.bulk,
        checksum=executors.checksum,
    )

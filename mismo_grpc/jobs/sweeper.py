"""Keeps the disk in bounds: expired results, the budget, abandoned uploads, forgotten request ids."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import structlog

from mismo_grpc.errors import MismoError
from mismo_grpc.jobs.decoding import SOURCE_NAME
from mismo_grpc.jobs.job import JobState
from mismo_grpc.jobs.ledger import JobLedger
from mismo_grpc.jobs.retention import EndedJob, jobs_to_remove, remove_job_files
from mismo_grpc.jobs.stem_shelf import StemShelf
from mismo_grpc.jobs.store import EndedResult
from mismo_grpc.jobs.unbroken import unbroken
from mismo_grpc.jobs.uploads import Uploads
from mismo_grpc.separation.engine import WORK_FOLDER
from mismo_grpc.storage.disk import folder_bytes

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 30.0
TIDY_SECONDS = 60.0
"""An ended job is tidied up by then."""
REQUESTS_KEPT_SECONDS = 48 * 3600.0
"""The contract promises 24 h."""


class Sweeper:
    """Removes what is no longer kept; `jobs_dir` and `budget_bytes` (0: none) as in the settings."""

    def __init__(self, ledger: JobLedger, shelf: StemShelf, uploads: Uploads, budget_bytes: int) -> None:
        self._ledger = ledger
        self._shelf = shelf
        self._uploads = uploads
        self._jobs_dir = shelf.jobs_dir
        self._budget = budget_bytes
        self._sizes: dict[str, int] = {}
        self._tidied = False
        self.used_bytes = 0
        """By finished jobs, as of the last sweep."""

    async def run(self) -> None:
        """Sweeps every half minute until cancelled."""
        while True:
            try:
                await self.sweep()
            except (MismoError, OSError):
                log.error("sweep failed; it is tried again", exc_info=True)
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> list[str]:
        """Removes what is due now; answers the ids of the removed jobs."""
        ledger, now = self._ledger, self._ledger.now()
        ended = await ledger.look(ledger.store.ended_results)
        if not self._tidied:
            for job in await asyncio.to_thread(self._untidy, ended):
                await unbroken(self._tidy(job))
            self._tidied = True
        sized = await asyncio.to_thread(self._measure, ended)
        self.used_bytes = sum(job.bytes for job in sized)
        # What is still to be told is kept until that was done, or has failed for good.
        untold = await ledger.look(ledger.store.jobs_with_pending_callbacks)
        due = jobs_to_remove(sized, now, self._budget, self._shelf.held | untold)
        runs = {job.job_id: job.run for job in ended}
        removed = [job_id for job_id in due if await unbroken(self._remove(job_id, runs[job_id]))]
        if ledger.spare is not None:
            await asyncio.to_thread(ledger.spare.refill)
        await self._uploads.sweep(now)
        await ledger.call(ledger.store.forget_requests, now - REQUESTS_KEPT_SECONDS)
        return removed

    async def _remove(self, job_id: str, run: str) -> bool:
        ledger = self._ledger
        async with ledger.changing_hands:
            current = await ledger.look(ledger.store.get, job_id)
            # It may run anew or be read since it was looked at.
            if current is None or current.run != run or job_id in self._shelf.held:
                return False
            await asyncio.to_thread(remove_job_files, self._jobs_dir, job_id)
            await ledger.insist(ledger.store.delete, job_id)
        log.info("result removed", job_id=job_id)
        return True

    def _untidy(self, ended: list[EndedResult]) -> list[EndedResult]:
        """Jobs whose process was killed between their end and their tidying up."""
        return [job for job in ended if any(path.exists() for path in self._needless(job))]

    def _needless(self, job: EndedResult) -> tuple[Path, ...]:
        folder = self._jobs_dir / job.job_id
        return (folder / WORK_FOLDER, folder / SOURCE_NAME) if job.state is JobState.SUCCEEDED else (folder,)

    async def _tidy(self, job: EndedResult) -> None:
        async with self._ledger.changing_hands:
            current = await self._ledger.look(self._ledger.store.get, job.job_id)
            if current is None or current.run != job.run:
                return
            for path in self._needless(job):
                await asyncio.to_thread(_remove, path)

    def _measure(self, ended: list[EndedResult]) -> list[EndedJob]:
        # The files of an ended run do not change once it is tidied up: each is measured once.
        settled = self._ledger.now() - TIDY_SECONDS
        sizes = {
            job.run: self._sizes[job.run]
            if job.run in self._sizes
            else folder_bytes(self._jobs_dir / job.job_id)
            for job in ended
        }
        self._sizes = {job.run: sizes[job.run] for job in ended if job.ended_at < settled}
        return [EndedJob(job.job_id, job.ended_at, job.expires_at, sizes[job.run]) for job in ended]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

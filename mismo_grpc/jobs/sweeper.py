"""Keeps the disk in bounds: expired results, the budget, abandoned uploads, forgotten request ids."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from mismo_grpc.errors import MismoError
from mismo_grpc.jobs.job import JobState
from mismo_grpc.jobs.ledger import JobLedger
from mismo_grpc.jobs.retention import empty_trash, jobs_to_remove, remove_tree
from mismo_grpc.jobs.runs import Runs
from mismo_grpc.jobs.store import EndedResult
from mismo_grpc.jobs.unbroken import unbroken
from mismo_grpc.jobs.uploads import Uploads
from mismo_grpc.storage.disk import folder_bytes

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 30.0
REQUESTS_KEPT_SECONDS = 48 * 3600.0
"""The contract promises 24 h."""


class Sweeper:
    """Removes what is no longer kept; `budget_bytes` (0: none) as in the settings."""

    def __init__(self, ledger: JobLedger, runs: Runs, uploads: Uploads, budget_bytes: int) -> None:
        self._ledger = ledger
        self._runs = runs
        self._uploads = uploads
        self._budget = budget_bytes
        self._measured: dict[str, int] = {}
        """Bytes of runs whose size is not stored: earlier versions did not measure them."""
        self.used_bytes = 0
        """By finished jobs, as of the last sweep."""

    async def run(self) -> None:
        """Sweeps every half minute until cancelled; first removes what a killed server left behind."""
        try:
            await self.tidy()
        except (MismoError, OSError):
            log.error("what a killed server left behind cannot be removed", exc_info=True)
        while True:
            try:
                await self.sweep()
            except (MismoError, OSError):
                log.error("sweep failed; it is tried again", exc_info=True)
            await asyncio.sleep(SWEEP_SECONDS)

    async def tidy(self) -> None:
        """Removes the trash, and work files of jobs whose server was killed between their end and this."""
        await asyncio.to_thread(empty_trash, self._runs.jobs_dir)
        ended = await self._ledger.look(self._ledger.store.ended_results)
        runs = [each.run for each in ended if each.state is JobState.SUCCEEDED]
        await asyncio.to_thread(self._remove_needless, runs)

    def _remove_needless(self, runs: list[str]) -> None:
        for run in runs:
            files = self._runs.files(run)
            for path in (files.work, files.source):
                if path.exists():
                    remove_tree(path)

    async def sweep(self) -> list[str]:
        """Removes what is due now; answers the ids of the removed jobs."""
        ledger, now = self._ledger, self._ledger.now()
        ended = await self._with_sizes(await ledger.look(ledger.store.ended_results))
        self.used_bytes = sum(each.result_bytes for each in ended)
        held = self._runs.held_runs
        # What is still to be told is kept until that was done, or has failed for good.
        untold = await ledger.look(ledger.store.jobs_with_pending_callbacks)
        in_use = {each.job_id for each in ended if each.run in held} | untold
        due = jobs_to_remove(ended, now, self._budget, in_use)
        runs = {each.job_id: each.run for each in ended}
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
            if current is None or current.run != run or run in self._runs.held_runs:
                return False
            await ledger.insist(ledger.store.delete, job_id)
            await self._runs.forget(job_id, run)
        log.info("result removed", job_id=job_id)
        return True

    async def _with_sizes(self, ended: list[EndedResult]) -> list[EndedResult]:
        unknown = [
            each.run
            for each in ended
            if each.state is JobState.SUCCEEDED and not each.result_bytes and each.run not in self._measured
        ]
        if unknown:
            self._measured |= await asyncio.to_thread(self._measure, unknown)
        return [replace(each, result_bytes=self._measured.get(each.run, each.result_bytes)) for each in ended]

    def _measure(self, runs: list[str]) -> dict[str, int]:
        return {run: folder_bytes(self._runs.files(run).folder) for run in runs}

"""Removes expired results, results over the disk budget, abandoned uploads, and old records of the job store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import structlog

from mismo_grpc.completion import run_to_completion
from mismo_grpc.errors import BlobError, MismoError
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import JobState
from mismo_grpc.jobs.repository import JobRepository
from mismo_grpc.jobs.store.change_records import REMOVED_JOBS_KEPT, REMOVED_JOBS_KEPT_SECONDS
from mismo_grpc.jobs.store.port import EndedResult
from mismo_grpc.results.copies import Copies
from mismo_grpc.results.exports.rendering import export_bytes
from mismo_grpc.results.retention import empty_trash, expired_jobs, jobs_over_budget, remove_tree
from mismo_grpc.results.runs import Runs
from mismo_grpc.storage.disk import folder_bytes

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 30.0
REQUESTS_KEPT_SECONDS = 48 * 3600.0
"""How long request ids are kept; the contract promises 24 h."""


class Sweeper:
    """Removes what is no longer kept; `budget_bytes` (0: no limit) as in the settings.

    `sweep_uploads` removes the uploads that have expired at a time (seconds since the epoch).
    """

    def __init__(
        self,
        repository: JobRepository,
        runs: Runs,
        sweep_uploads: Callable[[float], Awaitable[object]],
        budget_bytes: int,
        in_thread: InThread = asyncio.to_thread,
        copies: Copies | None = None,
    ) -> None:
        self._copies = copies or Copies(None)
        self._repository = repository
        self._runs = runs
        self._sweep_uploads = sweep_uploads
        self._budget = budget_bytes
        self._in_thread = in_thread
        self._measured: dict[str, int] = {}
        """The size in bytes of runs for which none is stored: they have no files, or an earlier version wrote them.
        With that of an earlier run of the job that is still linked, because the newer one has no files."""
        self.used_bytes = 0
        """The bytes used by finished jobs and dead letters, as of the last sweep."""
        self.dead_letters = 0
        """The number of dead letters, as of the last sweep."""

    async def run(self) -> None:
        """Sweeps every half minute until cancelled; first removes the leftovers of a killed server."""
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
        """Removes the trash, and the work files of ended jobs that a killed server did not remove."""
        await self._in_thread(empty_trash, self._runs.jobs_dir)
        ended = await self._repository.read(self._repository.store.ended_results)
        kept = [each for each in ended if each.state is JobState.SUCCEEDED or each.dead_letter]
        await self._in_thread(self._remove_needless, kept)

    def _remove_needless(self, ended: list[EndedResult]) -> None:
        for each in ended:
            files = self._runs.files(each.run_id)
            # A replay of a dead letter may decode its source again.
            for path in (files.work,) if each.dead_letter else (files.work, files.source):
                if path.exists():
                    remove_tree(path)

    async def sweep(self) -> list[str]:
        """Removes what is due now; returns the ids of the removed jobs.

        Over the budget a job whose results are all in the blob container loses only its files here.
        """
        repository, now = self._repository, self._repository.now()
        ended = await self._with_sizes(await repository.read(repository.store.ended_results))
        self.used_bytes = sum(each.result_bytes for each in ended)
        self.dead_letters = sum(each.dead_letter for each in ended)
        held = self._runs.held_runs
        # A job is kept until its callbacks are delivered or have failed.
        untold = await repository.read(repository.store.jobs_with_pending_callbacks)
        in_use = {each.job_id for each in ended if each.run_id in held} | untold
        runs = {each.job_id: each.run_id for each in ended}
        removed: list[str] = []
        for job_id in expired_jobs(ended, now, in_use):
            if await run_to_completion(self._remove(job_id, runs[job_id])):
                removed.append(job_id)
        removed += await self._make_room(
            [(job_id, runs[job_id]) for job_id in jobs_over_budget(ended, now, self._budget, in_use)]
        )
        if repository.spare is not None:
            await self._in_thread(repository.spare.refill)
        await self._sweep_uploads(now)
        await repository.write(repository.store.forget_requests, now - REQUESTS_KEPT_SECONDS)
        await repository.write(
            repository.store.forget_removed, now - REMOVED_JOBS_KEPT_SECONDS, REMOVED_JOBS_KEPT
        )
        return removed

    async def _make_room(self, over: Sequence[tuple[str, str]]) -> list[str]:
        """Removes the files of those jobs that have copies, and the other jobs, given by job_id and run_id.

        Returns the ids of the removed jobs. If the container cannot be asked the rest must wait for the next sweep:
        their files may be all that is left of the results.
        """
        removed: list[str] = []
        for job_id, run_id in over:
            job = await self._repository.read(self._repository.store.get, job_id)
            if job is None or job.run_id != run_id:
                continue
            try:
                copied = await self._copies.are_complete(job)
            except BlobError as error:
                log.warning(
                    "local files are not removed, because their copies cannot be checked",
                    job_id=job_id,
                    reason=error.message,
                )
                break
            if copied:
                await run_to_completion(self._remove_files(job_id, run_id))
            elif await run_to_completion(self._remove(job_id, run_id)):
                removed.append(job_id)
        return removed

    async def _remove_files(self, job_id: str, run_id: str) -> None:
        repository = self._repository
        async with repository.job_files_lock:
            current = await repository.read(repository.store.get, job_id)
            if current is None or current.run_id != run_id or run_id in self._runs.held_runs:
                return
            await self._runs.forget(job_id, run_id)
            self._measured.pop(run_id, None)
        log.info("the local files of a result were removed; it is in the blob container", job_id=job_id)

    async def _remove(self, job_id: str, run_id: str) -> bool:
        repository = self._repository
        async with repository.job_files_lock:
            current = await repository.read(repository.store.get, job_id)
            # Meanwhile it may have a new run or a reader.
            if current is None or current.run_id != run_id or run_id in self._runs.held_runs:
                return False
            await repository.remove(job_id)
            await self._runs.forget(job_id, run_id)
        log.info("result removed", job_id=job_id)
        return True

    async def _with_sizes(self, ended: list[EndedResult]) -> list[EndedResult]:
        there = {each.run_id for each in ended}
        self._measured = {run_id: size for run_id, size in self._measured.items() if run_id in there}
        unknown = [
            each
            for each in ended
            if each.state is JobState.SUCCEEDED
            and not each.result_bytes
            and each.run_id not in self._measured
        ]
        if unknown:
            self._measured |= await self._in_thread(self._measure, unknown)
        folders, exports = await self._in_thread(self._folders)
        return [
            replace(
                each,
                result_bytes=self._measured.get(each.run_id, each.result_bytes) + exports.get(each.run_id, 0),
            )
            if each.run_id in folders or each.run_id in self._measured
            else replace(each, result_bytes=0)
            for each in ended
        ]

    def _folders(self) -> tuple[frozenset[str], dict[str, int]]:
        """The runs that have files, and the bytes of the exports of those that have any.

        The files of other runs were removed because they are in the blob container, or by hand.
        """
        folders = frozenset(os.listdir(self._runs.root))
        exports = {run_id: export_bytes(self._runs.files(run_id)) for run_id in folders}
        return folders, {run_id: size for run_id, size in exports.items() if size}

    def _measure(self, ended: list[EndedResult]) -> dict[str, int]:
        return {
            each.run_id: sum(
                folder_bytes(self._runs.files(run_id).folder) - export_bytes(self._runs.files(run_id))
                for run_id in {each.run_id, self._runs.linked(each.job_id) or each.run_id}
            )
            for each in ended
        }

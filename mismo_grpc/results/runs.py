"""The folders of runs, their readers, and the links from a job's name to its newest result.

A run is one execution of a job. Its files are in JOBS_DIR/.mismo/runs/{run_id} and never belong to another run. The
path JOBS_DIR/{job_id} is a symbolic link to the newest run that has a result; it is replaced in one step. A run that is
no longer needed is removed when its last reader has finished.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import structlog

from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import check_job_id
from mismo_grpc.results.retention import STATE_FOLDER, move_to_trash, remove_tree, trash_of
from mismo_grpc.storage.disk import sync
from mismo_grpc.storage.run_files import RunFiles

log = structlog.get_logger(__name__)

RUNS_FOLDER = "runs"
_RUN_ID = re.compile(r"[0-9a-f]{32}")


class Runs:
    """The runs in `jobs_dir`. Methods that are not marked as blocking are for the event loop."""

    def __init__(self, jobs_dir: Path, in_thread: InThread = asyncio.to_thread) -> None:
        """Creates the folders of runs and of the trash if they do not exist; blocks. `in_thread` removes folders.

        Raises OSError, and StoreError as `trash_of` does.
        """
        trash_of(jobs_dir)
        self.jobs_dir = jobs_dir
        self._in_thread = in_thread
        self.root = jobs_dir / STATE_FOLDER / RUNS_FOLDER
        self.root.mkdir(parents=True, exist_ok=True)
        sync(self.root.parent)
        self._holds: Counter[str] = Counter()
        self._discarded: set[str] = set()
        self._removals: set[asyncio.Task[None]] = set()

    def files(self, run_id: str) -> RunFiles:
        """The paths of a run's files."""
        return RunFiles(self.root / run_id)

    # Readers

    @contextmanager
    def held(self, run_id: str) -> Generator[RunFiles]:
        """Prevents the removal of a run's files during the block."""
        self._holds[run_id] += 1
        try:
            yield self.files(run_id)
        finally:
            self._holds[run_id] -= 1
            if self._holds[run_id] <= 0:
                del self._holds[run_id]
                if run_id in self._discarded:
                    self._discarded.discard(run_id)
                    self._begin_removal(run_id)

    @property
    def held_runs(self) -> frozenset[str]:
        """The runs that are held."""
        return frozenset(self._holds)

    def is_discarded(self, run_id: str) -> bool:
        """Whether a run is removed as soon as it is not held. From any thread."""
        return run_id in self._discarded

    def discard(self, *runs: str | None) -> None:
        """Removes runs as soon as they are not held; None is ignored."""
        for run_id in {run_id for run_id in runs if run_id is not None}:
            if run_id in self._holds:
                self._discarded.add(run_id)
            else:
                self._begin_removal(run_id)

    def _begin_removal(self, run_id: str) -> None:
        removal = asyncio.create_task(self._in_thread(self._remove, run_id), name=f"remove run {run_id}")
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)

    def _remove(self, run_id: str) -> None:
        try:
            grave = move_to_trash(self.jobs_dir, self.files(run_id).folder)
            if grave is not None:
                remove_tree(grave)
        except OSError:
            # The next start finds a folder without a job and removes it.
            log.error("the files of a run cannot be removed", run_id=run_id, exc_info=True)

    async def removed(self) -> None:
        """Waits for the running removals."""
        while self._removals:
            await asyncio.wait(list(self._removals))

    # Links

    async def publish(self, job_id: str, run_id: str) -> None:
        """Links a job's name to a run that has a result, and discards the run that it was linked to.

        A failure is logged: clients of the server get the result all the same, and the next start tries again.
        """
        try:
            self.discard(await asyncio.to_thread(self.link, job_id, run_id))
        except OSError:
            log.error("the link to a job's result cannot be made", job_id=job_id, exc_info=True)

    async def withdraw(self, job_id: str, run_id: str) -> None:
        """Removes a job's link to a run that ends without a result; a link to another run stays.

        A failure is logged: the next start removes a link without a target.
        """
        try:
            await asyncio.to_thread(self._withdraw, job_id, run_id)
        except OSError:
            log.error("the link to a job's result cannot be removed", job_id=job_id, exc_info=True)

    def _withdraw(self, job_id: str, run_id: str) -> None:
        if self.linked(job_id) == run_id:
            self.unlink(job_id)

    async def forget(self, job_id: str, run_id: str) -> None:
        """Removes a job's link, and discards its run and the run that was linked. Raises OSError."""
        self.discard(run_id, await asyncio.to_thread(self.unlink, job_id))

    def linked(self, job_id: str) -> str | None:
        """The run that a job's name is linked to; None without a link, or with one of another program. Blocks."""
        check_job_id(job_id)
        try:
            target = Path(os.readlink(self.jobs_dir / job_id))
        except OSError:
            return None
        ours = target.parent == Path(STATE_FOLDER, RUNS_FOLDER) and _RUN_ID.fullmatch(target.name)
        return target.name if ours else None

    def link(self, job_id: str, run_id: str) -> str | None:
        """Links a job's name to a run in one step; returns the run that it was linked to before. Blocks.

        Raises OSError; IsADirectoryError if a folder has the job's name.
        """
        before = self.linked(job_id)
        if before == run_id:
            return None
        aside = self.jobs_dir / STATE_FOLDER / f"link-{secrets.token_hex(8)}"
        # Relative, so that the jobs folder can be moved or mounted elsewhere.
        os.symlink(Path(STATE_FOLDER, RUNS_FOLDER, run_id), aside)
        try:
            os.replace(aside, self.jobs_dir / job_id)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        return before

    def unlink(self, job_id: str) -> str | None:
        """Removes a job's link; returns the run that was linked. A link of another program stays. Blocks."""
        before = self.linked(job_id)
        if before is not None:
            (self.jobs_dir / job_id).unlink(missing_ok=True)
        return before

    def sync_names(self, run_id: str) -> None:
        """Syncs the entries of a run's folder and the folder's own name. Blocks; raises OSError."""
        files = self.files(run_id)
        for folder in (files.stems, files.folder, self.root):
            if folder.is_dir():
                sync(folder)

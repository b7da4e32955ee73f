"""Open stem files, shared by the engine and all readers, and held against removal while anyone reads."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mismo_grpc.errors import ArtifactNotFoundError
from mismo_grpc.jobs.job import Job
from mismo_grpc.separation.stems import StemSet


@dataclass(eq=False)
class _Shelved:
    opening: asyncio.Future[StemSet]
    users: int = 0


class StemShelf:
    """Stem sets by run; the last user closes the files. On the event loop only."""

    def __init__(self, jobs_dir: Path) -> None:
        self.jobs_dir = jobs_dir
        self._sets: dict[str, _Shelved] = {}
        self._holds: Counter[str] = Counter()

    def put(self, run: str, stems: StemSet) -> None:
        """Shelves a set that was just made; the caller is its first user."""
        opened: asyncio.Future[StemSet] = asyncio.get_running_loop().create_future()
        opened.set_result(stems)
        self._sets[run] = _Shelved(opened, 1)

    async def acquire(self, job: Job) -> StemSet:
        """The stems of a job, opened from its files if need be; `release` when done.

        Raises ArtifactNotFoundError if a finished job's files are gone.
        """
        shelved = self._sets.get(job.run)
        if shelved is None:
            shelved = _Shelved(asyncio.ensure_future(asyncio.to_thread(self._open, job)))
            self._sets[job.run] = shelved
        shelved.users += 1
        try:
            return await asyncio.shield(shelved.opening)
        except BaseException:
            self.release(job.run)
            raise

    def _open(self, job: Job) -> StemSet:
        gone = ArtifactNotFoundError(f"the stems of job {job.job_id} are gone; submit the track again")
        if job.layout is None:
            raise gone
        try:
            return StemSet(self.jobs_dir / job.job_id / "stems", job.layout)
        except FileNotFoundError as error:
            raise gone from error

    def release(self, run: str) -> None:
        """One user less."""
        shelved = self._sets[run]
        shelved.users -= 1
        if shelved.users == 0:
            del self._sets[run]
            if shelved.opening.done():
                _close(shelved.opening)
            else:
                shelved.opening.add_done_callback(_close)

    @property
    def open_sets(self) -> int:
        """Stem sets that someone uses."""
        return len(self._sets)

    def hold(self, job_id: str) -> None:
        """Keeps a job's files from being expired; `unhold` when done."""
        self._holds[job_id] += 1

    def unhold(self, job_id: str) -> None:
        """One hold less."""
        self._holds[job_id] -= 1
        if self._holds[job_id] <= 0:
            del self._holds[job_id]

    @property
    def held(self) -> frozenset[str]:
        """Jobs whose files someone reads."""
        return frozenset(self._holds)


def _close(opening: asyncio.Future[StemSet]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()

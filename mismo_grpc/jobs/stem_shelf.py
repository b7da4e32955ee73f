"""Open stem files, shared by the engine and all readers of a run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mismo_grpc.errors import ArtifactNotFoundError
from mismo_grpc.jobs.job import Job
from mismo_grpc.jobs.runs import Runs
from mismo_grpc.separation.stems import StemSet


@dataclass(eq=False)
class _Shelved:
    opening: asyncio.Future[StemSet]
    users: int = 0


class StemLease:
    """One user's share of an open stem set; the last `release` closes the files. On the event loop only."""

    def __init__(self, shelf: StemShelf, run: str, shelved: _Shelved) -> None:
        shelved.users += 1
        self._shelf = shelf
        self._run = run
        self._shelved: _Shelved | None = shelved

    @property
    def stems(self) -> StemSet:
        """The open set; not after `release`."""
        assert self._shelved is not None
        return self._shelved.opening.result()

    async def opened(self) -> None:
        """Waits until the set is open; raises what opening raised."""
        assert self._shelved is not None
        await asyncio.shield(self._shelved.opening)

    def release(self) -> None:
        """Ends the use; doing so again is fine."""
        shelved, self._shelved = self._shelved, None
        if shelved is not None:
            self._shelf.drop(self._run, shelved)


class StemShelf:
    """Stem sets by run. On the event loop only."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._sets: dict[str, _Shelved] = {}

    def put(self, run: str, stems: StemSet) -> StemLease:
        """Shelves a set that was just made, and answers its first lease.

        Who still reads an earlier set of the run (the job was stopped and goes on) keeps that one.
        """
        opened: asyncio.Future[StemSet] = asyncio.get_running_loop().create_future()
        opened.set_result(stems)
        self._sets[run] = _Shelved(opened)
        return StemLease(self, run, self._sets[run])

    async def acquire(self, job: Job) -> StemLease:
        """The stems of a job, opened from its files if need be; `release` the lease when done.

        Raises ArtifactNotFoundError if a finished job's files are gone.
        """
        shelved = self._sets.get(job.run)
        if shelved is None:
            shelved = self._sets[job.run] = _Shelved(
                asyncio.ensure_future(asyncio.to_thread(self._open, job))
            )
        lease = StemLease(self, job.run, shelved)
        try:
            await lease.opened()
        except BaseException:
            lease.release()
            raise
        return lease

    def _open(self, job: Job) -> StemSet:
        gone = ArtifactNotFoundError(f"the stems of job {job.job_id} are gone; submit the track again")
        if job.layout is None:
            raise gone
        try:
            return StemSet(self._runs.files(job.run).stems, job.layout)
        except FileNotFoundError as error:
            raise gone from error

    def drop(self, run: str, shelved: _Shelved) -> None:
        """One user less; called by the lease."""
        shelved.users -= 1
        if shelved.users > 0:
            return
        if self._sets.get(run) is shelved:
            del self._sets[run]
        if shelved.opening.done():
            _close(shelved.opening)
        else:
            shelved.opening.add_done_callback(_close)

    @property
    def open_sets(self) -> int:
        """Stem sets that someone uses."""
        return len(self._sets)


def _close(opening: asyncio.Future[StemSet]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()

"""Open stem files, shared by the engine and all readers of a run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mismo_grpc.executors import InThread
from mismo_grpc.separation.stems import StemLayout, StemSet
from mismo_grpc.storage.run_files import RunFiles


@dataclass(eq=False)
class _Entry:
    opening: asyncio.Future[StemSet]
    users: int = 0


class StemLease:
    """One user's share of an open stem set; the last `release` closes the files. On the event loop only."""

    def __init__(self, cache: StemFileCache, run_id: str, entry: _Entry) -> None:
        entry.users += 1
        self._cache = cache
        self._run = run_id
        self._entry: _Entry | None = entry

    @property
    def stems(self) -> StemSet:
        """The open set; not after `release`."""
        assert self._entry is not None
        return self._entry.opening.result()

    async def opened(self) -> None:
        """Waits until the set is open; raises what opening raised."""
        assert self._entry is not None
        await asyncio.shield(self._entry.opening)

    def release(self) -> None:
        """Ends the use; doing so again is fine."""
        entry, self._entry = self._entry, None
        if entry is not None:
            self._cache.drop(self._run, entry)


class StemFileCache:
    """Stem sets by run. On the event loop only."""

    def __init__(self, in_thread: InThread = asyncio.to_thread) -> None:
        """Files are opened by `in_thread`."""
        self._in_thread = in_thread
        self._sets: dict[str, _Entry] = {}

    def put(self, run_id: str, stems: StemSet) -> StemLease:
        """Takes in a set that was just made, and answers its first lease.

        Who still reads an earlier set of the run (the job was stopped and goes on) keeps that one.
        """
        opened: asyncio.Future[StemSet] = asyncio.get_running_loop().create_future()
        opened.set_result(stems)
        self._sets[run_id] = _Entry(opened)
        return StemLease(self, run_id, self._sets[run_id])

    async def acquire(self, files: RunFiles, layout: StemLayout | None) -> StemLease:
        """The stems of a run, opened from its files if need be; `release` the lease when done.

        `layout` is None where it is not known yet: then only an open set will do. Raises FileNotFoundError if the
        files are gone, cut, or not open and of unknown layout.
        """
        entry = self._sets.get(files.run_id)
        if entry is None:
            if layout is None:
                raise FileNotFoundError(f"the stems of run {files.run_id} are not open")
            opening = asyncio.ensure_future(self._in_thread(StemSet, files.stems, layout))
            entry = self._sets[files.run_id] = _Entry(opening)
        lease = StemLease(self, files.run_id, entry)
        try:
            await lease.opened()
        except BaseException:
            lease.release()
            raise
        return lease

    def drop(self, run_id: str, entry: _Entry) -> None:
        """One user less; called by the lease."""
        entry.users -= 1
        if entry.users > 0:
            return
        if self._sets.get(run_id) is entry:
            del self._sets[run_id]
        if entry.opening.done():
            _close(entry.opening)
        else:
            entry.opening.add_done_callback(_close)

    @property
    def open_sets(self) -> int:
        """Stem sets that someone uses."""
        return len(self._sets)


def _close(opening: asyncio.Future[StemSet]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()

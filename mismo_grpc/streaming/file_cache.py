"""Keeps stem files open while they are used; the engine and all readers of a run share them.

The stems of a finished run whose files are gone can be opened elsewhere, in the blob container.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mismo_grpc.executors import InThread
from mismo_grpc.separation.stems import StemLayout, StemSet
from mismo_grpc.storage.run_files import RunFiles
from mismo_grpc.streaming.stem_blobs import StemBlobs

StemFiles = StemSet | StemBlobs
Elsewhere = Callable[[StemLayout], Awaitable[StemBlobs]]
"""Opens the stems of a run whose files are gone; raises MismoError."""


@dataclass(eq=False)
class _Entry:
    opening: asyncio.Future[StemFiles]
    users: int = 0


class StemLease:
    """The use of an open stem set by one reader; the last `release` closes the files. On the event loop only."""

    def __init__(self, cache: StemFileCache, run_id: str, entry: _Entry) -> None:
        entry.users += 1
        self._cache = cache
        self._run = run_id
        self._entry: _Entry | None = entry

    @property
    def stems(self) -> StemFiles:
        """The open stem set; not to be used after `release`."""
        assert self._entry is not None
        return self._entry.opening.result()

    async def opened(self) -> None:
        """Waits until the stem set is open; raises the error of opening it."""
        assert self._entry is not None
        await asyncio.shield(self._entry.opening)

    def release(self) -> None:
        """Ends the use; can be called twice."""
        entry, self._entry = self._entry, None
        if entry is not None:
            self._cache.drop(self._run, entry)


class StemFileCache:
    """The open stem sets, by run. On the event loop only."""

    def __init__(self, in_thread: InThread = asyncio.to_thread) -> None:
        """`in_thread` opens the files."""
        self._in_thread = in_thread
        self._sets: dict[str, _Entry] = {}

    def put(self, run_id: str, stems: StemSet) -> StemLease:
        """Adds a new stem set and returns its first lease.

        Readers of an earlier set of the run (of a job that was stopped and resumed) keep that set.
        """
        opened: asyncio.Future[StemFiles] = asyncio.get_running_loop().create_future()
        opened.set_result(stems)
        self._sets[run_id] = _Entry(opened)
        return StemLease(self, run_id, self._sets[run_id])

    async def acquire(
        self, files: RunFiles, layout: StemLayout | None, elsewhere: Elsewhere | None = None
    ) -> StemLease:
        """Returns a lease of a run's stem set, and opens its files if they are not open; `release` the lease when done.

        `layout` is None while it is unknown: then the set must be open already. Files that are missing or too short
        are opened `elsewhere`; without it, or if they are not open and the layout is unknown, raises FileNotFoundError.
        """
        entry = self._sets.get(files.run_id)
        if entry is None:
            if layout is None:
                raise FileNotFoundError(f"the stems of run {files.run_id} are not open")
            opening = asyncio.ensure_future(self._opened(files, layout, elsewhere))
            entry = self._sets[files.run_id] = _Entry(opening)
        lease = StemLease(self, files.run_id, entry)
        try:
            await lease.opened()
        except BaseException:
            lease.release()
            raise
        return lease

    async def _opened(self, files: RunFiles, layout: StemLayout, elsewhere: Elsewhere | None) -> StemFiles:
        try:
            return await self._in_thread(StemSet, files.stems, layout)
        except FileNotFoundError:
            if elsewhere is None:
                raise
            return await elsewhere(layout)

    def drop(self, run_id: str, entry: _Entry) -> None:
        """Removes one user; called by the lease."""
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
        """The number of open stem sets."""
        return len(self._sets)


def _close(opening: asyncio.Future[StemFiles]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()

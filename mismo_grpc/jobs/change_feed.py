"""The latest changes of all jobs, read from the store once for all watchers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from mismo_grpc.broadcast import Broadcast
from mismo_grpc.jobs.job import Job, JobState
from mismo_grpc.jobs.store.change_records import Change, ChangeHead, ChangePage, RemovedJob
from mismo_grpc.jobs.store.port import JobStore

RECENT_CHANGES = 1024
"""The most changes in memory, one for each job; a watcher that needs older ones reads the store."""
PAGE_CHANGES = 50
LOAD_INTERVAL_SECONDS = 0.02
"""The store is read for new changes at most once in this time, however fast jobs change."""


class ChangeFeed:
    """The latest changes, in the order of their numbers; on the event loop only.

    `read` and `write` run a method of the store in a thread. `is_published` says whether clients may already see a
    stored job in this state. The first change that they may not see ends a page, so that no watcher gets it early.
    """

    def __init__(
        self,
        store: JobStore,
        read: Callable[..., Awaitable[Any]],
        write: Callable[..., Awaitable[Any]],
        is_published: Callable[[Job], bool],
    ) -> None:
        self._store = store
        self._read = read
        self._write = write
        self._is_published = is_published
        self.woken = Broadcast()
        self.wakes = 0
        """How often the watchers were woken, by changes and by progress."""
        self.steps = 0
        """How often they were woken by progress."""
        self._stored: int = 0
        self._loaded: int = 0
        self._loaded_at: float = float("-inf")
        self._recent: dict[str, Change] = {}
        self._head: int = 0
        self._floor: int = 0
        self._watchers = 0
        self._lock = asyncio.Lock()

    @property
    def head(self) -> int:
        """The number of the latest change that was loaded."""
        return self._head

    def changed(self) -> None:
        """Wakes the watchers for a change that is stored and published."""
        self._stored += 1
        self._wake()

    def progressed(self) -> None:
        """Wakes the watchers for a job's progress, which is not stored as a change."""
        self.steps += 1
        self._wake()

    def _wake(self) -> None:
        self.wakes += 1
        self.woken.notify()

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[ChangeHead]:
        """Registers a watcher for the block, and gives the store's latest change. Raises StoreError, DiskFullError."""
        async with self._lock:
            head: ChangeHead = await self._write(self._store.change_head)
            if not self._watchers:
                # Without watchers nothing was loaded, so the memory has a gap.
                self._recent.clear()
                self._head = self._floor = head.last_change
            # The head includes changes that are not published yet; they are loaded once they are.
            self._stored += 1
            self._watchers += 1
        try:
            yield head
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._recent.clear()
                self._floor = self._head

    @property
    def is_behind(self) -> bool:
        """Whether there are changes to load, and LOAD_INTERVAL_SECONDS have passed since the last load."""
        return self._stored != self._loaded and self._until_load() <= 0

    def _until_load(self) -> float:
        clock = asyncio.get_running_loop().time
        return self._loaded_at + LOAD_INTERVAL_SECONDS - clock()

    async def load(self) -> None:
        """Loads all published changes; one watcher reads, the others wait for it. Raises StoreError."""
        async with self._lock:
            if self._stored == self._loaded:
                return
            wait = self._until_load()
            if wait > 0:
                await asyncio.sleep(wait)
            stored, complete = self._stored, False
            while not complete:
                page: ChangePage = await self._read(
                    self._store.changes, self._head, None, (), None, PAGE_CHANGES
                )
                published = self._published(page)
                for change in published.changes:
                    self._keep(change)
                self._head = published.position
                complete = published.position < page.position or len(page.changes) < PAGE_CHANGES
            self._loaded = stored
            self._loaded_at = asyncio.get_running_loop().time()

    def _published(self, page: ChangePage) -> ChangePage:
        """The page up to the first change that is not published."""
        for index, change in enumerate(page.changes):
            if isinstance(change.subject, Job) and not self._is_published(change.subject):
                return replace(page, changes=page.changes[:index], position=change.number - 1)
        return page

    def _keep(self, change: Change) -> None:
        # A job has one entry, at its latest change; a removal replaces it.
        self._recent.pop(change.subject.job_id, None)
        self._recent[_key(change)] = change
        if len(self._recent) > RECENT_CHANGES:
            oldest = next(iter(self._recent))
            self._floor = self._recent.pop(oldest).number

    def is_outdated(self, change: Change) -> bool:
        """Whether a later change of the same job is in memory, so that this one can be skipped."""
        later = self._recent.get(_key(change))
        return later is not None and later.number > change.number

    async def after(
        self, position: int, states: Collection[JobState], labels: Mapping[str, str]
    ) -> ChangePage:
        """The changes after a number: from memory, or a page of the store. Raises StoreError.

        Jobs are filtered by their stored state. The position does not advance at the head, or if the next change is
        not published yet.
        """
        if position < self._floor:
            page: ChangePage = await self._read(
                self._store.changes, position, self._floor, states, labels, PAGE_CHANGES
            )
            return self._published(page)
        newer: list[Change] = []
        for change in reversed(self._recent.values()):
            if change.number <= position:
                break
            if matches(change.subject, states, labels):
                newer.append(change)
        return ChangePage(tuple(reversed(newer)), max(position, self._head))


def matches(subject: Job | RemovedJob, states: Collection[JobState], labels: Mapping[str, str]) -> bool:
    """Whether a job is in any of `states` (empty: all) and has all of `labels`; of a removed job only labels count."""
    if isinstance(subject, Job) and states and subject.state not in states:
        return False
    return labels.items() <= subject.labels.items()


def _key(change: Change) -> str:
    subject = change.subject
    # A removal has an entry of its own, so that a new job with the same id does not replace it.
    return subject.job_id if isinstance(subject, Job) else f"{change.number}:{subject.job_id}"

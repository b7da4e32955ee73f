"""The port of the job store, which keeps jobs, callbacks and request ids durably."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mismo_grpc.jobs.callbacks import CallbackRow
from mismo_grpc.jobs.job import Job, JobState
from mismo_grpc.jobs.store.change_records import ChangeHead, ChangePage

JobList = list[Job]


@dataclass(frozen=True)
class RunStanding:
    """The latest run of a job, its state, and whether it keeps its files for a replay."""

    job_id: str
    run_id: str
    state: JobState
    dead_letter: bool = False


@dataclass(frozen=True)
class EndedResult:
    """The facts of an ended run that the disk budget needs; times are seconds since the epoch.

    `ended_at` is 0 if it is unknown; `expires_at` is None if the result never expires.
    """

    job_id: str
    run_id: str
    state: JobState
    ended_at: float
    expires_at: float | None
    result_bytes: int
    dead_letter: bool = False


@dataclass(frozen=True)
class RequestRow:
    """The answer to a request_id."""

    job_id: str
    run_id: str
    fingerprint: str
    deleted: Job | None = None
    """The job as it was when it was deleted, with `deleted_at`; None while the job exists."""


class JobStore(Protocol):
    """Keeps accepted jobs; synchronous and thread-safe.

    A writing method returns once its change survives a crash of the process and of the machine; if it raises, it has
    changed nothing. Every method raises StoreError if the store cannot be read or written; writing methods also raise
    DiskFullError.
    """

    def accept(
        self,
        job: Job,
        request_id: str,
        fingerprint: str,
        now: float,
        callbacks: Sequence[CallbackRow] = (),
    ) -> None:
        """Stores a new run and its callbacks; it replaces an ended run of the same job_id with its callbacks.

        The request_id ("": none) is stored too. Raises RequestIdReusedError if it was used with another fingerprint,
        StoreError if another run of the job_id has not ended.
        """
        ...

    def put_request(self, request_id: str, job_id: str, run_id: str, fingerprint: str, now: float) -> None:
        """Stores the answer to a request_id that did not create a run.

        Raises RequestIdReusedError if it was used with another fingerprint.
        """
        ...

    def find_request(self, request_id: str) -> RequestRow | None:
        """The answer to a request_id, None if it is unknown."""
        ...

    def forget_requests(self, before: float) -> int:
        """Removes the request ids accepted before this time; returns how many."""
        ...

    def save(self, job: Job, callbacks: Sequence[CallbackRow] = (), silent: bool = False) -> bool:
        """Stores a change of an accepted job together with the callbacks it causes.

        A `silent` change gets no change number, so watchers of all jobs do not read the job again because of it.
        Returns False and stores nothing if this run was deleted or replaced meanwhile.
        """
        ...

    def get(self, job_id: str) -> Job | None:
        """The latest run of a job, None if there is no such job."""
        ...

    def active(self) -> JobList:
        """The jobs that have not ended, oldest first."""
        ...

    def standing_runs(self) -> list[RunStanding]:
        """The latest run of every job, by job_id."""
        ...

    def ended_results(self) -> list[EndedResult]:
        """The ended jobs in the order in which they ended, oldest first."""
        ...

    def delete(self, job_id: str, deleted_at: float) -> bool:
        """Removes a job with its callbacks; False if there is none.

        The request ids of the job stay until `forget_requests`; their answer is the job as it is now with `deleted_at`
        (seconds since the epoch). The removal gets a change number.
        """
        ...

    def change_head(self) -> ChangeHead:
        """The latest change. Writes: this start of the server is stored before a cursor can name it."""
        ...

    def last_change_of(self, start_id: str) -> int | None:
        """The highest change number that a cursor of this start can have; None if the store does not know it."""
        ...

    def changes(
        self,
        after: int,
        until: int | None = None,
        states: Collection[JobState] = (),
        labels: Mapping[str, str] | None = None,
        limit: int = 100,
    ) -> ChangePage:
        """The changes with numbers over `after` and up to `until` (None: no end), in order.

        Returns jobs in any of `states` (empty: all) with all of `labels`, and removed jobs with all of `labels`. Reads
        at most `limit` rows, including those that do not match.
        """
        ...

    def forget_removed(self, before: float, keep: int) -> int:
        """Deletes the records of removals before this time, and all but the newest `keep`; returns how many."""
        ...

    def find_result(
        self,
        source_sha256: str,
        cache_key: str,
        now: float = 0.0,
        suits: Callable[[Job], bool] = lambda job: True,
    ) -> Job | None:
        """The newest succeeded job of this content and `records.cache_key` that expires after `now`.

        `suits` must hold for it, too.
        """
        ...

    def has_result_of(self, source_sha256: str, now: float) -> bool:
        """Whether any succeeded job of this content expires after `now`, regardless of its options."""
        ...

    def due_callbacks(self, now: float, limit: int, passed_over: Collection[str] = ()) -> list[CallbackRow]:
        """The first pending callback of each run, if it is due; the longest due first.

        Callbacks to the authorities (`CallbackRow.authority`) in `passed_over` are skipped and do not count for
        `limit`.
        """
        ...

    def next_callback_time(self, after: float) -> float | None:
        """The first time after `after` at which a callback is due (seconds since the epoch); None if there is none."""
        ...

    def save_callback(self, row: CallbackRow) -> bool:
        """Stores the state of a callback; returns False and stores nothing if it was removed together with its job."""
        ...

    def callbacks_of(self, job_id: str) -> list[CallbackRow]:
        """A job's callbacks in the order in which they were stored."""
        ...

    def jobs_with_pending_callbacks(self) -> frozenset[str]:
        """The ids of the jobs with callbacks that are neither delivered nor failed."""
        ...

    def close(self) -> None:
        """Closes the store; can be called twice."""
        ...

    def list(
        self,
        states: Collection[JobState] = (),
        labels: Mapping[str, str] | None = None,
        page_size: int = 50,
        after: tuple[float, str] | None = None,
        dead_letters: bool = False,
    ) -> JobList:
        """The jobs in any of `states` (empty: all) with all of `labels`, newest first; with `dead_letters` only those.

        `after` is (created_at, job_id) of the last job of the previous page.
        """
        ...

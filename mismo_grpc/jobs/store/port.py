"""The port to what must not be lost of jobs: their runs, callbacks and request ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mismo_grpc.jobs.callbacks import CallbackRow
from mismo_grpc.jobs.job import Job, JobState, Stage
from mismo_grpc.jobs.store.change_records import ChangeHead, ChangePage

JobList = list[Job]


@dataclass(frozen=True)
class RunStanding:
    """Which run a job is at, and where it stands."""

    job_id: str
    run_id: str
    state: JobState


@dataclass(frozen=True)
class EndedResult:
    """What the disk budget needs to know of an ended run; times are seconds since the epoch.

    `ended_at` is 0 if it is not known; `expires_at` None: never.
    """

    job_id: str
    run_id: str
    state: JobState
    ended_at: float
    expires_at: float | None
    result_bytes: int


@dataclass(frozen=True)
class RequestRow:
    """What a request_id was answered with."""

    job_id: str
    run_id: str
    fingerprint: str
    deleted: Job | None = None
    """The job as it was when it was deleted, with `deleted_at`; None while it is there."""


class JobStore(Protocol):
    """Keeps jobs that were accepted; synchronous and thread-safe.

    A method that writes returns once its change survives a crash of the process and of the machine, or it
    raises and has changed nothing. Every method raises StoreError if the store cannot be read or written, the
    writing ones DiskFullError if there is no room.
    """

    def accept(
        self,
        job: Job,
        request_id: str,
        fingerprint: str,
        now: float,
        callbacks: Sequence[CallbackRow] = (),
    ) -> None:
        """Stores a new run and its callbacks, in place of an ended run of the same job_id and all that is its.

        A request_id ("" for none) is stored with it. Raises RequestIdReusedError if that came before with
        another fingerprint, StoreError if another run of the job_id has not ended.
        """
        ...

    def put_request(self, request_id: str, job_id: str, run_id: str, fingerprint: str, now: float) -> None:
        """Remembers what a request_id was answered with when no new run came of it.

        Raises RequestIdReusedError if it came before with another fingerprint.
        """
        ...

    def find_request(self, request_id: str) -> RequestRow | None:
        """What a request_id was answered with."""
        ...

    def forget_requests(self, before: float) -> int:
        """Forgets the request ids accepted before this time; answers how many."""
        ...

    def save(self, job: Job, callbacks: Sequence[CallbackRow] = (), silent: bool = False) -> bool:
        """Stores a change of an accepted job together with the callbacks it causes.

        A `silent` change takes no change number: watchers of all jobs do not read the job again because of it.
        False, and nothing is stored, if this run is no longer there: deleted or replaced meanwhile.
        """
        ...

    def get(self, job_id: str) -> Job | None:
        """The latest run of a job."""
        ...

    def active(self) -> JobList:
        """The jobs that have not ended, oldest first."""
        ...

    def standing_runs(self) -> list[RunStanding]:
        """The latest run of every job, by job_id."""
        ...

    def ended_results(self) -> list[EndedResult]:
        """The ended jobs by the time they ended, oldest first."""
        ...

    def delete(self, job_id: str, deleted_at: float) -> bool:
        """Removes a job with its callbacks; False if there is none.

        Request ids that name it stay until they are forgotten, and answer with the job as it is now and `deleted_at`
        (seconds since the epoch). The removal is a change of its own.
        """
        ...

    def change_head(self) -> ChangeHead:
        """Where the changes stand. Writes: this start of the server is stored before a cursor can name it."""
        ...

    def last_change_of(self, start_id: str) -> int | None:
        """The highest change number that a cursor of a start can name; None if this store does not know that start."""
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

        Of jobs those in any of `states` (empty: all), of jobs and removed jobs those with all of `labels`. Looks at
        `limit` rows at most, whether they match or not.
        """
        ...

    def forget_removed(self, before: float, keep: int) -> int:
        """Forgets jobs that were removed before this time, and all but the newest `keep`; answers how many."""
        ...

    def find_result(
        self, source_sha256: str, cache_key: str, now: float = 0.0, stages: Collection[Stage] = ()
    ) -> Job | None:
        """The newest succeeded job of this content and `records.cache_key` that expires after `now`.

        It has a result of each of the `stages`.
        """
        ...

    def has_result_of(self, source_sha256: str, now: float) -> bool:
        """Whether any succeeded job of this content expires after `now`, whatever its options."""
        ...

    def due_callbacks(self, now: float, limit: int, passed_over: Collection[str] = ()) -> list[CallbackRow]:
        """Of each run the first pending callback, if its time has come; the longest due first.

        Those to the authorities (`CallbackRow.authority`) `passed_over` are left out, and do not count for `limit`.
        """
        ...

    def next_callback_time(self, after: float) -> float | None:
        """When the next pending callback is due past that time, in seconds since the epoch; None if none is."""
        ...

    def save_callback(self, row: CallbackRow) -> bool:
        """Stores how a callback stands; False, and nothing is stored, if it is gone together with its job."""
        ...

    def callbacks_of(self, job_id: str) -> list[CallbackRow]:
        """A job's callbacks in the order in which they were written."""
        ...

    def jobs_with_pending_callbacks(self) -> frozenset[str]:
        """The ids of the jobs with callbacks that are neither delivered nor failed."""
        ...

    def close(self) -> None:
        """Ends all use; closing twice is fine."""
        ...

    def list(
        self,
        states: Collection[JobState] = (),
        labels: Mapping[str, str] | None = None,
        page_size: int = 50,
        after: tuple[float, str] | None = None,
    ) -> JobList:
        """Jobs newest first, in any of `states` (empty: all) and with all of `labels`.

        `after` is (created_at, job_id) of the last job of the page before.
        """
        ...

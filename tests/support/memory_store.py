"""The job store in memory, for tests; one contract suite runs on it and on the SQLite store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mismo_grpc.errors import RequestIdReusedError, StoreError
from mismo_grpc.jobs.callbacks import CallbackRow, CallbackState
from mismo_grpc.jobs.job import Job, JobState
from mismo_grpc.jobs.store.change_records import Change, ChangeHead, ChangePage, RemovedJob
from mismo_grpc.jobs.store.port import EndedResult, JobList, RequestRow, RunStanding
from mismo_grpc.jobs.store.records import cache_key as cache_key_of
from mismo_grpc.uploads.record import UploadRow

_FOREVER = float("inf")
START_ID = "0123456789abcdef"


@dataclass
class _Kept:
    job: Job
    change: int
    callbacks: dict[str, CallbackRow] = field(default_factory=dict[str, CallbackRow])


class MemoryJobStore:
    """A JobStore and an UploadStore that keep everything in memory only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, _Kept] = {}
        self._requests: dict[str, tuple[RequestRow, float]] = {}
        self._uploads: dict[str, UploadRow] = {}
        self._last_change = self._forgotten = 0
        self._removed: list[Change] = []

    def accept(
        self,
        job: Job,
        request_id: str,
        fingerprint: str,
        now: float,
        callbacks: Sequence[CallbackRow] = (),
    ) -> None:
        """See JobStore."""
        with self._lock:
            there = self._jobs.get(job.job_id)
            if there is not None and not there.job.state.ended and there.job.run_id != job.run_id:
                raise StoreError(f"job {job.job_id} has not ended; it cannot run again yet")
            self._put_request(request_id, RequestRow(job.job_id, job.run_id, fingerprint), now)
            if there is not None and not there.job.labels.items() <= job.labels.items():
                self._put_removed(there.job, now)
            self._jobs[job.job_id] = _Kept(
                job, self._next_change(), {row.callback_id: row for row in callbacks}
            )

    def put_request(self, request_id: str, job_id: str, run_id: str, fingerprint: str, now: float) -> None:
        """See JobStore."""
        with self._lock:
            self._put_request(request_id, RequestRow(job_id, run_id, fingerprint), now)

    def _put_request(self, request_id: str, row: RequestRow, now: float) -> None:
        if not request_id:
            return
        there = self._requests.get(request_id)
        if there is not None and there[0].fingerprint != row.fingerprint:
            raise RequestIdReusedError(
                "request_id came before with another payload; use a new one", field="request_id"
            )
        self._requests[request_id] = (row, now)

    def find_request(self, request_id: str) -> RequestRow | None:
        """See JobStore."""
        with self._lock:
            there = self._requests.get(request_id)
            return None if there is None else there[0]

    def forget_requests(self, before: float) -> int:
        """See JobStore."""
        with self._lock:
            old = [key for key, (_, accepted_at) in self._requests.items() if accepted_at < before]
            for key in old:
                del self._requests[key]
            return len(old)

    def save(self, job: Job, callbacks: Sequence[CallbackRow] = (), silent: bool = False) -> bool:
        """See JobStore."""
        with self._lock:
            kept = self._jobs.get(job.job_id)
            if kept is None or kept.job.run_id != job.run_id:
                return False
            kept.job = job
            if not silent:
                kept.change = self._next_change()
            kept.callbacks.update((row.callback_id, row) for row in callbacks)
            return True

    def get(self, job_id: str) -> Job | None:
        """See JobStore."""
        with self._lock:
            kept = self._jobs.get(job_id)
            return None if kept is None else kept.job

    def active(self) -> JobList:
        """See JobStore."""
        return self._sorted(lambda job: not job.state.ended, lambda job: job.created_at)

    def standing_runs(self) -> list[RunStanding]:
        """See JobStore."""
        with self._lock:
            jobs = [kept.job for _, kept in sorted(self._jobs.items())]
        return [RunStanding(job.job_id, job.run_id, job.state, job.dead_letter) for job in jobs]

    def ended_results(self) -> list[EndedResult]:
        """See JobStore."""
        return [
            EndedResult(
                job.job_id,
                job.run_id,
                job.state,
                job.ended_at or 0.0,
                job.expires_at,
                job.result_bytes,
                job.dead_letter,
            )
            for job in self._sorted(lambda job: job.state.ended, lambda job: job.ended_at)
        ]

    def _sorted(self, wanted: Callable[[Job], bool], time: Callable[[Job], float | None]) -> JobList:
        with self._lock:
            found = [kept.job for kept in self._jobs.values() if wanted(kept.job)]
        # A missing time comes first, as in SQL.
        return sorted(found, key=lambda job: (-_FOREVER if (at := time(job)) is None else at, job.job_id))

    def delete(self, job_id: str, deleted_at: float) -> bool:
        """See JobStore."""
        with self._lock:
            kept = self._jobs.pop(job_id, None)
            if kept is None:
                return False
            deleted = replace(kept.job, deleted_at=deleted_at)
            for key, (row, accepted_at) in self._requests.items():
                if row.job_id == job_id and row.deleted is None:
                    self._requests[key] = (replace(row, deleted=deleted), accepted_at)
            self._put_removed(kept.job, deleted_at)
            return True

    def _put_removed(self, job: Job, now: float) -> None:
        removed = RemovedJob(job.job_id, job.run_id, dict(job.labels), now)
        self._removed.append(Change(self._next_change(), removed))

    def _next_change(self) -> int:
        self._last_change += 1
        return self._last_change

    def change_head(self) -> ChangeHead:
        """See JobStore."""
        with self._lock:
            return ChangeHead(START_ID, self._last_change, self._forgotten)

    def last_change_of(self, start_id: str) -> int | None:
        """See JobStore."""
        with self._lock:
            return self._last_change if start_id == START_ID else None

    def changes(
        self,
        after: int,
        until: int | None = None,
        states: Collection[JobState] = (),
        labels: Mapping[str, str] | None = None,
        limit: int = 100,
    ) -> ChangePage:
        """See JobStore."""
        asked = dict(labels or {}).items()
        with self._lock:
            every = [Change(kept.change, kept.job) for kept in self._jobs.values()] + self._removed
        last = _FOREVER if until is None else until
        looked_at = sorted((c for c in every if after < c.number <= last), key=lambda change: change.number)
        page = looked_at[:limit]
        found = tuple(
            change
            for change in page
            if asked <= change.subject.labels.items()
            and (not states or isinstance(change.subject, RemovedJob) or change.subject.state in states)
        )
        position = page[-1].number if page else after
        whole = until is not None and len(page) < limit
        return ChangePage(found, max(position, until or 0) if whole else position, self._forgotten)

    def forget_removed(self, before: float, keep: int) -> int:
        """See JobStore."""
        with self._lock:
            old = [
                c
                for c in self._removed
                if isinstance(c.subject, RemovedJob) and c.subject.removed_at < before
            ]
            old += self._removed[: max(0, len(self._removed) - keep)]
            last = max((change.number for change in old), default=0)
            kept = [change for change in self._removed if change.number > last]
            forgotten = len(self._removed) - len(kept)
            self._removed, self._forgotten = kept, max(self._forgotten, last)
            return forgotten

    def find_result(
        self,
        source_sha256: str,
        cache_key: str,
        now: float = 0.0,
        suits: Callable[[Job], bool] = lambda job: True,
    ) -> Job | None:
        """See JobStore."""
        found = self._sorted(
            lambda job: (
                _has_result_of(job, source_sha256, now) and cache_key_of(job) == cache_key and suits(job)
            ),
            lambda job: job.ended_at,
        )
        return found[-1] if found else None

    def has_result_of(self, source_sha256: str, now: float) -> bool:
        """See JobStore."""
        with self._lock:
            return any(_has_result_of(kept.job, source_sha256, now) for kept in self._jobs.values())

    def due_callbacks(self, now: float, limit: int, passed_over: Collection[str] = ()) -> list[CallbackRow]:
        """See JobStore."""
        with self._lock:
            first = [pending[0] for kept in self._jobs.values() if (pending := _pending(kept))]
        due = [row for row in first if row.next_attempt_at <= now and row.authority not in passed_over]
        return sorted(due, key=lambda row: row.next_attempt_at)[:limit]

    def next_callback_time(self, after: float) -> float | None:
        """See JobStore."""
        with self._lock:
            times = [row.next_attempt_at for kept in self._jobs.values() for row in _pending(kept)]
        return min((time for time in times if time > after), default=None)

    def save_callback(self, row: CallbackRow) -> bool:
        """See JobStore."""
        with self._lock:
            kept = self._jobs.get(row.job_id)
            if kept is None or row.callback_id not in kept.callbacks:
                return False
            kept.callbacks[row.callback_id] = row
            return True

    def callbacks_of(self, job_id: str) -> list[CallbackRow]:
        """See JobStore."""
        with self._lock:
            kept = self._jobs.get(job_id)
            return [] if kept is None else list(kept.callbacks.values())

    def jobs_with_pending_callbacks(self) -> frozenset[str]:
        """See JobStore."""
        with self._lock:
            return frozenset(job_id for job_id, kept in self._jobs.items() if _pending(kept))

    def put_upload(self, row: UploadRow) -> None:
        """See UploadStore."""
        with self._lock:
            self._uploads[row.upload_id] = replace(row)

    def get_upload(self, upload_id: str) -> UploadRow | None:
        """See UploadStore."""
        with self._lock:
            return self._uploads.get(upload_id)

    def find_upload_by_sha256(self, sha256: str) -> UploadRow | None:
        """See UploadStore."""
        with self._lock:
            found = [row for row in self._uploads.values() if row.complete and row.sha256 == sha256]
        return max(found, key=lambda row: (row.touched_at, row.upload_id), default=None)

    def delete_upload(self, upload_id: str) -> bool:
        """See UploadStore."""
        with self._lock:
            return self._uploads.pop(upload_id, None) is not None

    def stale_uploads(self, before: float) -> list[UploadRow]:
        """See UploadStore."""
        with self._lock:
            found = [row for row in self._uploads.values() if row.touched_at < before]
        return sorted(found, key=lambda row: (row.touched_at, row.upload_id))

    def count_unfinished_uploads(self) -> int:
        """See UploadStore."""
        with self._lock:
            return sum(not row.complete for row in self._uploads.values())

    def unfinished_uploads(self) -> list[UploadRow]:
        """See UploadStore."""
        return [row for row in self.stale_uploads(_FOREVER) if not row.complete]

    def close(self) -> None:
        """See JobStore."""

    def list(
        self,
        states: Collection[JobState] = (),
        labels: Mapping[str, str] | None = None,
        page_size: int = 50,
        after: tuple[float, str] | None = None,
        dead_letters: bool = False,
    ) -> JobList:
        """See JobStore."""
        asked = dict(labels or {})
        before = (_FOREVER, "") if after is None else after
        found = self._sorted(
            lambda job: (
                (job.created_at, job.job_id) < before
                and (job.dead_letter or not dead_letters)
                and (not states or job.state in states)
                and all(job.labels.get(key) == value for key, value in asked.items())
            ),
            lambda job: job.created_at,
        )
        return found[::-1][:page_size]


def _has_result_of(job: Job, source_sha256: str, now: float) -> bool:
    return (
        job.state is JobState.SUCCEEDED
        and job.source_sha256 == source_sha256
        and (job.expires_at is None or job.expires_at > now)
    )


def _pending(kept: _Kept) -> list[CallbackRow]:
    return [row for row in kept.callbacks.values() if row.state is CallbackState.PENDING]

"""The job store in one SQLite file with one writer; every commit is on the disk before its method returns.

A committed change number survives a power cut (`synchronous=FULL`, see sqlite_file). If the file was replaced by an
older copy, the stored starts of the server reveal it: a cursor of the lost changes names a start that the store does
not know, or a change past the last one of a start that it knows.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from mismo_grpc.errors import RequestIdReusedError, StoreError
from mismo_grpc.jobs.callbacks import CallbackRow
from mismo_grpc.jobs.job import Job, JobState
from mismo_grpc.jobs.store.change_records import STARTS_KEPT, ChangeHead, ChangePage
from mismo_grpc.jobs.store.port import EndedResult, JobList, RequestRow, RunStanding
from mismo_grpc.jobs.store.records import job_from_json
from mismo_grpc.jobs.store.sqlite_connections import SqliteConnections
from mismo_grpc.jobs.store.sqlite_rows import (
    callback_of,
    changes_of,
    job_columns,
    jobs_of,
    label_text,
    labels_text,
    upload_of,
)
from mismo_grpc.uploads.record import UploadRow

MAX_CHANGE = 2**63 - 1


class SqliteJobStore(SqliteConnections):
    """A JobStore and an UploadStore in the file `path`; its folder must exist. One process at a time may have it open.

    Raises StoreError, with a message for the person who starts the server, if the file is damaged, was written by a
    newer version, cannot be opened, or is in use by another server.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._start_id = secrets.token_hex(8)

    def accept(
        self,
        job: Job,
        request_id: str,
        fingerprint: str,
        now: float,
        callbacks: Sequence[CallbackRow] = (),
    ) -> None:
        """See JobStore."""
        with self._transaction() as writer:
            standing = self._one(writer, "job_standing", job_id=job.job_id)
            if standing is not None and standing[0] != job.run_id and not JobState(standing[1]).ended:
                raise StoreError(f"job {job.job_id} has not ended; it cannot run again yet")
            self._put_request(writer, request_id, job.job_id, job.run_id, fingerprint, now)
            labels = {label_text(key, value) for key, value in job.labels.items()}
            # A watcher that filters by a label that the new run lacks would otherwise not learn that the job changed.
            if any(row[0] not in labels for row in self._do(writer, "labels_of", job_id=job.job_id)):
                self._put_removed(writer, job.job_id, now)
            self._do(writer, "delete_job", job_id=job.job_id)
            self._do(writer, "accept_job", **job_columns(job), change=self._next_change(writer))
            for label in labels:
                self._do(writer, "put_label", label=label, job_id=job.job_id)
            self._put_callbacks(writer, callbacks)

    def put_request(self, request_id: str, job_id: str, run_id: str, fingerprint: str, now: float) -> None:
        """See JobStore."""
        with self._transaction() as writer:
            self._put_request(writer, request_id, job_id, run_id, fingerprint, now)

    def _put_request(
        self,
        writer: sqlite3.Connection,
        request_id: str,
        job_id: str,
        run_id: str,
        fingerprint: str,
        now: float,
    ) -> None:
        if not request_id:
            return
        there = self._one(writer, "find_request", request_id=request_id)
        if there is not None and there[2] != fingerprint:
            raise RequestIdReusedError(
                "request_id came before with another payload; use a new one", field="request_id"
            )
        row = {"request_id": request_id, "job_id": job_id, "run_id": run_id, "fingerprint": fingerprint}
        self._do(writer, "put_request", now=now, **row)

    def find_request(self, request_id: str) -> RequestRow | None:
        """See JobStore."""
        row = self._read_one("find_request", request_id=request_id)
        if row is None:
            return None
        job_id, run_id, fingerprint, deleted = row
        return RequestRow(job_id, run_id, fingerprint, None if deleted is None else job_from_json(deleted))

    def forget_requests(self, before: float) -> int:
        """See JobStore."""
        with self._transaction() as writer:
            return self._do(writer, "forget_requests", before=before).rowcount

    def save(self, job: Job, callbacks: Sequence[CallbackRow] = (), silent: bool = False) -> bool:
        """See JobStore."""
        with self._transaction() as writer:
            if self._do(writer, "save_job", **job_columns(job)).rowcount == 0:
                return False
            if not silent:
                self._do(writer, "number_job", job_id=job.job_id, change=self._next_change(writer))
            self._put_callbacks(writer, callbacks)
            return True

    def get(self, job_id: str) -> Job | None:
        """See JobStore."""
        row = self._read_one("get_job", job_id=job_id)
        return None if row is None else job_from_json(row[0])

    def active(self) -> JobList:
        """See JobStore."""
        return jobs_of(self._read("active_jobs"))

    def standing_runs(self) -> list[RunStanding]:
        """See JobStore."""
        return [
            RunStanding(job_id, run_id, JobState(state), bool(dead_letter))
            for job_id, run_id, state, dead_letter in self._read("standing_runs")
        ]

    def ended_results(self) -> list[EndedResult]:
        """See JobStore."""
        return [
            EndedResult(job_id, run_id, JobState(state), ended_at, expires_at, size, bool(dead_letter))
            for job_id, run_id, state, ended_at, expires_at, size, dead_letter in self._read("ended_results")
        ]

    def delete(self, job_id: str, deleted_at: float) -> bool:
        """See JobStore."""
        with self._transaction() as writer:
            if self._one(writer, "job_standing", job_id=job_id) is None:
                return False
            self._put_removed(writer, job_id, deleted_at)
            self._do(writer, "keep_deleted_job", job_id=job_id, deleted_at=deleted_at)
            self._do(writer, "delete_job", job_id=job_id)
            return True

    def _put_removed(self, writer: sqlite3.Connection, job_id: str, now: float) -> None:
        self._do(writer, "put_removed", job_id=job_id, now=now, change=self._next_change(writer))

    def _next_change(self, writer: sqlite3.Connection) -> int:
        self._do(writer, "record_start", start_id=self._start_id)
        return self._do(writer, "next_change").fetchall()[0][0]

    def change_head(self) -> ChangeHead:
        """See JobStore."""
        with self._transaction() as writer:
            self._do(writer, "record_start", start_id=self._start_id)
            return ChangeHead(self._start_id, *self._do(writer, "change_head").fetchall()[0])

    def last_change_of(self, start_id: str) -> int | None:
        """See JobStore."""
        row = self._read_one("last_change_of", start_id=start_id)
        return None if row is None else row[0]

    def changes(
        self,
        after: int,
        until: int | None = None,
        states: Collection[JobState] = (),
        labels: Mapping[str, str] | None = None,
        limit: int = 100,
    ) -> ChangePage:
        """See JobStore."""
        rows = self._read(
            "changes",
            after=after,
            until=MAX_CHANGE if until is None else until,
            states=json.dumps([int(state) for state in states]) if states else None,
            labels=labels_text(labels),
            limit=limit,
        )
        last = rows[-1][0] if rows else after
        whole = len(rows) < limit and until is not None
        # Read after the changes, so that a removal that was deleted between the two reads is reported as missing.
        _, forgotten = self._read("change_head")[0]
        return ChangePage(changes_of(rows), max(last, until or 0) if whole else last, forgotten)

    def forget_removed(self, before: float, keep: int) -> int:
        """See JobStore."""
        with self._transaction() as writer:
            self._do(writer, "forget_starts", keep=STARTS_KEPT)
            last = self._do(writer, "last_to_forget", before=before, keep=keep).fetchall()[0][0]
            forgotten = self._do(writer, "forget_removed", last=last).rowcount
            if forgotten:
                self._do(writer, "raise_forgotten", last=last)
            return forgotten

    def find_result(
        self,
        source_sha256: str,
        cache_key: str,
        now: float = 0.0,
        suits: Callable[[Job], bool] = lambda job: True,
    ) -> Job | None:
        """See JobStore."""
        rows = self._read("find_result", source_sha256=source_sha256, cache_key=cache_key, now=now)
        jobs = (job_from_json(row[0]) for row in rows)
        return next(filter(suits, jobs), None)

    def has_result_of(self, source_sha256: str, now: float) -> bool:
        """See JobStore."""
        return self._read("has_result_of", source_sha256=source_sha256, now=now) == [(1,)]

    def _put_callbacks(self, writer: sqlite3.Connection, callbacks: Sequence[CallbackRow]) -> None:
        for row in callbacks:
            self._do(
                writer, "put_callback", **vars(row) | {"url": json.dumps(row.url), "authority": row.authority}
            )

    def due_callbacks(self, now: float, limit: int, passed_over: Collection[str] = ()) -> list[CallbackRow]:
        """See JobStore."""
        authorities = json.dumps(list(passed_over))
        return [
            callback_of(row)
            for row in self._read("due_callbacks", now=now, limit=limit, passed_over=authorities)
        ]

    def next_callback_time(self, after: float) -> float | None:
        """See JobStore."""
        row = self._read_one("next_callback_time", after=after)
        return None if row is None else row[0]

    def save_callback(self, row: CallbackRow) -> bool:
        """See JobStore."""
        with self._transaction() as writer:
            changed = self._do(
                writer,
                "save_callback",
                callback_id=row.callback_id,
                next_attempt_at=row.next_attempt_at,
                state=row.state,
                attempts=row.attempts,
                last_error=row.last_error,
            )
            return changed.rowcount > 0

    def callbacks_of(self, job_id: str) -> list[CallbackRow]:
        """See JobStore."""
        return [callback_of(row) for row in self._read("callbacks_of", job_id=job_id)]

    def jobs_with_pending_callbacks(self) -> frozenset[str]:
        """See JobStore."""
        return frozenset(row[0] for row in self._read("jobs_with_pending_callbacks"))

    def put_upload(self, row: UploadRow) -> None:
        """See UploadStore."""
        with self._transaction() as writer:
            self._do(
                writer,
                "put_upload",
                upload_id=row.upload_id,
                filename=row.filename,
                total_bytes=row.total_bytes,
                sha256=row.sha256,
                complete=int(row.complete),
                touched_at=row.touched_at,
                boot=row.boot,
            )

    def get_upload(self, upload_id: str) -> UploadRow | None:
        """See UploadStore."""
        row = self._read_one("get_upload", upload_id=upload_id)
        return None if row is None else upload_of(row)

    def find_upload_by_sha256(self, sha256: str) -> UploadRow | None:
        """See UploadStore."""
        row = self._read_one("find_upload_by_sha256", sha256=sha256)
        return None if row is None else upload_of(row)

    def delete_upload(self, upload_id: str) -> bool:
        """See UploadStore."""
        with self._transaction() as writer:
            return self._do(writer, "delete_upload", upload_id=upload_id).rowcount > 0

    def stale_uploads(self, before: float) -> list[UploadRow]:
        """See UploadStore."""
        return [upload_of(row) for row in self._read("stale_uploads", before=before)]

    def count_unfinished_uploads(self) -> int:
        """See UploadStore."""
        row = self._read_one("count_unfinished_uploads")
        return 0 if row is None else row[0]

    def unfinished_uploads(self) -> list[UploadRow]:
        """See UploadStore."""
        return [upload_of(row) for row in self._read("unfinished_uploads")]

    def list(
        self,
        states: Collection[JobState] = (),
        labels: Mapping[str, str] | None = None,
        page_size: int = 50,
        after: tuple[float, str] | None = None,
        dead_letters: bool = False,
    ) -> JobList:
        """See JobStore."""
        before_time, before_id = (float("inf"), "") if after is None else after
        rows = self._read(
            "list_dead_letters" if dead_letters else "list_jobs",
            before_time=before_time,
            before_id=before_id,
            states=json.dumps([int(state) for state in states]) if states else None,
            labels=labels_text(labels),
            page_size=page_size,
        )
        return jobs_of(rows)

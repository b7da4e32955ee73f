"""The job store in one SQLite file: one writer, every commit on the disk before it is answered.

Readers have connections of their own and never wait for the writer.
"""

from __future__ import annotations

import json
import os
import queue
import sqlite3
import threading
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mismo_grpc.errors import RequestIdReusedError, StoreError
from mismo_grpc.jobs.callbacks import CallbackRow, CallbackState
from mismo_grpc.jobs.job import Job, JobState, Stage
from mismo_grpc.jobs.store.port import EndedResult, JobList, RequestRow, RunStanding
from mismo_grpc.jobs.store.records import cache_key, job_from_json, job_to_json
from mismo_grpc.jobs.store.sqlite_file import (
    BUSY_TIMEOUT_SECONDS,
    connect,
    lock_file_of,
    open_writer,
    queries,
    store_errors,
)
from mismo_grpc.uploads.record import UploadRow

READERS = 4

Row = tuple[Any, ...]


class SqliteJobStore:
    """A JobStore and an UploadStore in the file `path`; its folder must exist. One process at a time may have it open.

    Raises StoreError, in words for the person who starts the server, if the file is damaged, was written by a
    newer version, cannot be opened, or is in use by another server.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queries = queries()
        self._write_lock = threading.Lock()
        self._closed = False
        self._idle_readers: queue.LifoQueue[sqlite3.Connection | None] = queue.LifoQueue()
        self._lock_file = lock_file_of(path)
        try:
            self._writer = open_writer(path)
        except BaseException:
            os.close(self._lock_file)
            raise
        for _ in range(READERS):
            self._idle_readers.put(None)

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
            self._do(writer, "delete_job", job_id=job.job_id)
            self._do(writer, "accept_job", **_columns(job))
            for key, value in job.labels.items():
                self._do(writer, "put_label", label=_label(key, value), job_id=job.job_id)
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

    def save(self, job: Job, callbacks: Sequence[CallbackRow] = ()) -> bool:
        """See JobStore."""
        with self._transaction() as writer:
            if self._do(writer, "save_job", **_columns(job)).rowcount == 0:
                return False
            self._put_callbacks(writer, callbacks)
            return True

    def get(self, job_id: str) -> Job | None:
        """See JobStore."""
        row = self._read_one("get_job", job_id=job_id)
        return None if row is None else job_from_json(row[0])

    def active(self) -> JobList:
        """See JobStore."""
        return _jobs(self._read("active_jobs"))

    def standing_runs(self) -> list[RunStanding]:
        """See JobStore."""
        return [
            RunStanding(job_id, run_id, JobState(state))
            for job_id, run_id, state in self._read("standing_runs")
        ]

    def ended_results(self) -> list[EndedResult]:
        """See JobStore."""
        return [
            EndedResult(job_id, run_id, JobState(state), *rest)
            for job_id, run_id, state, *rest in self._read("ended_results")
        ]

    def delete(self, job_id: str, deleted_at: float) -> bool:
        """See JobStore."""
        with self._transaction() as writer:
            self._do(writer, "keep_deleted_job", job_id=job_id, deleted_at=deleted_at)
            return self._do(writer, "delete_job", job_id=job_id).rowcount > 0

    def find_result(
        self, source_sha256: str, cache_key: str, now: float = 0.0, stages: Collection[Stage] = ()
    ) -> Job | None:
        """See JobStore."""
        rows = self._read("find_result", source_sha256=source_sha256, cache_key=cache_key, now=now)
        jobs = (job_from_json(row[0]) for row in rows)
        return next((job for job in jobs if all(map(job.has_result_of, stages))), None)

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
            _callback(row)
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
        return [_callback(row) for row in self._read("callbacks_of", job_id=job_id)]

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
        return None if row is None else _upload(row)

    def find_upload_by_sha256(self, sha256: str) -> UploadRow | None:
        """See UploadStore."""
        row = self._read_one("find_upload_by_sha256", sha256=sha256)
        return None if row is None else _upload(row)

    def delete_upload(self, upload_id: str) -> bool:
        """See UploadStore."""
        with self._transaction() as writer:
            return self._do(writer, "delete_upload", upload_id=upload_id).rowcount > 0

    def stale_uploads(self, before: float) -> list[UploadRow]:
        """See UploadStore."""
        return [_upload(row) for row in self._read("stale_uploads", before=before)]

    def count_unfinished_uploads(self) -> int:
        """See UploadStore."""
        row = self._read_one("count_unfinished_uploads")
        return 0 if row is None else row[0]

    def unfinished_uploads(self) -> list[UploadRow]:
        """See UploadStore."""
        return [_upload(row) for row in self._read("unfinished_uploads")]

    def close(self) -> None:
        """Waits for what is under way, folds the log into the file, and lets go of it."""
        with self._write_lock:
            if self._closed:
                return
            self._closed = True
            for _ in range(READERS):
                with suppress(queue.Empty):
                    reader = self._idle_readers.get(timeout=BUSY_TIMEOUT_SECONDS)
                    if reader is not None:
                        reader.close()
            # Whoever still waits for a reader finds out that there is none.
            for _ in range(READERS):
                self._idle_readers.put(None)
            try:
                with store_errors():
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                self._writer.close()
                os.close(self._lock_file)

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with self._write_lock, store_errors():
            self._refuse_closed()
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                # SQLite itself has rolled back after some errors, a full disk among them.
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def _do(self, connection: sqlite3.Connection, query: str, **values: object) -> sqlite3.Cursor:
        return connection.execute(self._queries[query], values)

    def _one(self, connection: sqlite3.Connection, query: str, **values: object) -> Row | None:
        rows = self._do(connection, query, **values).fetchall()
        return rows[0] if rows else None

    def _read(self, query: str, **values: object) -> list[Row]:
        try:
            reader = self._idle_readers.get(timeout=BUSY_TIMEOUT_SECONDS)
        except queue.Empty:
            raise StoreError("the job store is overloaded; try again") from None
        try:
            with store_errors():
                self._refuse_closed()
                if reader is None:
                    reader = connect(self._path)
                    reader.execute("PRAGMA query_only=ON")
                return self._do(reader, query, **values).fetchall()
        finally:
            self._idle_readers.put(reader)

    def _read_one(self, query: str, **values: object) -> Row | None:
        rows = self._read(query, **values)
        return rows[0] if rows else None

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreError("the job store is closed: the server is going down")

    def list(
        self,
        states: Collection[JobState] = (),
        labels: Mapping[str, str] | None = None,
        page_size: int = 50,
        after: tuple[float, str] | None = None,
    ) -> JobList:
        """See JobStore."""
        before_time, before_id = (float("inf"), "") if after is None else after
        rows = self._read(
            "list_jobs",
            before_time=before_time,
            before_id=before_id,
            states=json.dumps([int(state) for state in states]) if states else None,
            labels=json.dumps([_label(key, value) for key, value in (labels or {}).items()]),
            page_size=page_size,
        )
        return _jobs(rows)


def _columns(job: Job) -> dict[str, object]:
    return {
        "job_id": job.job_id,
        "run_id": job.run_id,
        "state": int(job.state),
        "priority": int(job.priority),
        "created_at": job.created_at,
        "ended_at": job.ended_at,
        "expires_at": job.expires_at,
        "source_sha256": job.source_sha256,
        "source_bytes": job.source_bytes,
        "cache_key": cache_key(job),
        "result_bytes": job.result_bytes,
        "record": job_to_json(job),
    }


def _label(key: str, value: str) -> str:
    # ASCII JSON, so that NUL characters and lone surrogates are safe in SQL text.
    return json.dumps([key, value])


def _jobs(rows: list[Row]) -> JobList:
    return [job_from_json(row[0]) for row in rows]


def _callback(row: Row) -> CallbackRow:
    callback_id, job_id, run_id, stage, url, created_at, next_attempt_at, state, attempts, last_error = row
    known = CallbackState(state)
    return CallbackRow(
        callback_id,
        job_id,
        run_id,
        stage,
        json.loads(url),
        created_at,
        next_attempt_at,
        known,
        attempts,
        last_error,
    )


def _upload(row: Row) -> UploadRow:
    upload_id, filename, total_bytes, sha256, complete, touched_at, boot = row
    return UploadRow(upload_id, filename, total_bytes, sha256, bool(complete), touched_at, boot)

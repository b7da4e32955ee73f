"""Converts the rows of the SQLite job store to values and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from mismo_grpc.jobs.callbacks import CallbackRow, CallbackState
from mismo_grpc.jobs.job import Job
from mismo_grpc.jobs.store.change_records import Change, RemovedJob
from mismo_grpc.jobs.store.port import JobList
from mismo_grpc.jobs.store.records import cache_key, job_from_json, job_to_json
from mismo_grpc.uploads.record import UploadRow

Row = tuple[Any, ...]


def job_columns(job: Job) -> dict[str, object]:
    """The columns of a job, without its change number."""
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
        "dead_letter": int(job.dead_letter),
        "record": job_to_json(job),
    }


def label_text(key: str, value: str) -> str:
    """The stored form of a label."""
    # ASCII JSON, so that NUL characters and lone surrogates are safe in SQL text.
    return json.dumps([key, value])


def labels_text(labels: Mapping[str, str] | None) -> str:
    """The labels of a query's filter, as a JSON array of stored labels."""
    return json.dumps([label_text(key, value) for key, value in (labels or {}).items()])


def jobs_of(rows: list[Row]) -> JobList:
    """The jobs of rows whose first column is the record; raises StoreError."""
    return [job_from_json(row[0]) for row in rows]


def callback_of(row: Row) -> CallbackRow:
    """Builds a callback from its columns."""
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


def upload_of(row: Row) -> UploadRow:
    """Builds an upload from its columns."""
    upload_id, filename, total_bytes, sha256, complete, touched_at, boot = row
    return UploadRow(upload_id, filename, total_bytes, sha256, bool(complete), touched_at, boot)


def changes_of(rows: Iterable[Row]) -> tuple[Change, ...]:
    """Builds the changes from the rows of the query `changes`; rows that do not match the filter are skipped."""
    changes: list[Change] = []
    for number, record, job_id, run_id, labels, removed_at in rows:
        if record is not None:
            changes.append(Change(number, job_from_json(record)))
        elif labels is not None:
            kept = dict(json.loads(label) for label in json.loads(labels))
            changes.append(Change(number, RemovedJob(job_id, run_id, kept, removed_at)))
    return tuple(changes)

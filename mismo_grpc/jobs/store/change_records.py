"""Changes of jobs in the order in which they were stored, as watchers of all jobs read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mismo_grpc.jobs.job import Job

REMOVED_JOBS_KEPT_SECONDS = 7 * 24 * 3600.0
"""How long a deleted or expired job is remembered; a cursor that is older may have missed it."""
REMOVED_JOBS_KEPT = 100_000
"""Removed jobs that are remembered at most; about 200 bytes each, and their labels."""
STARTS_KEPT = 1000
"""Starts of servers that are remembered at most; a cursor of an older one has expired."""


@dataclass(frozen=True)
class RemovedJob:
    """A job that was deleted or has expired, or a run that gave way to one with other labels.

    `removed_at` is in seconds since the epoch.
    """

    job_id: str
    run_id: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    removed_at: float = 0.0


@dataclass(frozen=True)
class Change:
    """The latest change of a job, or its removal; numbers rise over the store's whole life and are never used twice."""

    number: int
    subject: Job | RemovedJob


@dataclass(frozen=True)
class ChangePage:
    """Changes in order; whatever changed up to number `position` and was asked for is in it or in an earlier page.

    Removals up to number `forgotten` may be missing, for the store forgot them.
    """

    changes: tuple[Change, ...]
    position: int
    forgotten: int = 0


@dataclass(frozen=True)
class ChangeHead:
    """Where the store's changes stand.

    `start_id` names this start of the server. `last_change` is the number of the latest change, 0 if there was none.
    Removals up to number `forgotten_change` may be forgotten.
    """

    start_id: str
    last_change: int
    forgotten_change: int

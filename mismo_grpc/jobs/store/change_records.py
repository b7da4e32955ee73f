"""Records of the changes of jobs, in the order in which they were stored; watchers of all jobs read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mismo_grpc.jobs.job import Job

REMOVED_JOBS_KEPT_SECONDS = 7 * 24 * 3600.0
"""How long the removal of a job is kept; a client with an older cursor may have missed it, so the cursor expires."""
REMOVED_JOBS_KEPT = 100_000
"""The most removals that are kept; about 200 bytes each, and their labels."""
STARTS_KEPT = 1000
"""The most starts of the server that are kept; a cursor of an older start has expired."""


@dataclass(frozen=True)
class RemovedJob:
    """A job that was deleted or has expired, or a run that was replaced by one with other labels.

    `removed_at` is in seconds since the epoch.
    """

    job_id: str
    run_id: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    removed_at: float = 0.0


@dataclass(frozen=True)
class Change:
    """The latest change of a job, or its removal; numbers increase over the store's whole life and are never reused."""

    number: int
    subject: Job | RemovedJob


@dataclass(frozen=True)
class ChangePage:
    """Changes in order; this page and earlier ones have all requested changes up to number `position`.

    Removals up to number `forgotten` may be missing, because the store no longer has them.
    """

    changes: tuple[Change, ...]
    position: int
    forgotten: int = 0


@dataclass(frozen=True)
class ChangeHead:
    """The store's latest change.

    `start_id` names this start of the server. `last_change` is the number of the latest change, 0 if there was none.
    The store may no longer have removals up to number `forgotten_change`.
    """

    start_id: str
    last_change: int
    forgotten_change: int

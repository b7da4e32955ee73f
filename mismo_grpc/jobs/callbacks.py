"""Callbacks that a change of a job causes: they are stored with the change and sent later, so that none is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from mismo_grpc.jobs.events import EventKind
from mismo_grpc.jobs.job import Job, Stage

TOLD_STAGES = (Stage.STEMS,)
"""Stages whose outcome is told; each has a callback of its own."""


class CallbackState(StrEnum):
    """The state of a callback; a failed one is not sent again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True)
class CallbackRow:
    """One callback; times are seconds since the epoch.

    `callback_id` is the same on every attempt, so that a receiver recognizes a repeated callback. `attempts` counts
    the finished attempts. `last_error` says why the latest one failed.
    """

    callback_id: str
    job_id: str
    run_id: str
    stage: str
    url: str
    created_at: float
    next_attempt_at: float
    state: CallbackState = CallbackState.PENDING
    attempts: int = 0
    last_error: str = ""

    @property
    def authority(self) -> str:
        """Host and port as written in the URL, in lower case and ASCII; "" if the URL has none."""
        try:
            named = urlsplit(self.url).netloc.lower()
        except ValueError:
            return ""
        return named.encode("unicode_escape").decode("ascii")


def callbacks_due(
    job: Job, event_kind: EventKind, now: float, new_id: Callable[[], str]
) -> tuple[CallbackRow, ...]:
    """The callbacks that a job's change causes, in the order in which they go out; `now` as the rows' times."""
    url = job.delivery.callback_url
    if not url or event_kind is not EventKind.TERMINAL or not job.state.ended:
        return ()
    return tuple(
        CallbackRow(new_id(), job.job_id, job.run_id, stage_name(stage), url, now, now)
        for stage in TOLD_STAGES
    )


def stage_name(stage: Stage) -> str:
    """The name of a stage in callbacks."""
    return stage.name.lower()

"""Callbacks that a change of a job causes: they are stored with the change and sent later, so that none is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from mismo_grpc.jobs.job import DeliveryMode, Job, Stage
from mismo_grpc.jobs.stage_data import STEM_STAGES


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
    before: Job | None, job: Job, now: float, new_id: Callable[[], str]
) -> tuple[CallbackRow, ...]:
    """The callbacks that a change of a job causes: one for each requested stage that has just ended.

    Jobs that deliver to the blob container have a single callback, when the job ends. Their times are `now`.

    `before` is None for a job that is stored for the first time.
    """
    url = job.delivery.callback_url
    if not url:
        return ()
    if job.delivery.mode is DeliveryMode.BLOB:
        ended = job.state.ended and not (before is not None and before.state.ended)
        return (CallbackRow(new_id(), job.job_id, job.run_id, job_kind(job), url, now, now),) if ended else ()
    return tuple(
        CallbackRow(new_id(), job.job_id, job.run_id, stage_name(stage), url, now, now)
        for stage in told_stages(job)
        if _may_be_told(job, stage) and not (before is not None and _may_be_told(before, stage))
    )


def told_stages(job: Job) -> tuple[Stage, ...]:
    """The stages that have callbacks: the requested ones that have a result of their own."""
    return tuple(stage for stage in job.options.stages if stage not in _NOT_TOLD)


_NOT_TOLD = (Stage.DECODE, Stage.ANNOTATION, Stage.BLOB_UPLOAD)


def job_kind(job: Job) -> str:
    """The name of a job's single callback: "generation" or "analysis"."""
    return "generation" if job.has(Stage.GENERATION) else "analysis"


def _may_be_told(job: Job, stage: Stage) -> bool:
    """Whether a stage can be reported. The callback of the stems contains the waveforms, so it waits for them."""
    if not job.has_ended(stage):
        return False
    waits = stage in STEM_STAGES and job.has_result_of(stage) and job.has(Stage.WAVEFORMS)
    return not waits or job.has_ended(Stage.WAVEFORMS)


def stage_named(name: str) -> Stage:
    """The stage with this name in callbacks."""
    return Stage[name.upper()]


def stage_name(stage: Stage) -> str:
    """The name of a stage in callbacks."""
    return stage.name.lower()

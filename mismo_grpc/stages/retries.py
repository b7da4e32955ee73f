"""When a failed stage is tried again: one table by class of error for all stages, besides a stage's own.

Errors that are in neither, such as those of bad input, are never tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from mismo_grpc.errors import (
    BlobAccessDeniedError,
    BlobChangedError,
    BlobContainerNotFoundError,
    BlobStoreUnavailableError,
    MismoError,
)
from mismo_grpc.jobs.job import Job, Stage, StageState
from mismo_grpc.stages.stage import MAX_DELAY_SECONDS, Retry, retry_delay
from mismo_grpc.stages.table import TABLE, stages_to_run

BASE_DELAY_SECONDS = 2.0
"""The first delay after an outage of the blob store, to which the setting of the delay refers."""
JITTER = 0.2
"""The largest share by which a delay is made longer or shorter, so that jobs that failed together do not come back
together."""
LONGEST_DELAY_SECONDS = MAX_DELAY_SECONDS * (1 + JITTER)

RETRIES = (
    # An outage ends by itself, so only the setting limits the retries.
    Retry((BlobStoreUnavailableError,), times=1000, first_delay=BASE_DELAY_SECONDS),
    # A person must act: renew the credentials, create the container.
    Retry((BlobAccessDeniedError, BlobContainerNotFoundError), times=4, first_delay=15.0),
    # Whoever replaces the blob has hardly finished yet.
    Retry((BlobChangedError,), times=3, first_delay=1.0),
)


@dataclass(frozen=True)
class StageRetries:
    """Decides on the retries of all stages.

    A stage is tried again at most `most` times, whatever its class of error allows. Delays are those of the tables
    times `scale`, at most MAX_DELAY_SECONDS, made longer or shorter by up to JITTER; `random` returns a number from
    0 to 1.
    """

    most: int = 12
    scale: float = 1.0
    random: Callable[[], float] = lambda: 0.5

    def delay(self, own: Sequence[Retry], error: MismoError, failed: int) -> float | None:
        """Seconds until the next attempt after `failed` failed ones, the last with `error`; None: no further attempt.

        `own` are the retries of the stage, which come before the table.
        """
        if failed > self.most:
            return None
        delay = retry_delay((*own, *RETRIES), error, failed, self.scale)
        return None if delay is None else delay * (1 + JITTER * (2 * self.random() - 1))


def seconds_left(next_attempt_at: float, now: float) -> float:
    """Seconds from `now` until a stored time of the next attempt; 0 if it has passed.

    Also 0 if it is further away than any delay: then the clock was set back.
    """
    left = max(0.0, next_attempt_at - now)
    return left if left <= LONGEST_DELAY_SECONDS else 0.0


def only_waits(left: Collection[Stage], waiting: Collection[Stage]) -> bool:
    """Whether each stage of `left` is one of `waiting`, or comes after one, so that none can run now."""
    held_up = set(waiting)
    for row in TABLE:
        if row.stage in left and not held_up.isdisjoint((*row.needs, *row.needs_one, *row.after)):
            held_up.add(row.stage)
    return bool(waiting) and held_up.issuperset(left)


def next_attempt(job: Job) -> float | None:
    """When a job can go on (seconds since the epoch) of which no stage can run before another attempt is due.

    None: a stage can run now.
    """
    times = {
        status.stage: status.next_attempt_at
        for status in job.stages
        if status.next_attempt_at is not None and status.state is StageState.PENDING
    }
    if not times:
        return None
    left = [stage for stage in stages_to_run(job) if not job.has_ended(stage)]
    return min(times.values()) if only_waits(left, times) else None

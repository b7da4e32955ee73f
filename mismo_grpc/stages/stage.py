"""What a stage is: what it needs, when it is tried again, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mismo_grpc.errors import MismoError
from mismo_grpc.jobs.job import Artifact, Job, Stage, StageData
from mismo_grpc.stages.context import StageContext


@dataclass(frozen=True)
class StageResult:
    """What a stage that succeeded leaves; its files are on the disk by then, and survive a power cut.

    `bytes` are those of all files that the run keeps of it; `artifacts` names those that clients may fetch. `change`
    is what else becomes known of the job.
    """

    data: StageData | None = None
    artifacts: tuple[Artifact, ...] = ()
    bytes: int = 0
    change: Callable[[Job], Job] = lambda job: job


@dataclass(frozen=True)
class Retry:
    """Errors of these classes are met with another attempt, `times` at most, `first_delay` seconds later.

    The delay doubles with each attempt.
    """

    errors: tuple[type[MismoError], ...]
    times: int
    first_delay: float


def retry_delay(retries: Sequence[Retry], error: MismoError, attempts: int) -> float | None:
    """Seconds to the next attempt after so many that have failed, the last one with `error`; None: there is none."""
    for retry in retries:
        if isinstance(error, retry.errors) and attempts <= retry.times:
            return retry.first_delay * 2 ** (attempts - 1)
    return None


class StageWork(Protocol):
    """Carries out one stage of any job; `table.py` has what else is known of it.

    `retries` says which errors are worth another attempt.
    """

    stage: Stage
    retries: Sequence[Retry]

    def time_limit(self, audio_seconds: float) -> float | None:
        """How long an attempt may take on a track of that length, in seconds; None: as long as it works.

        Time in which it waits for others, a free worker for example, does not count.
        """
        ...

    async def run(self, context: StageContext) -> StageResult:
        """Makes one attempt.

        It is called as soon as the job runs. What it does before `context.needs()` it does beside the stages that it
        needs: loading a model, for example. It calls `context.begin()` when its own work begins.

        A stage that was stopped by the end of the process is run again and finds its files as they were; what it takes
        up of them is its own affair. If it is cancelled, nothing of it writes any more once it has returned.

        Raises a MismoError or OSError if it fails, NeedFailedError as `context.needs()` does.
        """
        ...

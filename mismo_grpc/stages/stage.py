"""The interface of a stage: its work, its retries and its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mismo_grpc.errors import MismoError
from mismo_grpc.jobs.job import Artifact, Job, Stage
from mismo_grpc.jobs.stage_data import StageData
from mismo_grpc.stages.context import StageContext


@dataclass(frozen=True)
class StageResult:
    """The result of a stage that succeeded; its files are synced, so that they survive a power cut.

    `bytes` is the size of all its files that the run keeps; `artifacts` are those that clients may download. `change`
    applies what else becomes known of the job. `version` names what made `data` besides the track.
    """

    data: StageData | None = None
    artifacts: tuple[Artifact, ...] = ()
    bytes: int = 0
    change: Callable[[Job], Job] = lambda job: job
    version: str = ""


MAX_DELAY_SECONDS = 300.0


@dataclass(frozen=True)
class Retry:
    """After an error of these classes the stage is tried again, at most `times` times.

    The delay before the next attempt is `first_delay` seconds and doubles each time, up to MAX_DELAY_SECONDS.
    """

    errors: tuple[type[MismoError], ...]
    times: int
    first_delay: float


def retry_delay(
    retries: Sequence[Retry], error: MismoError, attempts: int, scale: float = 1.0
) -> float | None:
    """Seconds until the next attempt after `attempts` failed ones, the last with `error`; None: no further attempt.

    `scale` multiplies the first delay.
    """
    for retry in retries:
        if isinstance(error, retry.errors):
            if attempts > retry.times:
                return None
            return min(MAX_DELAY_SECONDS, retry.first_delay * scale * 2.0 ** min(attempts - 1, 64))
    return None


class StageWork(Protocol):
    """Runs one stage of any job; `table.py` has the other properties of the stage.

    `retries` says after which errors the stage is tried again, besides those of `retries.py` for all stages.
    """

    stage: Stage
    retries: Sequence[Retry]

    def time_limit(self, audio_seconds: float) -> float | None:
        """How long an attempt may take on a track of that length, in seconds; None: no limit.

        Time in which it waits, for example for a free worker, does not count.
        """
        ...

    async def run(self, context: StageContext) -> StageResult:
        """Makes one attempt.

        It is called as soon as the job runs. Work before `context.needs()`, such as loading a model, runs in parallel
        with the needed stages. The stage calls `context.begin()` when its own work begins.

        A stage that was stopped by the end of the process runs again and finds its files unchanged; it decides what it
        reuses of them. If it is cancelled, it must have stopped writing when it returns.

        Raises a MismoError or OSError if it fails, NeedFailedError as `context.needs()` does.
        """
        ...

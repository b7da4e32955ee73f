"""Stages that fail while a test says so."""

from __future__ import annotations

from collections.abc import Callable

from mismo_grpc.errors import BlobStoreUnavailableError, MismoError
from mismo_grpc.stages.context import StageContext
from mismo_grpc.stages.stage import StageResult, StageWork


class FailingStage:
    """A real stage that fails with what `error` returns; None: it does its work."""

    def __init__(self, work: StageWork, error: Callable[[], MismoError | None]) -> None:
        self._work = work
        self._error = error
        self.stage = work.stage
        self.retries = work.retries
        self.time_limit = work.time_limit
        self.failures = 0

    async def run(self, context: StageContext) -> StageResult:
        """See StageWork."""
        error = self._error()
        if error is None:
            return await self._work.run(context)
        await context.needs()
        await context.begin()
        self.failures += 1
        raise error


def away() -> MismoError:
    """The error of a blob container that does not respond."""
    return BlobStoreUnavailableError("the blob container does not respond")

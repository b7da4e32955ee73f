"""What a stage knows of its job, and how it records its work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar

from mismo_grpc.audio.decode import DecodedMix
from mismo_grpc.completion import run_to_completion, wait_ended
from mismo_grpc.errors import InternalError
from mismo_grpc.jobs.events import EventKind
from mismo_grpc.jobs.job import Job, JobFailure, JobState, Stage, StageState, StageStatus
from mismo_grpc.jobs.repository import ActiveJob, JobRepository
from mismo_grpc.storage.run_files import RunFiles

T = TypeVar("T")


class NeedFailedError(Exception):
    """A stage cannot run because a stage that it needs has no result; `failure` is the reason."""

    def __init__(self, failure: JobFailure | None) -> None:
        super().__init__("a stage that this one needs has failed")
        self.failure = failure


@dataclass(eq=False)
class RunMemory:
    """Values that the stages of a run pass to each other in memory; lost at a restart."""

    mix: DecodedMix | None = None
    separated: bool = False
    """Whether this process finished the stems, so that the peaks in the work files are complete."""


class StageContext:
    """One running stage of one job. On the event loop only."""

    def __init__(
        self,
        stage: Stage,
        active: ActiveJob,
        files: RunFiles,
        repository: JobRepository,
        memory: RunMemory,
        needs: Mapping[Stage, asyncio.Future[None]],
        after: Mapping[Stage, asyncio.Future[None]] = MappingProxyType({}),
        *,
        going_on: bool = False,
        on_idle: Callable[[], object] = lambda: None,
    ) -> None:
        """`needs` has a future for each needed stage; one without a result fails with NeedFailedError.

        `after` has futures of the same kind for stages whose results are used if there are any.

        `going_on` says that an earlier process began this attempt, so that it is not counted again. `on_idle` is called
        when the stage has used all `results` that there are, and waits for more.
        """
        self.stage = stage
        self.active = active
        self.files = files
        self.memory = memory
        self._repository = repository
        self._needs = needs
        self._after = after
        self._going_on = going_on
        self._on_idle = on_idle
        self._coming: dict[Stage, asyncio.Future[None]] = {}
        self._uses_result = False

    @property
    def job(self) -> Job:
        """The current state of the job."""
        return self.active.job

    @property
    def _status(self) -> StageStatus:
        return self.active.job.stage(self.stage)

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self._repository.now()

    @property
    def mix(self) -> DecodedMix:
        """The decoded track, for stages that need it; call `needs` first."""
        if self.memory.mix is None:
            raise InternalError(
                f"stage {self.stage.name} uses the decoded track, but does not need STAGE_DECODE"
            )
        return self.memory.mix

    async def needs(self) -> None:
        """Waits until all needed stages have succeeded and the stages before it have ended.

        Raises NeedFailedError as soon as a needed stage has failed.
        """
        if self._needs:
            await asyncio.gather(*(asyncio.shield(end) for end in self._needs.values()))
        if self._after:
            await asyncio.wait(self._after.values())

    async def results(self) -> AsyncGenerator[Stage]:
        """The stages before this one that have succeeded, each as soon as it has, until all have ended."""
        coming = self._coming = dict(self._after)
        try:
            while coming:
                if not self.has_results:
                    self._on_idle()
                await asyncio.wait(coming.values(), return_when=asyncio.FIRST_COMPLETED)
                for stage in [stage for stage, end in coming.items() if end.done()]:
                    if coming.pop(stage).exception() is None:
                        self._uses_result = True
                        yield stage
                        self._uses_result = False
        finally:
            self._coming, self._uses_result = {}, False

    @property
    def has_results(self) -> bool:
        """Whether the stage uses one of `results` now, or has not used one that there is."""
        return self._uses_result or any(end.done() for end in self._coming.values())

    async def beside_needs(self, preparation: Coroutine[Any, Any, T]) -> T:
        """Runs a preparation while the needed stages run; returns its result once they have succeeded.

        Raises the error of the preparation, or NeedFailedError, whichever comes first.
        """
        prepared, needs = asyncio.ensure_future(preparation), asyncio.ensure_future(self.needs())
        both = (prepared, needs)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_EXCEPTION)
            for task in both:
                if task.done():
                    task.result()
            return prepared.result()
        finally:
            for task in both:
                task.cancel()
            await run_to_completion(wait_ended(both))

    async def begin(self, change: Callable[[Job], Job] = lambda job: job) -> None:
        """Records that the stage's own work begins, together with a `change` of the job.

        Raises DiskFullError or StoreError.
        """
        status, now = self._status, self._repository.now()
        if self._going_on:
            self._going_on = False
            known = change(self.job)
            if known != self.job and not status.state.ended:
                await self._record(change, status)
            return
        begun = replace(
            status,
            state=StageState.RUNNING,
            started_at=status.started_at if status.started_at is not None else now,
            attempts=status.attempts + 1,
            error=None,
            next_attempt_at=None,
        )
        await self._record(change, begun)

    async def _record(self, change: Callable[[Job], Job], status: StageStatus) -> None:
        def begun(job: Job) -> Job:
            started = job.started_at if job.started_at is not None else self._repository.now()
            return replace(change(job), state=JobState.RUNNING, started_at=started).with_stage(status)

        await self._repository.record(self.active, begun, EventKind.STAGE, status)

    async def segments_ready(self, ranges: tuple[tuple[int, int], ...], change: Callable[[Job], Job]) -> None:
        """Records that frame ranges of the stems became final. Raises DiskFullError or StoreError."""
        await self._repository.record(self.active, change, EventKind.SEGMENT_READY, ranges)

    async def progressed(self, change: Callable[[Job], Job]) -> None:
        """Records progress of the job that is no event. Raises DiskFullError or StoreError."""
        await self._repository.record_progress(self.active, change)

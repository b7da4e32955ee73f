"""Compares the tracks of two analysed jobs."""

from __future__ import annotations

import asyncio

from mismo_grpc.analysis.comparison import AnalysedTrack, compare_tracks
from mismo_grpc.analysis.results import BasicFeaturesResult, TrackComparison, TransitionResult
from mismo_grpc.errors import InvalidFieldError, JobNotFoundError, JobNotReadyError
from mismo_grpc.jobs.job import Job, Stage
from mismo_grpc.jobs.repository import JobRepository

DEFAULT_CUE_PAIRS = 5
MAX_CUE_PAIRS = 100


class TrackComparisons:
    """Answers how well one analysed track follows another."""

    def __init__(self, repository: JobRepository) -> None:
        self._repository = repository

    async def compare(
        self, outgoing_job_id: str, incoming_job_id: str, max_cue_pairs: int = 0
    ) -> TrackComparison:
        """Compares two jobs' tracks; `max_cue_pairs` 0 is DEFAULT_CUE_PAIRS.

        Raises InvalidFieldError, JobNotFoundError, and JobNotReadyError if a job lacks the result of a stage.
        """
        if not 0 <= max_cue_pairs <= MAX_CUE_PAIRS:
            raise InvalidFieldError(f"max_cue_pairs must be 0 to {MAX_CUE_PAIRS}", field="max_cue_pairs")
        outgoing = await self._analysed("outgoing_job_id", outgoing_job_id)
        incoming = await self._analysed("incoming_job_id", incoming_job_id)
        return await asyncio.to_thread(compare_tracks, outgoing, incoming, max_cue_pairs or DEFAULT_CUE_PAIRS)

    async def _analysed(self, field: str, job_id: str) -> AnalysedTrack:
        if not job_id:
            raise InvalidFieldError(f"{field} must not be empty", field=field)
        job = await self._repository.find(job_id)
        if job is None:
            raise JobNotFoundError(f"{field}: there is no job {job_id[:128]!r}", field=field)
        features, transition = _result(job, Stage.BASIC_FEATURES), _result(job, Stage.TRANSITION)
        if not isinstance(features, BasicFeaturesResult) or not isinstance(transition, TransitionResult):
            raise JobNotReadyError(
                f"{field}: job {job_id} has no result of STAGE_TRANSITION; submit its track with this stage, "
                "or wait until the stage has ended",
                field=field,
            )
        return AnalysedTrack(features, transition)


def _result(job: Job, stage: Stage) -> object:
    return job.stage(stage).result if job.has(stage) else None

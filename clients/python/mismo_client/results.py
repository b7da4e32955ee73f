"""Results of the analyses of a job, by the name of their stage."""

from __future__ import annotations

from typing import Literal, TypeAlias, overload

from mismo.analysis.v1.job_pb2 import Job
from mismo.analysis.v1.results_pb2 import (
    BasicFeaturesResult,
    CharacteristicsResult,
    ChordsResult,
    GenreResult,
    SectionsResult,
    TransitionResult,
)
from mismo.analysis.v1.stage_pb2 import LoudnessResult, Stage
from mismo_client.stages import stage_of

StageResult: TypeAlias = (
    LoudnessResult
    | BasicFeaturesResult
    | CharacteristicsResult
    | GenreResult
    | SectionsResult
    | ChordsResult
    | TransitionResult
)


@overload
def stage_result(job: Job, stage: Literal["loudness"]) -> LoudnessResult | None: ...
@overload
def stage_result(job: Job, stage: Literal["basic_features"]) -> BasicFeaturesResult | None: ...
@overload
def stage_result(job: Job, stage: Literal["characteristics"]) -> CharacteristicsResult | None: ...
@overload
def stage_result(job: Job, stage: Literal["genre"]) -> GenreResult | None: ...
@overload
def stage_result(job: Job, stage: Literal["sections"]) -> SectionsResult | None: ...
@overload
def stage_result(job: Job, stage: Literal["chords"]) -> ChordsResult | None: ...
@overload
def stage_result(job: Job, stage: Literal["transition"]) -> TransitionResult | None: ...
@overload
def stage_result(job: Job, stage: Stage | str) -> StageResult | None: ...
def stage_result(job: Job, stage: Stage | str) -> StageResult | None:
    """The result of a stage; None if the stage has not succeeded, is not part of the job or has no result.

    Raises ValueError for the name of no stage.
    """
    wanted = stage_of(stage)
    for status in job.stages:
        if status.stage == wanted:
            kind = status.WhichOneof("result")
            return getattr(status, kind) if kind is not None else None
    return None

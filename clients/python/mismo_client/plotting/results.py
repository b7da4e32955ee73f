"""What the picture shows of a job."""

from __future__ import annotations

from dataclasses import dataclass

from mismo.analysis.v1.job_pb2 import Job
from mismo.analysis.v1.results_pb2 import (
    BasicFeaturesResult,
    CharacteristicsResult,
    ChordsResult,
    GenreResult,
    SectionsResult,
    TransitionResult,
)
from mismo_client.results import stage_result


@dataclass(frozen=True)
class TrackResults:
    """The results of a track of `seconds`; None where a stage has none."""

    seconds: float
    features: BasicFeaturesResult | None = None
    characteristics: CharacteristicsResult | None = None
    genre: GenreResult | None = None
    sections: SectionsResult | None = None
    chords: ChordsResult | None = None
    transition: TransitionResult | None = None

    @staticmethod
    def of(job: Job, seconds: float) -> TrackResults:
        """The results of a job whose track has this length."""
        return TrackResults(
            seconds,
            stage_result(job, "basic_features"),
            stage_result(job, "characteristics"),
            stage_result(job, "genre"),
            stage_result(job, "sections"),
            stage_result(job, "chords"),
            stage_result(job, "transition"),
        )

"""The kinds of work on a track, and the types of their results."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

from mismo_grpc.analysis.loudness import LoudnessResult
from mismo_grpc.analysis.results import (
    BasicFeaturesResult,
    CharacteristicsResult,
    ChordsResult,
    GenreResult,
    SectionsResult,
    TransitionResult,
)
from mismo_grpc.jobs.stored_enum import StoredByName


class Stage(StoredByName, IntEnum):
    """One kind of work on a track; numbered as in the contract."""

    DECODE = 1
    STEMS = 2
    WAVEFORMS = 3
    LOUDNESS = 4
    BASIC_FEATURES = 5
    CHARACTERISTICS = 6
    GENRE = 7
    SECTIONS = 8
    CHORDS = 9
    TRANSITION = 10
    GENERATION = 11
    ANNOTATION = 12
    BLOB_UPLOAD = 13
    EXPORT = 14


STEM_STAGES = (Stage.STEMS, Stage.GENERATION)
"""The stages that make stem files; a job has at most one of them."""

StageData = (
    LoudnessResult
    | BasicFeaturesResult
    | CharacteristicsResult
    | GenreResult
    | SectionsResult
    | ChordsResult
    | TransitionResult
)
"""The result of a stage whose result is not a file; a union of the types of all such stages."""

RESULT_TYPES: Mapping[Stage, type[StageData]] = MappingProxyType(
    {
        Stage.LOUDNESS: LoudnessResult,
        Stage.BASIC_FEATURES: BasicFeaturesResult,
        Stage.CHARACTERISTICS: CharacteristicsResult,
        Stage.GENRE: GenreResult,
        Stage.SECTIONS: SectionsResult,
        Stage.CHORDS: ChordsResult,
        Stage.TRANSITION: TransitionResult,
    }
)
"""The type of each such stage's result."""

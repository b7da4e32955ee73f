"""What a job gives to an analysis that runs in a worker process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mismo_grpc.analysis.mix import MixFile
from mismo_grpc.analysis.results import BasicFeaturesResult, SectionsResult


@dataclass(frozen=True)
class AnalysisInputs:
    """The files and earlier results that analyses use; each analysis takes what it needs.

    `stems` are the WAV files of the separated stems by name, empty if the job has none; they may have another sample
    rate than the mix. `model_folders` are searched for the files of models.
    """

    mix: MixFile
    stems: Mapping[str, Path] = field(default_factory=dict[str, Path])
    basic_features: BasicFeaturesResult | None = None
    sections: SectionsResult | None = None
    model_folders: tuple[Path, ...] = ()

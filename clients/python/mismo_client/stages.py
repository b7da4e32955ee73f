"""Stages by the names that people write: "stems", "loudness"."""

from __future__ import annotations

from typing import cast

from mismo.analysis.v1 import stage_pb2
from mismo.analysis.v1.stage_pb2 import Stage, StageState

PREFIX = "STAGE_"
STAGE_NAMES = {
    name.removeprefix(PREFIX).lower(): cast("Stage", number)
    for name, number in stage_pb2.Stage.items()
    if name != "STAGE_UNSPECIFIED"
}


def stage_of(stage: Stage | str) -> Stage:
    """The stage of a name such as "loudness"; raises ValueError with the known names."""
    if not isinstance(stage, str):
        return stage
    try:
        return STAGE_NAMES[stage.lower()]
    except KeyError:
        raise ValueError(f"{stage!r} is no stage; the stages are {', '.join(STAGE_NAMES)}") from None


def stage_name(stage: Stage) -> str:
    """stems, loudness, ...; a stage newer than this client by its number."""
    try:
        return stage_pb2.Stage.Name(stage).removeprefix(PREFIX).lower()
    except ValueError:
        return f"stage {stage}"


def stage_state_name(state: StageState) -> str:
    """pending, running, succeeded, ..."""
    return stage_pb2.StageState.Name(state).removeprefix("STAGE_STATE_").lower()

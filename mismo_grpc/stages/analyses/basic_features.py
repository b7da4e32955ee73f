"""Finds tempo, beats, bars, key, tuning and loudness of a track."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from mismo_grpc.analysis.pool import AnalysisPool
from mismo_grpc.analysis.rhythm.beat_this_tracker import find_checkpoint, is_installed
from mismo_grpc.analysis.worker import NamedAnalysis
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Stage
from mismo_grpc.stages.analysis import AnalysisStage


def basic_features_stage(
    pool: AnalysisPool, *, bulk: InThread = asyncio.to_thread, model_folders: Sequence[Path]
) -> AnalysisStage:
    """The limit allows for beat_this on one slow core, which takes about half of the length of the track."""
    return AnalysisStage(
        Stage.BASIC_FEATURES,
        pool,
        NamedAnalysis("basic_features"),
        fixed_seconds=120.0,
        times_length=2.0,
        bulk=bulk,
        model_folders=model_folders,
        find_models=_checkpoint,
    )


def _checkpoint(folders: Sequence[Path]) -> str:
    found = find_checkpoint(tuple(folders)) if is_installed() else None
    return "" if found is None else found.name

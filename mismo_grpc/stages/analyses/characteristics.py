"""Measures the character of a track: danceability, energy, brightness, acousticness, vocals, mood."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from mismo_grpc.analysis.essentia_models.moods import installed_moods
from mismo_grpc.analysis.pool import AnalysisPool
from mismo_grpc.analysis.worker import NamedAnalysis
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Stage
from mismo_grpc.stages.analysis import AnalysisStage


def characteristics_stage(
    pool: AnalysisPool, *, bulk: InThread = asyncio.to_thread, model_folders: Sequence[Path]
) -> AnalysisStage:
    """The limit allows for the mood models on one slow core."""
    return AnalysisStage(
        Stage.CHARACTERISTICS,
        pool,
        NamedAnalysis("characteristics"),
        fixed_seconds=120.0,
        times_length=1.0,
        bulk=bulk,
        model_folders=model_folders,
        find_models=_moods,
    )


def _moods(folders: Sequence[Path]) -> str:
    return " ".join(installed_moods(folders))

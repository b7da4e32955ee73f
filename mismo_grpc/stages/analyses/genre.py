"""Finds genre and style of a track."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from mismo_grpc.analysis.pool import AnalysisPool
from mismo_grpc.analysis.worker import NamedAnalysis
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Stage
from mismo_grpc.stages.analysis import AnalysisStage


def genre_stage(
    pool: AnalysisPool, *, bulk: InThread = asyncio.to_thread, model_folders: Sequence[Path] = ()
) -> AnalysisStage:
    """The limit allows for the model on one slow core."""
    return AnalysisStage(
        Stage.GENRE,
        pool,
        NamedAnalysis("genre"),
        fixed_seconds=120.0,
        times_length=1.0,
        bulk=bulk,
        model_folders=model_folders,
    )

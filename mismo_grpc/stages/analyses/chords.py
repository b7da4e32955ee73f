"""Finds the chords of a track, on its stems without the drums if there are any."""

from __future__ import annotations

import asyncio

from mismo_grpc.analysis.pool import AnalysisPool
from mismo_grpc.analysis.worker import NamedAnalysis
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Stage
from mismo_grpc.stages.analysis import AnalysisStage


def chords_stage(pool: AnalysisPool, *, bulk: InThread = asyncio.to_thread) -> AnalysisStage:
    """A song takes a few seconds; the limit is for a loaded machine."""
    return AnalysisStage(
        Stage.CHORDS,
        pool,
        NamedAnalysis("chords"),
        fixed_seconds=60.0,
        times_length=1.0,
        bulk=bulk,
    )

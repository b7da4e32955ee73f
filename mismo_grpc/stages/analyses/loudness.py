"""Measures the loudness of a track according to ITU-R BS.1770-5 and EBU R 128."""

from __future__ import annotations

import asyncio

from mismo_grpc.analysis.pool import AnalysisPool
from mismo_grpc.analysis.worker import NamedAnalysis
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Stage
from mismo_grpc.stages.analysis import AnalysisStage


def loudness_stage(pool: AnalysisPool, *, bulk: InThread = asyncio.to_thread) -> AnalysisStage:
    """A song takes about a quarter of a second; the limit allows a hundred times as much on a loaded machine."""
    return AnalysisStage(
        Stage.LOUDNESS,
        pool,
        NamedAnalysis("loudness"),
        fixed_seconds=30.0,
        times_length=0.25,
        bulk=bulk,
    )

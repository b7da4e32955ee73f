"""The loudness of a track after ITU-R BS.1770-5 and EBU R 128."""

from __future__ import annotations

from mismo_grpc.analysis.loudness import analyse_loudness
from mismo_grpc.analysis.pool import AnalysisPool
from mismo_grpc.jobs.job import Stage
from mismo_grpc.stages.analysis import AnalysisStage


def loudness_stage(pool: AnalysisPool) -> AnalysisStage:
    """About a quarter of a second for a song; the limit leaves a hundred times that to a machine with other work."""
    return AnalysisStage(Stage.LOUDNESS, pool, analyse_loudness, fixed_seconds=30.0, times_length=0.25)

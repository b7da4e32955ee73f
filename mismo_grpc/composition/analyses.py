"""Builds the worker processes of the analyses and the stages that use them."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

import structlog

from mismo_grpc.analysis.pool import AnalysisPool
from mismo_grpc.analysis.rhythm.beat_this_tracker import find_checkpoint, is_installed
from mismo_grpc.analysis.rhythm.checkpoint_download import download_checkpoint
from mismo_grpc.analysis.worker import NamedAnalysis
from mismo_grpc.executors import Executors
from mismo_grpc.jobs.stage_data import RESULT_TYPES
from mismo_grpc.settings import Settings
from mismo_grpc.stages.analyses.basic_features import basic_features_stage
from mismo_grpc.stages.analyses.characteristics import characteristics_stage
from mismo_grpc.stages.analyses.chords import chords_stage
from mismo_grpc.stages.analyses.genre import genre_stage
from mismo_grpc.stages.analyses.loudness import loudness_stage
from mismo_grpc.stages.analyses.sections import sections_stage
from mismo_grpc.stages.analyses.transition import transition_stage
from mismo_grpc.stages.analysis import AnalysisStage

log = structlog.get_logger(__name__)

CPU_CORES = len(os.sched_getaffinity(0))
MAX_WORKERS = 8
"""The most workers by default, because each may keep some hundred MiB of models."""
MODULES = tuple(NamedAnalysis(stage.name.lower()).module for stage in RESULT_TYPES)
"""What a worker imports when it starts, so that its first task need not wait for it."""


def build_analyses(settings: Settings) -> AnalysisPool:
    """The pool; it starts no process yet."""
    workers = settings.analysis_workers or max(1, min(MAX_WORKERS, CPU_CORES - 1))
    # All stages of all running jobs may wait at once.
    return AnalysisPool(workers, modules=MODULES, max_queued=len(MODULES) * settings.max_concurrent_jobs)


def start_analyses(pool: AnalysisPool, settings: Settings) -> None:
    """Starts a worker, and the download of a missing checkpoint of beat_this; both in the background."""
    if settings.keep_analysis_warm:
        pool.start(1)
    if settings.hub and is_installed() and find_checkpoint(tuple(settings.model_dirs)) is None:
        threading.Thread(target=_download, name="hub", daemon=True).start()


def _download() -> None:
    if download_checkpoint(lambda text: log.info("beat_this", message=text)) is not None:
        log.info("the checkpoint of beat_this was downloaded; new jobs use it")


def analysis_stages(pool: AnalysisPool, settings: Settings, executors: Executors) -> Sequence[AnalysisStage]:
    """All stages that analyse in the pool."""
    bulk, folders = executors.bulk, settings.model_dirs
    return (
        loudness_stage(pool, bulk=bulk),
        basic_features_stage(pool, bulk=bulk, model_folders=folders),
        characteristics_stage(pool, bulk=bulk, model_folders=folders),
        genre_stage(pool, bulk=bulk, model_folders=folders),
        sections_stage(pool, bulk=bulk),
        chords_stage(pool, bulk=bulk),
        transition_stage(pool, bulk=bulk),
    )

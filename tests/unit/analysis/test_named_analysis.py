"""Analyses by the names of their modules: each exists, and the server does not import it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.loudness import measure_loudness
from mismo_grpc.analysis.mix import MixFile
from mismo_grpc.analysis.worker import NamedAnalysis, name_of
from mismo_grpc.composition.analyses import MODULES
from mismo_grpc.jobs.stage_data import RESULT_TYPES


@pytest.mark.parametrize("stage", RESULT_TYPES)
def test_every_stage_with_a_result_has_an_analysis_of_its_name(stage) -> None:
    analysis = NamedAnalysis(stage.name.lower())
    assert callable(getattr(import_module(analysis.module), name_of(analysis)))
    assert analysis.module in MODULES


def test_a_worker_gets_the_name_and_calls_the_task(tmp_path: Path) -> None:
    audio = np.sin(np.arange(44_100, dtype=np.float32))[:, np.newaxis]
    mix = MixFile(tmp_path / "mix.f32", len(audio), 1, 44_100)
    mix.path.write_bytes(audio.tobytes())
    analysis = pickle.loads(pickle.dumps(NamedAnalysis("loudness")))
    assert name_of(analysis) == "analyse_loudness"
    assert analysis(AnalysisInputs(mix)) == measure_loudness(audio, 44_100)


def test_the_server_starts_without_importing_analyses_that_it_only_names() -> None:
    program = "import sys, mismo_grpc.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # The loudness is imported for the type of its result.
    assert set(MODULES) & set(done.stdout.split()) == {"mismo_grpc.analysis.loudness"}

"""Runs models with essentia's TensorFlow predictors; the only module that uses their interface.

A predictor stays in memory, so that a worker loads each model once. essentia is AGPL-3.0 and an optional package.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import numpy as np

from mismo_grpc.analysis.arrays import Features, Samples
from mismo_grpc.analysis.essentia_models.files import SOURCE, Head, ModelFile
from mismo_grpc.errors import ModelUnavailableError

Predictor = Callable[[Features], Features]

PACKAGE = "essentia"
NOT_INSTALLED = (
    "essentia is not installed: pip install 'mismo-grpc[analysis]' (essentia is under the AGPL 3.0)"
)
EMBEDDING_OUTPUT = "PartitionedCall:1"
"""The output of discogs-effnet-bs64-1 that holds the embeddings; the other one holds styles."""
MOST_PREDICTORS = 16


def essentia_installed() -> bool:
    """Whether essentia can be imported, without importing it; that takes seconds."""
    return importlib.util.find_spec(PACKAGE) is not None


def embeddings(model: ModelFile, audio: Samples) -> Features:
    """The embeddings of mono audio at 16 kHz, [patches, values]; no rows if it is shorter than a patch.

    Raises ModelUnavailableError if essentia is not installed or the file is not a model of that interface.
    """
    return _run(_embedding(model), audio, model.path.name)


def predictions(head: Head, rows: Features) -> Features:
    """The output of a classifier for each row of embeddings, [rows, classes].

    Raises ModelUnavailableError as `embeddings` does, and if it has not as many outputs as its description has classes.
    """
    if len(rows) == 0:
        return np.zeros((0, len(head.classes)), np.float32)
    values = _run(_classifier(head), rows, head.graph.path.name)
    if values.shape != (len(rows), len(head.classes)):
        raise ModelUnavailableError(
            f"the model file {head.graph.path.name} does not fit its description: its output is {values.shape[1:]}, "
            f"for {len(head.classes)} classes; get both again from {SOURCE}"
        )
    return values


def _run(predictor: Predictor, values: Features, name: str) -> Features:
    try:
        result = np.asarray(predictor(values), np.float32)
    except (RuntimeError, TypeError, ValueError) as error:
        raise _damaged(name) from error
    # Without a whole patch essentia returns an empty list.
    return result if result.ndim == 2 else np.zeros((0, 0), np.float32)


@lru_cache(maxsize=1)
def _standard() -> Any:
    """essentia's algorithms; its messages are switched off."""
    try:
        essentia = cast(Any, importlib.import_module(PACKAGE))
        essentia.log.infoActive = False
        essentia.log.warningActive = False
        return importlib.import_module(f"{PACKAGE}.standard")
    except ImportError as error:
        raise ModelUnavailableError(NOT_INSTALLED) from error


@lru_cache(maxsize=2)
def _embedding(model: ModelFile) -> Predictor:
    return _load("TensorflowPredictEffnetDiscogs", model, output=EMBEDDING_OUTPUT)


@lru_cache(maxsize=MOST_PREDICTORS)
def _classifier(head: Head) -> Predictor:
    return _load("TensorflowPredict2D", head.graph, input=head.input, output=head.output)


def _load(algorithm: str, model: ModelFile, **nodes: str) -> Predictor:
    make = getattr(_standard(), algorithm, None)
    if make is None:
        raise ModelUnavailableError(
            "this build of essentia has no TensorFlow: pip uninstall essentia, then pip install 'mismo-grpc[analysis]'"
        )
    try:
        return cast(Predictor, make(graphFilename=str(model.path), **nodes))
    except RuntimeError as error:
        raise _damaged(model.path.name) from error


def _damaged(name: str) -> ModelUnavailableError:
    return ModelUnavailableError(f"the model file {name} cannot be used; get it again from {SOURCE}")

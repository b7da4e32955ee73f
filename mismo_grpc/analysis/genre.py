"""Classifies the genre of a track: 400 styles of Discogs, by essentia's discogs-effnet models.

Alonso-Jiménez, Serra and Bogdanov, "Music representation learning based on editorial metadata from Discogs" (2022). The
weights are under CC BY-NC-SA 4.0: not for commercial use.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mismo_grpc.analysis.arrays import Audio
from mismo_grpc.analysis.essentia_models.excerpts import excerpts
from mismo_grpc.analysis.essentia_models.files import (
    EMBEDDING,
    LICENCE,
    SOURCE,
    Head,
    ModelFile,
    find_graph,
    find_head,
    missing_files,
)
from mismo_grpc.analysis.essentia_models.predictors import (
    NOT_INSTALLED,
    embeddings,
    essentia_installed,
    predictions,
)
from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.results import GenreResult, ScoredLabel
from mismo_grpc.errors import ModelUnavailableError

MODEL = "genre_discogs400-discogs-effnet-1"
FILES = (f"{EMBEDDING}.pb", f"{MODEL}.pb", f"{MODEL}.json")
MOST_LABELS = 10


def analyse_genre(inputs: AnalysisInputs) -> GenreResult:
    """Classifies the mix; runs as a task of the pool.

    Raises as `MixFile.samples` and `classify_genre` do.
    """
    # A missing model is reported before the audio is looked at.
    find_models(inputs.model_folders)
    mix = inputs.mix
    return classify_genre(mix.samples(), mix.sample_rate, model_folders=inputs.model_folders)


def classify_genre(audio: Audio, sample_rate: int, *, model_folders: Sequence[Path]) -> GenreResult:
    """The ten most likely styles of audio [frames, channels] or [frames], with the mean of their scores.

    A score is the activation of a style, 0 to 1; a track may have several styles, so the scores do not add up to 1. Of
    a track of more than 10 minutes, excerpts of 10 minutes in total are classified. The result has no genres if the
    track is shorter than 2 s or silent.

    Raises ModelUnavailableError if essentia or a file of the models is missing or damaged, with how to install it;
    ValueError as `check_audio` does.
    """
    embedding, head = find_models(model_folders)
    total = np.zeros(len(head.classes))
    patches = 0
    for excerpt in excerpts(audio, sample_rate):
        values = predictions(head, embeddings(embedding, excerpt))
        total += values.sum(axis=0, dtype=np.float64)
        patches += len(values)
    if patches == 0:
        return GenreResult((), MODEL)
    means = np.clip(np.nan_to_num(total / patches), 0.0, 1.0)
    scored = sorted(zip(means.tolist(), head.classes, strict=True), key=lambda item: -item[0])
    return GenreResult(
        tuple(ScoredLabel(label, round(score, 4)) for score, label in scored[:MOST_LABELS]), MODEL
    )


def find_models(folders: Sequence[Path]) -> tuple[ModelFile, Head]:
    """The files of the embedding and of the classifier.

    Raises ModelUnavailableError that names what is missing and how to install it.
    """
    missing = missing_files(FILES, folders)
    installed = essentia_installed()
    if missing or not installed:
        steps: list[str] = []
        if not installed:
            steps.append(NOT_INSTALLED)
        if missing:
            steps.append(
                f"missing model files: {', '.join(missing)}; get them from {SOURCE} (licence: {LICENCE}) and put "
                "them into a folder of MISMO_MODEL_DIRS"
            )
        raise ModelUnavailableError(f"genre needs essentia and its models. {'. '.join(steps)}")
    embedding, head = find_graph(EMBEDDING, folders), find_head(MODEL, folders)
    if embedding is None or head is None:
        raise ModelUnavailableError("the model files of genre were removed while they were read")
    return embedding, head

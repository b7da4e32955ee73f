"""Mood by essentia's classifiers on discogs-effnet embeddings (Laurier et al. 2009; Bogdanov et al. 2019).

The weights are under CC BY-NC-SA 4.0: not for commercial use.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mismo_grpc.analysis.arrays import Audio, Features
from mismo_grpc.analysis.essentia_models.excerpts import excerpts
from mismo_grpc.analysis.essentia_models.files import EMBEDDING, Head, find_graph, find_head
from mismo_grpc.analysis.essentia_models.predictors import embeddings, essentia_installed, predictions
from mismo_grpc.analysis.results import ScoredLabel
from mismo_grpc.errors import ModelUnavailableError

MOODS = ("happy", "sad", "aggressive", "relaxed", "party", "electronic", "acoustic")
"""Each has a model of its own with two classes: the mood, and its absence."""


def installed_moods(model_folders: Sequence[Path]) -> tuple[str, ...]:
    """The moods that `classify_moods` scores with the models of these folders."""
    if find_graph(EMBEDDING, model_folders) is None or not essentia_installed():
        return ()
    return tuple(_heads(model_folders))


def classify_moods(
    audio: Audio, sample_rate: int, *, model_folders: Sequence[Path]
) -> tuple[ScoredLabel, ...]:
    """The probability of each mood whose model is installed, the most likely first; the mean over the track.

    Empty if essentia, the embedding or all classifiers are missing or damaged, and if the track is silent or shorter
    than 2 s. A damaged model leaves out its mood only.
    """
    heads = _heads(model_folders)
    embedding = find_graph(EMBEDDING, model_folders)
    if not heads or embedding is None or not essentia_installed():
        return ()
    sums = dict.fromkeys(heads, 0.0)
    patches = 0
    try:
        for excerpt in excerpts(audio, sample_rate):
            rows = embeddings(embedding, excerpt)
            for mood, head in heads.items():
                if mood in sums:
                    _add(sums, mood, head, rows)
            patches += len(rows)
    except ModelUnavailableError:
        return ()
    if patches == 0:
        return ()
    scores = {mood: float(np.clip(total / patches, 0.0, 1.0)) for mood, total in sums.items()}
    return tuple(
        ScoredLabel(mood, round(score, 4))
        for mood, score in sorted(scores.items(), key=lambda item: -item[1])
    )


def _add(sums: dict[str, float], mood: str, head: Head, rows: Features) -> None:
    """Adds the probabilities of a mood; removes the mood if its model is damaged."""
    try:
        values = predictions(head, rows)[:, head.classes.index(mood)]
        sums[mood] += float(np.nan_to_num(values).sum(dtype=np.float64))
    except ModelUnavailableError:
        del sums[mood]


def _heads(folders: Sequence[Path]) -> dict[str, Head]:
    """The classifiers that are there, by mood."""
    heads: dict[str, Head] = {}
    for mood in MOODS:
        try:
            head = find_head(f"mood_{mood}-discogs-effnet-1", folders)
        except ModelUnavailableError:
            continue
        if head is not None and mood in head.classes:
            heads[mood] = head
    return heads

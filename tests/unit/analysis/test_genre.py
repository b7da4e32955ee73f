"""Genre: essentia's real predictors on small graphs with the interface of its models, and what is said without them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mismo_grpc.analysis.essentia_models import predictors
from mismo_grpc.analysis.essentia_models.excerpts import MODEL_RATE
from mismo_grpc.analysis.essentia_models.files import find_graph
from mismo_grpc.analysis.genre import FILES, MODEL, analyse_genre, classify_genre
from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.mix import MixFile
from mismo_grpc.analysis.results import GenreResult
from mismo_grpc.errors import ModelUnavailableError
from tests.support.packages import needs
from tests.unit.analysis.essentia_models.graphs import embedding_graph, head_graph
from tests.unit.analysis.signals import music, silence, tone

needs_essentia = needs(predictors.PACKAGE)

CLASSES = [f"Electronic---Style {index}" for index in range(12)]
OFFSETS = [-3.0 + 0.5 * (index * 5 % 12) for index in range(12)]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with an embedding, and a classifier that answers the sigmoid of OFFSETS."""
    embedding_graph(tmp_path / "discogs-effnet-bs64-1.pb")
    head_graph(tmp_path, MODEL, CLASSES, OFFSETS)
    return tmp_path


@needs_essentia
def test_the_ten_most_likely_styles_come_first(models: Path) -> None:
    result = classify_genre(music(6, 44_100), 44_100, model_folders=[models / "none", models])
    expected = sorted(
        ((1 / (1 + np.exp(-offset)), label) for offset, label in zip(OFFSETS, CLASSES, strict=True)),
        reverse=True,
    )
    assert [genre.label for genre in result.genres] == [label for _, label in expected[:10]]
    assert [genre.score for genre in result.genres] == pytest.approx(
        [score for score, _ in expected[:10]], abs=1e-4
    )
    assert result.model == MODEL
    assert all(type(genre.score) is float for genre in result.genres)


@needs_essentia
def test_runs_as_a_task_on_the_mix(models: Path, tmp_path: Path) -> None:
    audio = music(5, 44_100)
    (tmp_path / "mix.f32").write_bytes(audio.tobytes())
    mix = MixFile(tmp_path / "mix.f32", len(audio), 2, 44_100)
    result = analyse_genre(AnalysisInputs(mix, model_folders=(models,)))
    assert result == classify_genre(audio, 44_100, model_folders=[models])


@needs_essentia
def test_embeddings_are_those_of_the_graph(models: Path) -> None:
    # Every patch of a steady tone is the same; of another tone it is another one.
    graph = find_graph("discogs-effnet-bs64-1", [models])
    assert graph is not None
    low, high = (
        predictors.embeddings(graph, tone(-6, 6, MODEL_RATE, 1, hz)[:, 0].copy()) for hz in (200, 3000)
    )
    assert low.shape == (4, 8)  # 375 frames, patches of 128 frames every 62
    assert np.allclose(low[1], low[3], atol=0.05)
    assert not np.allclose(low[1], high[1], atol=0.5)


@needs_essentia
@pytest.mark.parametrize("seconds", [0.01, 0.5, 2.0])
def test_a_track_that_is_too_short_has_no_genres(models: Path, seconds: float) -> None:
    assert classify_genre(music(seconds, 48_000), 48_000, model_folders=[models]) == GenreResult((), MODEL)


@needs_essentia
def test_silence_has_no_genres(models: Path) -> None:
    assert classify_genre(silence(5), 48_000, model_folders=[models]).genres == ()
    nothing = np.full((5 * 48_000, 2), np.nan, np.float32)
    assert classify_genre(nothing, 48_000, model_folders=[models]).genres == ()


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_is_named_with_how_to_install_it(models: Path, missing: str) -> None:
    (models / missing).unlink()
    with pytest.raises(ModelUnavailableError) as caught:
        classify_genre(music(3, 44_100), 44_100, model_folders=[models])
    message = caught.value.message
    assert [name for name in FILES if name in message] == [missing]
    assert "MISMO_MODEL_DIRS" in message
    assert "CC BY-NC-SA 4.0" in message
    assert "not for commercial use" in message
    assert str(models) not in message


def test_without_essentia_the_error_says_how_to_install_it(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictors, "PACKAGE", "essentia_that_is_not_installed")
    with pytest.raises(ModelUnavailableError, match="pip install 'mismo-grpc\\[analysis\\]'"):
        classify_genre(music(3, 44_100), 44_100, model_folders=[models])


@needs_essentia
@pytest.mark.parametrize("damaged", FILES)
def test_a_damaged_file_is_named(models: Path, damaged: str) -> None:
    (models / damaged).write_bytes(b"\xff not a model")
    with pytest.raises(ModelUnavailableError, match=damaged):
        classify_genre(music(3, 44_100), 44_100, model_folders=[models])


@needs_essentia
def test_a_classifier_that_does_not_fit_its_description_is_named(models: Path) -> None:
    head_graph(models, MODEL, CLASSES[:11], OFFSETS)
    with pytest.raises(ModelUnavailableError, match="does not fit its description"):
        classify_genre(music(3, 44_100), 44_100, model_folders=[models])


@needs_essentia
def test_models_are_loaded_once_and_again_if_their_file_changes(models: Path) -> None:
    audio = music(3, 44_100)
    classify_genre(audio, 44_100, model_folders=[models])
    loaded = predictors._classifier.cache_info().misses
    classify_genre(audio, 44_100, model_folders=[models])
    assert predictors._classifier.cache_info().misses == loaded
    head_graph(models, MODEL, [*CLASSES, "Rock---New"], [*OFFSETS, 9.0])
    assert classify_genre(audio, 44_100, model_folders=[models]).genres[0].label == "Rock---New"

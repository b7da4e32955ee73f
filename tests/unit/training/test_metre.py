"""The fit of metre weights to hypotheses with known weights, and the module that it writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mismo_grpc.analysis.arrays import Values
from mismo_grpc.analysis.rhythm import metre_weights
from training.metre import (
    FEATURES,
    SCALARS,
    Likelihood,
    cross_validated,
    fit,
    mean_loss,
    module_text,
    shares_right,
)
from training.metre_songs import Example

TRUE_WEIGHTS = np.array([1.5, -2.0, 0.0, 0.8, -0.5, 1.0, 0.0, -1.2])
HYPOTHESES = 12


def drawn(count: int, seed: int = 1) -> list[Example]:
    """Examples whose right hypothesis is drawn with the probabilities that TRUE_WEIGHTS give; two of each song."""
    random = np.random.default_rng(seed)
    made: list[Example] = []
    for index in range(count):
        features = random.standard_normal((HYPOTHESES, len(TRUE_WEIGHTS)))
        likely = np.exp(features @ TRUE_WEIGHTS)
        right = np.zeros(HYPOTHESES, np.bool_)
        right[random.choice(HYPOTHESES, p=likely / likely.sum())] = True
        made.append(Example(f"song {index // 2}", "drawn", features, right, right))
    return made


def test_the_fit_finds_the_weights_that_the_hypotheses_were_drawn_with() -> None:
    found = fit(drawn(2000), penalty=1e-6)
    np.testing.assert_allclose(found, TRUE_WEIGHTS, atol=0.2)
    # The weights of greatest likelihood are at least as likely as the true ones.
    likelihood = Likelihood(drawn(2000))
    assert likelihood.loss(found) <= likelihood.loss(TRUE_WEIGHTS)


def test_the_gradient_is_that_of_the_loss_also_with_several_right_hypotheses() -> None:
    songs = drawn(30)
    for example in songs:
        example.bars[:2] = True
    likelihood = Likelihood(songs)
    at = 0.3 * TRUE_WEIGHTS
    gradient, _ = likelihood.derivatives(at)
    steps = 1e-5 * np.eye(len(at))
    numeric = [(likelihood.loss(at + step) - likelihood.loss(at - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(gradient, numeric, atol=1e-7)
    found = fit(songs, penalty=0.01)
    ridge = 0.01 * np.array([1.0] * (len(at) - SCALARS) + [0.01] * SCALARS)
    np.testing.assert_allclose(likelihood.derivatives(found)[0] + 2 * ridge * found, 0.0, atol=1e-3)


def test_a_penalty_makes_the_weights_of_scalars_less_small_than_the_others() -> None:
    songs = drawn(200)
    free, held = fit(songs, 1e-6), fit(songs, 0.3)
    others, scalars = (
        np.linalg.norm(held[part]) / np.linalg.norm(free[part])
        for part in (slice(None, -SCALARS), slice(-SCALARS, None))
    )
    assert others < 0.5
    assert 1.5 * others < scalars < 1.0


def test_a_certain_choice_does_not_overflow() -> None:
    features = np.array([[1e3, 0, 0, 0, 0], [-1e3, 0, 0, 0, 0.0]])
    right = np.array([True, False])
    example = Example("song", "sure", features, right, right)
    assert np.isfinite(fit([example], 0.001)).all()
    assert Likelihood([example]).loss(np.array([-1.0, 0, 0, 0, 0])) == pytest.approx(2000.0)


def test_examples_without_a_right_hypothesis_do_not_count() -> None:
    songs = drawn(40)
    nothing = np.zeros(HYPOTHESES, np.bool_)
    useless = [Example("x", "none", 9.0 * e.features, nothing, nothing) for e in songs]
    np.testing.assert_array_equal(fit([*songs, *useless], 0.01), fit(songs, 0.01))
    with pytest.raises(ValueError, match="right hypothesis"):
        fit(useless, 0.01)


def test_cross_validation_never_judges_a_song_by_weights_that_were_fitted_to_it() -> None:
    # Weights that were fitted to a song choose right by its feature, which no other song has.
    songs: list[Example] = []
    for index in range(16):
        features = np.zeros((2, 8 + SCALARS))
        features[1, index // 2] = 1.0
        right = np.array([False, True])
        songs.append(Example(f"song {index // 2}", "marked", features, right, right))
    judged = cross_validated(songs, 0.01, folds=4)
    assert sorted(id(example) for example, _ in judged) == sorted(map(id, songs))
    assert shares_right(judged) == (0.0, 0.0)
    known = fit(songs, 0.01)
    assert shares_right([(example, known) for example in songs]) == (1.0, 1.0)
    assert mean_loss(judged) == pytest.approx(np.log(2))


def run(text: str) -> Values:
    names: dict[str, Values] = {}
    exec(text, names)
    return names["WEIGHTS"]


def test_the_module_has_the_weights_rounded() -> None:
    weights = np.random.default_rng(2).normal(0.0, 2.0, FEATURES)
    np.testing.assert_allclose(run(module_text(weights)), weights, atol=0.005)
    assert "-0.00" not in module_text(np.full(FEATURES, -0.001))
    with pytest.raises(ValueError, match=str(FEATURES)):
        module_text(np.zeros(7))


def test_the_module_of_the_package_is_as_it_was_written() -> None:
    written = Path(metre_weights.__file__).read_text(encoding="utf-8")
    assert written == module_text(metre_weights.WEIGHTS)

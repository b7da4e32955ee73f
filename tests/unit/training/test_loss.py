"""The loss: the same from spectra as from samples, and what its settings weigh."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from demucs.hdemucs import HDemucs
from torch import Tensor

from mismo_grpc.separation.spatial import SpatialHDemucs
from training.config import LossConfig, build_model, read_config
from training.loss import error_loss, separation_loss
from training.spectral import MagnitudeHDemucs, relative_errors, spectral_target

PLAIN = LossConfig(power=1.0, stem_share=0.0, log_floor=0.0, spectral=0.0)
RATE = 44100
SHAPE = {
    "depth": 3,
    "channels": 4,
    "hybrid": False,
    "cac": False,
    "wiener_iters": -1,
    "end_iters": -1,
    "dconv_attn": 9,
    "dconv_lstm": 9,
}


@pytest.fixture(scope="module")
def model() -> MagnitudeHDemucs:
    torch.manual_seed(1)
    sources = ["drums", "bass", "other", "vocals"]
    return MagnitudeHDemucs(sources, **SHAPE)


@pytest.fixture(scope="module")
def stems() -> Tensor:
    """Two examples of 1 s; the second has a silent stem and a quiet one."""
    rng = np.random.default_rng(2)
    time = np.arange(RATE) / RATE
    tones = [np.sin(2 * np.pi * hertz * time + rng.uniform(0, 6)) for hertz in (60, 110, 700, 1500)]
    noise = 0.1 * rng.normal(size=(2, 4, 2, RATE))
    made = np.stack([0.2 * np.stack([np.stack([t, 0.5 * t]) for t in tones])] * 2) + noise
    made[1, 0] = 0
    made[1, 1] *= 0.05
    return torch.from_numpy(made.astype(np.float32))


def unfiltered(model: MagnitudeHDemucs) -> HDemucs:
    plain = HDemucs(model.sources, **SHAPE)
    plain.load_state_dict(model.state_dict())
    return plain


def test_errors_of_spectra_are_those_of_samples(model: MagnitudeHDemucs, stems: Tensor) -> None:
    mix = stems.sum(dim=1)
    with torch.no_grad():
        answer = unfiltered(model).eval()(mix)
        magnitudes = model.train()(mix)
    level = mix.square().mean(dim=(1, 2)).sqrt()[:, None]
    errors, levels = relative_errors(magnitudes, spectral_target(model, mix, stems))
    assert torch.allclose(errors, (answer - stems).square().mean(dim=(2, 3)).sqrt() / level, rtol=0.1)
    assert torch.allclose(levels, stems.square().mean(dim=(2, 3)).sqrt() / level, rtol=0.05, atol=1e-3)


def test_the_best_magnitude_leaves_the_rest_that_none_can_change(
    model: MagnitudeHDemucs, stems: Tensor
) -> None:
    target = spectral_target(model, stems.sum(dim=1), stems)
    best, _ = relative_errors(target.in_phase, target)
    worse, _ = relative_errors(1.1 * target.in_phase, target)
    sounding = torch.tensor([[True] * 4, [False, True, True, True]])
    assert (best[sounding] < worse[sounding]).all()
    assert (best < 0.5).all()


def test_silence_in_and_out_has_no_error_and_finite_gradients(model: MagnitudeHDemucs) -> None:
    quiet = torch.zeros(1, 4, 2, RATE)
    made = torch.zeros(1, 4, 2, 2048, 44, requires_grad=True)
    target = spectral_target(model, quiet.sum(dim=1), quiet)
    for config in (PLAIN, LossConfig(1.0, 0.25, 0.05, 0.0)):
        error_loss(*relative_errors(made[..., : target.in_phase.shape[-1]], target), config).backward()
    assert made.grad is not None
    assert torch.isfinite(made.grad).all()


def test_weights_go_to_the_kind_that_is_shipped_and_back(model: MagnitudeHDemucs, stems: Tensor) -> None:
    shipped = SpatialHDemucs(model.sources, **SHAPE)
    shipped.load_state_dict(model.state_dict())
    mix = stems.sum(dim=1)
    with torch.no_grad():
        assert torch.equal(shipped.eval()(mix), model.eval()(mix))


@pytest.mark.parametrize("shape", [{"cac": True}, {"hybrid": True}, {"end_iters": 0}])
def test_what_is_more_than_a_magnitude_answers_with_samples_in_training_too(shape: dict[str, object]) -> None:
    given = {
        "hybrid": False,
        "cac": False,
        "wiener_iters": 0,
        "end_iters": -1,
        "depth": 6,
        "channels": 4,
        **shape,
    }
    if shape.get("hybrid"):
        given |= {"cac": True, "end_iters": 0}
    model = MagnitudeHDemucs(["drums", "bass"], **given).train()
    assert model(torch.zeros(1, 2, RATE)).shape == (1, 2, 2, RATE)


def test_a_loss_that_needs_samples_gets_a_model_that_gives_them() -> None:
    config = read_config(Path(__file__).parents[3] / "training" / "mismo_lite.toml")
    assert isinstance(build_model(config), MagnitudeHDemucs)
    heard = replace(config, loss=replace(config.loss, spectral=0.3))
    assert not isinstance(build_model(heard), MagnitudeHDemucs)


def test_a_share_of_the_stem_lifts_quiet_stems_and_a_floor_ends_it() -> None:
    error, stem = torch.tensor([[0.1, 0.1]]), torch.tensor([[1.0, 0.1]])
    for share in (0.0, 0.25, 0.5):
        weights = [
            float(error_loss(error[:, [i]], stem[:, [i]], LossConfig(1.0, share, 0.0, 0.0))) / 0.1
            for i in (0, 1)
        ]
        assert weights == pytest.approx([1.0, 10.0**share])
    silent = error_loss(error[:, :1], torch.zeros(1, 1), LossConfig(1.0, 0.5, 0.0, 0.0))
    assert float(silent) == pytest.approx(0.1 * 10**0.5)


@pytest.mark.parametrize(("power", "best"), [(1.0, 0.0), (2.0, 0.3)])
def test_squares_answer_what_is_uncertain_with_its_mean(power: float, best: float) -> None:
    """A stem that sounds in three crops of ten, all alike in the mixture."""
    truth = torch.tensor([1.0] * 3 + [0.0] * 7)
    config = LossConfig(power, 0.0, 0.0, 0.0)
    answers = torch.linspace(0, 1, 101)
    losses = [
        float(error_loss((truth - answer).abs()[:, None], truth[:, None], config)) for answer in answers
    ]
    assert float(answers[int(np.argmin(losses))]) == pytest.approx(best)


def test_in_nepers_an_error_halved_is_worth_the_same_down_to_the_floor() -> None:
    config = LossConfig(power=1.0, stem_share=0.25, log_floor=0.01, spectral=0.0)

    def loss(error: float) -> float:
        return float(error_loss(torch.tensor([[error]]), torch.tensor([[1.0]]), config))

    assert loss(0.8) - loss(0.4) == pytest.approx(np.log(2), rel=0.05)
    assert loss(0.4) - loss(0.2) == pytest.approx(np.log(2), rel=0.05)
    assert loss(0.0002) - loss(0.0001) < 0.02


def test_the_distance_of_spectra_is_added_with_its_weight(stems: Tensor) -> None:
    turned = stems.flip(-1)
    plain, weighted = (
        float(separation_loss(turned, stems, LossConfig(1.0, 0.0, 0.0, weight))) for weight in (0.0, 0.5)
    )
    assert weighted > plain
    assert float(separation_loss(stems, stems, LossConfig(1.0, 0.0, 0.0, 0.5))) < 1e-3

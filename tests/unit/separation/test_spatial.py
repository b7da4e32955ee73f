"""The multichannel Wiener filter of the embedded model, against demucs' own and against what it is for."""

from __future__ import annotations

import pytest
import torch
from demucs.hdemucs import HDemucs
from demucs.wiener import wiener
from torch import Tensor

from mismo_grpc.separation.spatial import SpatialHDemucs, wiener_filtered

BINS, TIMES, STEMS = 40, 60, 3
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


def complex_noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def stems() -> Tensor:
    """Spectra of stems that come from the left, the middle and the right, (1, stems, 2, bins, times)."""
    places = torch.tensor([[1.0, 0.1], [0.7, 0.7], [0.2, 1.0]])
    return 20 * places[None, :, :, None, None] * complex_noise(1, STEMS, 1, BINS, TIMES)


def direct(mixture: Tensor, magnitudes: Tensor) -> Tensor:
    return (mixture / mixture.abs())[:, None] * magnitudes


def error(estimates: Tensor, stems: Tensor) -> float:
    return float((estimates - stems).abs().square().sum() / stems.abs().square().sum())


def test_it_is_one_step_of_demucs_own_filter(stems: Tensor) -> None:
    mixture = stems.sum(dim=1)
    magnitudes = stems.abs() * (0.5 + torch.rand(stems.shape, generator=torch.Generator().manual_seed(1)))
    made = wiener_filtered(mixture, magnitudes, exponent=2.0, noise=0.0)
    theirs = wiener(
        magnitudes[0].permute(3, 2, 1, 0), torch.view_as_real(mixture[0].permute(2, 1, 0)).contiguous(), 1
    )
    wanted = torch.view_as_complex(theirs.transpose(-1, -2).contiguous()).permute(3, 2, 1, 0)[None]
    assert torch.allclose(made, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))


def test_it_tells_apart_what_stands_in_different_places(stems: Tensor) -> None:
    mixture = stems.sum(dim=1)
    magnitudes = stems.abs()
    assert error(wiener_filtered(mixture, magnitudes), stems) < 0.7 * error(
        direct(mixture, magnitudes), stems
    )


def test_a_stem_that_is_not_there_stays_away(stems: Tensor) -> None:
    stems[:, 1] = 0
    made = wiener_filtered(stems.sum(dim=1), stems.abs())
    assert float(made[:, 1].abs().max()) == 0.0


def test_a_member_of_a_batch_depends_on_itself_alone(stems: Tensor) -> None:
    quiet = 0.01 * stems.flip(-1)
    both = torch.cat([stems, quiet])
    made = wiener_filtered(both.sum(dim=1), both.abs())
    for index, one in enumerate((stems, quiet)):
        alone = wiener_filtered(one.sum(dim=1), one.abs())[0]
        assert torch.allclose(made[index], alone, rtol=1e-4, atol=1e-4 * float(alone.abs().max()))


@pytest.mark.parametrize("level", [1e-4, 1e4])
def test_it_follows_the_level_of_its_input(stems: Tensor, level: float) -> None:
    made = wiener_filtered(stems.sum(dim=1), stems.abs())
    other = wiener_filtered(level * stems.sum(dim=1), level * stems.abs()) / level
    assert torch.allclose(other, made, rtol=1e-3, atol=1e-3 * float(made.abs().max()))


@pytest.mark.parametrize("silent", ["mixture", "magnitudes", "both", "one channel"])
def test_silence_gives_finite_spectra(stems: Tensor, silent: str) -> None:
    mixture, magnitudes = stems.sum(dim=1), stems.abs()
    if silent == "one channel":
        mixture[:, 0], magnitudes[:, :, 0] = 0, 0
    if silent in ("mixture", "both"):
        mixture = torch.zeros_like(mixture)
    if silent in ("magnitudes", "both"):
        magnitudes = torch.zeros_like(magnitudes)
    made = wiener_filtered(mixture, magnitudes)
    assert bool(torch.isfinite(torch.view_as_real(made)).all())
    assert silent == "one channel" or float(made.abs().max()) == 0.0


def test_half_floats_around_it_do_not_reach_it() -> None:
    torch.manual_seed(2)
    model = SpatialHDemucs(["drums", "bass", "other", "vocals"], **SHAPE).eval()
    mixture = complex_noise(1, 2, BINS, TIMES)
    magnitudes = torch.rand(1, 4, 2, BINS, TIMES).bfloat16()
    alone = model._mask(mixture, magnitudes.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        among_them = model._mask(mixture, magnitudes)
    assert torch.equal(among_them, alone)


@pytest.mark.parametrize(
    ("shape", "channels", "training"), [({}, 2, True), ({}, 1, False), ({"cac": True}, 2, False)]
)
def test_elsewhere_it_is_hdemucs(shape: dict[str, bool], channels: int, training: bool) -> None:
    torch.manual_seed(3)
    given = {**SHAPE, "audio_channels": channels, **shape}
    model = SpatialHDemucs(["drums", "bass"], **given).train(training)
    plain = HDemucs(["drums", "bass"], **given).train(training)
    plain.load_state_dict(model.state_dict())
    mix = torch.randn(1, channels, 44100)
    with torch.no_grad():
        assert torch.equal(model(mix), plain(mix))


@pytest.mark.parametrize("side", [0.0, 1e-4])
def test_rounding_stays_rounding_where_a_mixture_is_all_but_mono(side: float) -> None:
    middle = 20 * complex_noise(1, STEMS, 1, BINS, TIMES)
    stems = middle * (1 + side * complex_noise(1, STEMS, 2, BINS, TIMES, seed=5))
    mixture = stems.sum(dim=1)
    made = wiener_filtered(mixture, stems.abs())
    exact = wiener_filtered(mixture.to(torch.complex128), stems.abs().double())
    assert float((made - exact).abs().max() / exact.abs().max()) < 1e-4
    assert error(made, stems) < error(torch.zeros_like(stems), stems)

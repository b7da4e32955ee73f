"""The embedded model: its files are what demucs' own loader reads, and it hears a mixture in fair time."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from demucs.hdemucs import HDemucs
from demucs.hf import load_safetensors_model

FOLDER = Path(__file__).parents[2] / "mismo_grpc" / "separation" / "weights" / "mismo_lite"


@pytest.fixture(scope="module")
def weights() -> Path:
    bag: dict[str, Any] = yaml.safe_load((FOLDER / "mismo_lite.yaml").read_text(encoding="utf-8"))
    (signature,) = bag["models"]
    return FOLDER / f"{signature}.safetensors"


@pytest.fixture(scope="module")
def model(weights: Path) -> HDemucs:
    loaded = load_safetensors_model(weights)
    assert isinstance(loaded, HDemucs)
    return loaded.eval()


def _noise(frames: int, seed: int = 3) -> torch.Tensor:
    return 0.1 * torch.randn(1, 2, frames, generator=torch.Generator().manual_seed(seed))


def test_the_bag_names_the_only_weights_and_their_digest(weights: Path) -> None:
    assert list(FOLDER.glob("*.safetensors")) == [weights]
    assert hashlib.sha256(weights.read_bytes()).hexdigest().startswith(weights.stem)


def test_it_has_the_usual_stems_in_the_usual_order(model: HDemucs) -> None:
    assert list(model.sources) == ["drums", "bass", "other", "vocals"]
    assert model.samplerate == 44100
    assert model.audio_channels == 2


def test_it_is_small_enough_to_ship_and_large_enough_to_be_a_model(weights: Path, model: HDemucs) -> None:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert 500_000 <= parameters <= 2_000_000
    assert weights.stat().st_size <= 2 * parameters + 64 * 1024


def test_its_segment_is_short_enough_for_an_early_first_chunk(model: HDemucs) -> None:
    assert 4.0 <= float(model.segment) <= 7.8


@pytest.mark.parametrize("frames", [2049, 44100, 6 * 44100])
def test_a_forward_gives_finite_stems_of_the_input_length(model: HDemucs, frames: int) -> None:
    with torch.no_grad():
        stems = model(_noise(frames))
    assert stems.shape == (1, 4, 2, frames)
    assert bool(torch.isfinite(stems).all())


def test_silence_stays_silent(model: HDemucs) -> None:
    with torch.no_grad():
        stems = model(torch.zeros(1, 2, 44100))
    assert float(stems.abs().max()) < 1e-3


def test_it_follows_the_level_of_its_input(model: HDemucs) -> None:
    mix = _noise(44100)
    with torch.no_grad():
        quiet, loud = model(mix), model(8 * mix)
    error = (loud - 8 * quiet).square().sum() / loud.square().sum()
    assert float(error) < 1e-4

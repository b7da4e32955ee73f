"""The shipped weights separate music: better than silence, the mixture and a model that learned nothing."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from demucs.apply import Model, apply_model
from demucs.hf import load_safetensors_model

from mismo_grpc.generation.composer import Brief, compose
from mismo_grpc.generation.synthetic import render

FOLDER = Path(__file__).parents[2] / "mismo_grpc" / "separation" / "weights" / "mismo_lite"
STEMS = ("drums", "bass", "other", "vocals")
SEED = 700_002
"""Of a song that training does not use: its seeds are others (training/README.md)."""
SECONDS = 20.0

Audio = np.ndarray


def sdr(reference: Audio, estimate: Audio) -> float:
    """Plain SDR in dB: silence has 0."""
    error = np.square(reference - estimate, dtype=np.float64).sum()
    return 10 * float(np.log10(np.square(reference, dtype=np.float64).sum() / error))


@pytest.fixture(scope="module")
def song() -> Audio:
    """True stems, (4, 2, frames)."""
    stems = render(compose(Brief(seconds=SECONDS), SEED), seed=SEED)
    return np.stack([stems[name].T for name in STEMS])


def separated(model: Model, mix: Audio) -> Audio:
    mean, std = mix.mean(), mix.mean(axis=0).std()
    with torch.no_grad():
        found = apply_model(model, torch.from_numpy((mix - mean) / std)[None], shifts=0, overlap=0.25)[0]
    return found.numpy() * std + mean


def scores(song: Audio, estimates: Audio) -> dict[str, float]:
    pairs = zip(STEMS, song, estimates, strict=True)
    return {name: sdr(truth, estimate) for name, truth, estimate in pairs}


FLOORS = {"drums": 6.0, "bass": 3.6, "other": 2.1, "vocals": 6.3}
"""dB; the weights got 7.0, 4.5, 2.9 and 7.4 when they were made."""


@pytest.fixture(scope="module")
def model() -> Model:
    bag = yaml.safe_load((FOLDER / "mismo_lite.yaml").read_text(encoding="utf-8"))
    return load_safetensors_model(FOLDER / f"{bag['models'][0]}.safetensors").eval()


def test_it_separates_a_song_that_it_never_heard(song: Audio, model: Model) -> None:
    found = scores(song, separated(model, song.sum(axis=0)))
    assert {name: value for name, value in found.items() if value < FLOORS[name]} == {}


def test_nothing_that_has_learned_nothing_reaches_the_floors(song: Audio, model: Model) -> None:
    mix = song.sum(axis=0)
    torch.manual_seed(0)
    ignorant = copy.deepcopy(model)
    for parameter in ignorant.parameters():
        parameter.data = torch.randn_like(parameter) * parameter.std(unbiased=False)
    silence = np.zeros_like(song)
    mixture = np.broadcast_to(mix, song.shape)
    for estimates in (silence, mixture, separated(ignorant, mix)):
        best = scores(song, estimates)
        assert {name: value for name, value in best.items() if value >= FLOORS[name]} == {}

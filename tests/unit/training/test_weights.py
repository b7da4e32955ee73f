"""What lies between two sets of weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training.config import Config, build_model, read_config
from training.export import export_weights
from training.weights import blended, load_weights, read_state

CONFIG = Path(__file__).parents[3] / "training" / "mismo_lite.toml"


@pytest.fixture(name="config")
def _config() -> Config:
    config = read_config(CONFIG)
    return replace(config, train=replace(config.train, blend=0.25))


def test_a_blend_is_part_of_the_way_and_takes_what_is_new_as_it_is() -> None:
    start = {"old": torch.tensor([0.0, 4.0])}
    end = {"old": torch.tensor([8.0, 4.0]), "new": torch.tensor([1.0])}
    made = blended(start, end, 0.25)
    assert made["old"].tolist() == [2.0, 4.0]
    assert made["new"].tolist() == [1.0]
    assert blended(start, end, 1.0)["old"].tolist() == [8.0, 4.0]


def test_weights_are_read_from_a_bag_a_run_and_between_the_two(config: Config, tmp_path: Path) -> None:
    torch.manual_seed(1)
    start, end = build_model(config).state_dict(), build_model(config).state_dict()
    export_weights(config, start, tmp_path / "bag")
    torch.save(end, tmp_path / "best.pt")
    name = "encoder.0.conv.weight"
    rounded = start[name].half().float()
    assert torch.equal(read_state(tmp_path / "bag")[name], rounded)
    assert torch.equal(load_weights(config, tmp_path / "bag").state_dict()[name], rounded)
    assert torch.equal(load_weights(config, tmp_path / "best.pt").state_dict()[name], end[name])
    between = load_weights(config, tmp_path / "best.pt", tmp_path / "bag")
    assert not between.training
    assert torch.allclose(between.state_dict()[name], 0.75 * rounded + 0.25 * end[name])

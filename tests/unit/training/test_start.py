"""What a training run begins with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training.config import build_model, read_config
from training.train import Trainer

CONFIG = read_config(Path(__file__).parents[3] / "training" / "mismo_lite.toml")


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    return Trainer(CONFIG, "pretrain", torch.device("cpu"), tmp_path, [])


def test_layers_that_the_former_model_had_not_begin_as_drawn(
    trainer: Trainer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    former = build_model(replace(CONFIG, model={**CONFIG.model, "dconv_depth": 2})).state_dict()
    torch.save(former, tmp_path / "best.pt")
    trainer.start_from(tmp_path / "best.pt")
    made = trainer.model.state_dict()
    added = set(drawn) - set(former)
    assert added
    assert all(torch.equal(made[name], drawn[name]) for name in added)
    assert all(torch.equal(made[name], tensor) for name, tensor in former.items())
    assert f"of {len(drawn)} tensors {len(former)} begin as in" in capsys.readouterr().out


def test_weights_of_which_nothing_fits_are_refused(trainer: Trainer, tmp_path: Path) -> None:
    torch.save({"encoder.0.conv.weight": torch.zeros(3), "other": torch.zeros(1)}, tmp_path / "best.pt")
    with pytest.raises(ValueError, match=r"nothing in .*best\.pt fits.*--start"):
        trainer.start_from(tmp_path / "best.pt")

"""Reads weights from a run's best.pt or the folder of a bag, and blends two sets of weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import yaml
from demucs.hf import load_safetensors_model
from torch import Tensor, nn

from training.config import Config, build_model

BAG_NAME = "mismo_lite"


def load_bag(folder: Path) -> nn.Module:
    """Loads the single model of the bag in `folder` with demucs' own loader."""
    bag = yaml.safe_load((folder / f"{BAG_NAME}.yaml").read_text(encoding="utf-8"))
    (signature,) = bag["models"]
    return load_safetensors_model(folder / f"{signature}.safetensors").eval()


def read_state(weights: Path) -> dict[str, Tensor]:
    """Reads the weights in a training run's best.pt, or in the folder of a bag."""
    if weights.is_dir():
        return dict(load_bag(weights).state_dict())
    state: dict[str, Tensor] = torch.load(weights, map_location="cpu", weights_only=True)
    return state


def blended(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Interpolates from `start` (`share` 0) to `end` (1); tensors that only `end` has are used unchanged.

    A model that is fine-tuned on little data keeps more of its earlier knowledge with a `share` below 1: Wortsman et
    al., "Robust fine-tuning of zero-shot models", CVPR 2022.
    """
    return {name: torch.lerp(start[name], to, share) if name in start else to for name, to in end.items()}


def load_weights(config: Config, weights: Path, start: Path | None = None) -> nn.Module:
    """Loads a bag, or a training run's best.pt; with the run's initial weights `start`, blended as `blend` says."""
    if weights.is_dir() and start is None:
        return load_bag(weights)
    state = read_state(weights)
    if start is not None:
        state = blended(read_state(start), state, config.train.blend)
    model = build_model(config)
    model.load_state_dict(state)
    return model.eval()

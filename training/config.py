"""The training configuration: one TOML file, read into frozen dataclasses."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import demucs.demucs
import demucs.hdemucs
import demucs.htdemucs
from torch import nn

from mismo_grpc.separation.spatial import SpatialHDemucs
from training.spectral import MagnitudeHDemucs

CLASSES: dict[str, type[nn.Module]] = {
    "Demucs": demucs.demucs.Demucs,
    "HDemucs": demucs.hdemucs.HDemucs,
    "HTDemucs": demucs.htdemucs.HTDemucs,
    "SpatialHDemucs": SpatialHDemucs,
}
TRAINED_AS: dict[str, type[nn.Module]] = {"SpatialHDemucs": MagnitudeHDemucs}
"""The class that is trained in place of each model class."""


@dataclass(frozen=True)
class LeaveOut:
    """A part of a song, in seconds, that is never used in training."""

    song: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class DataConfig:
    """How training examples are made; see the comments in mismo_lite.toml."""

    crop_seconds: float
    rendered_probability: float
    remix_probability: float
    drop_probability: Mapping[str, float]
    sounding_probability: float
    gain_db: float
    loud_probability: float
    loud_db: float
    remix_level_db: float
    speed_range: float
    octave_down_probability: Mapping[str, float]
    kick_probability: float
    equaliser_probability: float
    saturation_probability: float
    room_probability: float
    echo_probability: float
    compression_probability: float
    mp3_probability: float
    leave_out: tuple[LeaveOut, ...]


@dataclass(frozen=True)
class PhaseConfig:
    """Length and learning rates of one phase of training; see the comments in mismo_lite.toml."""

    steps: int
    learning_rate: float
    warmup_steps: int
    final_learning_rate: float
    evaluate_every: int
    patience: int


@dataclass(frozen=True)
class LossConfig:
    """Parameters of the loss; see training.loss."""

    power: float
    stem_share: float
    log_floor: float
    spectral: float


@dataclass(frozen=True)
class TrainConfig:
    """What both phases share; see the comments in mismo_lite.toml."""

    seed: int
    batch: int
    threads: int
    loaders: int
    clip_norm: float
    ema_decay: float
    blend: float
    pretrain: PhaseConfig
    finetune: PhaseConfig

    def phase(self, name: str) -> PhaseConfig:
        """The phase "pretrain" or "finetune"."""
        return {"pretrain": self.pretrain, "finetune": self.finetune}[name]


@dataclass(frozen=True)
class Config:
    """A whole configuration; `model` holds the keyword arguments of the class `model_class` of demucs."""

    model_class: str
    model: dict[str, Any]
    data: DataConfig
    loss: LossConfig
    train: TrainConfig

    @property
    def qualified_class(self) -> str:
        """The qualified class name for demucs' loader."""
        return f"{CLASSES[self.model_class].__module__}.{self.model_class}"


def read_config(path: Path) -> Config:
    """Read a configuration from a TOML file; KeyError or TypeError for a missing or unknown entry."""
    return parse_config(tomllib.loads(path.read_text(encoding="utf-8")))


def parse_config(raw: dict[str, Any]) -> Config:
    """Parse a configuration from TOML data; KeyError or TypeError for a missing or unknown entry."""
    data = dict(raw["data"])
    data["leave_out"] = tuple(LeaveOut(**entry) for entry in data.get("leave_out", []))
    train = dict(raw["train"])
    pretrain, finetune = (PhaseConfig(**train.pop(name)) for name in ("pretrain", "finetune"))
    model = dict(raw["model"])
    model_class = model.pop("class")
    model["segment"] = Fraction(model["segment"]).limit_denominator(1000)
    loss = LossConfig(**raw["loss"])
    phases = TrainConfig(**train, pretrain=pretrain, finetune=finetune)
    return Config(model_class, model, DataConfig(**data), loss, phases)


def build_model(config: Config) -> nn.Module:
    """Build a model of the configured shape with new weights, drawn from torch's global generator."""
    made = CLASSES[config.model_class]
    # The spectral distance in other resolutions needs samples.
    if not config.loss.spectral:
        made = TRAINED_AS.get(config.model_class, made)
    return made(**config.model)

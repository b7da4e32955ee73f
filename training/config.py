"""The training configuration: one TOML file, read into frozen dataclasses."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from demucs.htdemucs import HTDemucs


@dataclass(frozen=True)
class LeaveOut:
    """A stretch of a song, in seconds, that training never hears."""

    song: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class DataConfig:
    """How training examples are put together; see the comments in mismo_lite.toml."""

    crop_seconds: float
    remix_probability: float
    drop_probability: float
    sounding_probability: float
    gain_db: float
    remix_level_db: float
    speed_range: float
    leave_out: tuple[LeaveOut, ...]


@dataclass(frozen=True)
class TrainConfig:
    """Optimiser and schedule; see the comments in mismo_lite.toml."""

    seed: int
    steps: int
    batch: int
    threads: int
    learning_rate: float
    warmup_steps: int
    final_learning_rate: float
    clip_norm: float
    ema_decay: float
    checkpoint_every: int


@dataclass(frozen=True)
class Config:
    """A whole configuration; `model` holds the keyword arguments of HTDemucs."""

    model: dict[str, Any]
    data: DataConfig
    train: TrainConfig


def read_config(path: Path) -> Config:
    """Read a configuration from a TOML file; KeyError or TypeError for a missing or unknown entry."""
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    data = dict(raw["data"])
    data["leave_out"] = tuple(LeaveOut(**entry) for entry in data.get("leave_out", []))
    model = dict(raw["model"])
    model["segment"] = Fraction(model["segment"]).limit_denominator(1000)
    return Config(model=model, data=DataConfig(**data), train=TrainConfig(**raw["train"]))


def build_model(config: Config) -> HTDemucs:
    """An HTDemucs of the configured shape with fresh weights, drawn from torch's global generator."""
    return HTDemucs(**config.model)

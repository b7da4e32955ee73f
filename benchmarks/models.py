"""The measured models: htdemucs with its real layer shapes and random weights, and mismo_lite."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from mismo_grpc.separation.catalog import ModelCatalog

SEED = 20
WEIGHTS_VERSION = 1
"""Increase this when the written files change."""
LOCAL_MODEL = "htdemucs"


def htdemucs() -> Any:
    """Builds htdemucs as published in demucs 4, but with random weights, the same at every call."""
    import torch
    from demucs import htdemucs as module

    network: Any = module.HTDemucs  # Any: its annotation allows only whole seconds for a segment
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        return network(
            sources=["drums", "bass", "other", "vocals"],
            bottom_channels=512,
            dconv_mode=3,
            samplerate=44100,
            segment=Fraction(39, 5),
        ).eval()


def server_model_dirs(model: str, cache: Path) -> Sequence[Path]:
    """Returns the server's model folders for a model: the same files that the `demucs` command reads."""
    return [demucs_repository(model, cache)] if model == LOCAL_MODEL else []


def demucs_repository(model: str, cache: Path) -> Path:
    """Returns a folder for `demucs --repo` with MODEL.yaml and one .th file, written at the first call."""
    if model == LOCAL_MODEL:
        folder, make = cache / f"{model}-{WEIGHTS_VERSION}", htdemucs
    else:
        weights = _embedded_weights(model)
        folder = cache / f"{model}-{hashlib.sha256(weights.read_bytes()).hexdigest()[:12]}"
        make = partial(_embedded, weights)
    if not (folder / f"{model}.yaml").exists():
        _write_bag(folder, model, make())
    return folder


def _embedded_weights(model: str) -> Path:
    files = ModelCatalog([]).find(model)
    if files is None or len(files.members) != 1:
        raise ValueError(f"there is no single model {model} in the package")
    return files.members[0]


def _embedded(weights: Path) -> Any:
    """Loads a network from a safetensors file, which the `demucs` command can read from the hub only."""
    from demucs import hf

    return hf.load_safetensors_model(weights)


def _write_bag(folder: Path, model: str, network: Any) -> None:
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    args, kwargs = network._init_args_kwargs
    package: dict[str, Any] = {
        "klass": type(network),
        "args": args,
        "kwargs": kwargs,
        "state": network.state_dict(),
    }
    signature = f"{model}0"
    unfinished = folder / f"{signature}.part"
    torch.save(package, unfinished)
    os.replace(unfinished, folder / f"{signature}.th")
    (folder / f"{model}.yaml").write_text(yaml.safe_dump({"models": [signature]}))

"""The models that are measured: htdemucs in its real shapes with random weights, and mismo_lite."""

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
"""Goes up when what is written here changes."""
LOCAL_MODEL = "htdemucs"


def htdemucs() -> Any:
    """htdemucs as published in demucs 4, but for the weights, which are the same random ones at every call."""
    import torch
    from demucs import htdemucs as module

    network: Any = module.HTDemucs  # its signature says that a segment is a whole number of seconds
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
    """Folders that the server is given for a model: the very files that the `demucs` command reads."""
    return [demucs_repository(model, cache)] if model == LOCAL_MODEL else []


def demucs_repository(model: str, cache: Path) -> Path:
    """A folder for `demucs --repo`: MODEL.yaml and one .th file, written at the first call."""
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
    """From a safetensors file, which the `demucs` command would look for on the hub only."""
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

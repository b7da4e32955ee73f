"""Small Demucs bags with random weights, in the files that demucs itself writes and reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
import yaml
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file

SOURCES = ["drums", "bass", "other", "vocals"]
SEGMENT = Fraction(1, 2)


def tiny_htdemucs(seed: int, segment: Fraction = SEGMENT) -> HTDemucs:
    """A hybrid transformer with segments of half a second."""
    torch.manual_seed(seed)
    return HTDemucs(
        sources=SOURCES,
        channels=8,
        bottom_channels=8,
        t_layers=1,
        t_heads=2,
        nfft=512,
        depth=3,
        segment=segment,  # pyright: ignore[reportArgumentType] - demucs takes any number of seconds
    ).eval()


def tiny_hdemucs(seed: int, segment: int = 1) -> HDemucs:
    """A hybrid without transformer: its tail segment is shorter."""
    torch.manual_seed(seed)
    return HDemucs(sources=SOURCES, channels=8, nfft=4096, segment=segment).eval()


def tiny_demucs(seed: int, segment: int = 1) -> Demucs:
    """A waveform model: pads its input to a valid length."""
    torch.manual_seed(seed)
    return Demucs(sources=SOURCES, channels=8, depth=3, lstm_layers=0, segment=segment).eval()


def write_th_bag(
    folder: Path,
    name: str,
    networks: Sequence[Any],
    weights: list[list[float]] | None = None,
    segment: int | None = None,
) -> None:
    """A bag as demucs' `--repo` reads it: NAME.yaml and one .th file a network."""
    folder.mkdir(parents=True, exist_ok=True)
    signatures: list[str] = []
    for index, network in enumerate(networks):
        args, kwargs = network._init_args_kwargs
        signature = f"{name}{index}"
        package = {"klass": type(network), "args": args, "kwargs": kwargs, "state": network.state_dict()}
        torch.save(package, folder / f"{signature}.th")
        signatures.append(signature)
    _write_yaml(folder, name, signatures, weights, segment)


def write_safetensors_bag(folder: Path, name: str, networks: Sequence[Any]) -> None:
    """A bag as demucs' hub loader reads it: NAME.yaml and one .safetensors file a network."""
    folder.mkdir(parents=True, exist_ok=True)
    signatures: list[str] = []
    for index, network in enumerate(networks):
        args, kwargs = network._init_args_kwargs
        signature = f"{name}{index}"
        metadata = {
            "klass": f"{type(network).__module__}.{type(network).__name__}",
            "args": json.dumps(args),
            "kwargs": json.dumps(kwargs, default=_fraction),
        }
        tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
        save_file(tensors, folder / f"{signature}.safetensors", metadata)
        signatures.append(signature)
    _write_yaml(folder, name, signatures, None, None)


def _fraction(value: Any) -> Any:
    assert isinstance(value, Fraction)
    return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}


def _write_yaml(
    folder: Path, name: str, signatures: list[str], weights: list[list[float]] | None, segment: int | None
) -> None:
    bag: dict[str, Any] = {"models": signatures}
    if weights is not None:
        bag["weights"] = weights
    if segment is not None:
        bag["segment"] = segment
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(bag))

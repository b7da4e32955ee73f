"""Plain SDR of weights on an excerpt: python -m training.evaluate --music-eval DIR --weights DIR.

DIR of the excerpt holds mix, drums, bass, other and vocals as .flac or .wav. Beside the model stand two
answers that need no model: silence, which is 0 dB by definition, and the mixture itself as every stem.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
import yaml
from demucs.apply import apply_model
from demucs.hf import load_safetensors_model
from demucs.htdemucs import HTDemucs
from numpy.typing import NDArray

from training.config import build_model, read_config
from training.export import BAG_NAME

Audio = NDArray[np.float32]


def sdr(reference: Audio, estimate: Audio) -> float:
    """10 log10 of reference energy over error energy, in dB, over all frames and channels at once.

    No scaling, no filter, no median over windows. NaN for a silent reference.
    """
    energy = float(np.square(reference, dtype=np.float64).sum())
    error = float(np.square(reference - estimate, dtype=np.float64).sum())
    return float("nan") if energy == 0 else 10 * float(np.log10(energy / max(error, 1e-20)))


def separate(model: HTDemucs, mix: Audio) -> Audio:
    """Stems of `mix` (2, frames) as (stems, 2, frames) float32, the way demucs does it: overlap 0.25."""
    mono = mix.mean(axis=0)
    mean, std = float(mono.mean()), float(mono.std()) + 1e-8
    normal = torch.from_numpy((mix - mean) / std)[None]
    with torch.no_grad():
        stems = apply_model(model, normal, shifts=0, split=True, overlap=0.25)[0]
    return np.asarray(stems.numpy() * std + mean, dtype=np.float32)


def load_bag(folder: Path) -> HTDemucs:
    """The one model of the bag in `folder`, read by demucs' own loader."""
    bag = yaml.safe_load((folder / f"{BAG_NAME}.yaml").read_text(encoding="utf-8"))
    (signature,) = bag["models"]
    model = load_safetensors_model(folder / f"{signature}.safetensors")
    assert isinstance(model, HTDemucs)
    return model.eval()


def load_checkpoint(config_path: Path, checkpoint: Path) -> HTDemucs:
    """The averaged weights of a training checkpoint."""
    model = build_model(read_config(config_path))
    model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["ema"])
    return model.eval()


def _read(folder: Path, name: str) -> Audio:
    path = next(p for p in (folder / f"{name}.flac", folder / f"{name}.wav") if p.exists())
    audio, _ = soundfile.read(path, dtype="float32", always_2d=True)
    return np.ascontiguousarray(audio.T, dtype=np.float32)


def main() -> None:
    """Command line: prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--music-eval", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="folder with the bag")
    parser.add_argument("--config", type=Path, help="with --checkpoint: measure it instead of a bag")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.checkpoint and args.config:
        model = load_checkpoint(args.config, args.checkpoint)
    elif args.weights:
        model = load_bag(args.weights)
    else:
        parser.error("give --weights, or --config and --checkpoint")
    mix = _read(args.music_eval, "mix")
    began = time.perf_counter()
    estimates = separate(model, mix)
    seconds = time.perf_counter() - began
    report: dict[str, object] = {"times_realtime": round(mix.shape[1] / model.samplerate / seconds, 1)}
    sources: list[str] = list(model.sources)
    for name, estimate in zip(sources, estimates, strict=True):
        reference = _read(args.music_eval, name)
        figures = {"model": sdr(reference, estimate), "mixture": sdr(reference, mix), "silence": 0.0}
        report[name] = {key: round(value, 2) for key, value in figures.items()}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

"""Train the small separation model: python -m training.train --config FILE --music DIR --out DIR.

Stopped at any moment it resumes from its last checkpoint and, on the same machine, the same examples.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.config import TrainConfig, build_model, read_config
from training.songs import Sampler, open_songs


def separation_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean over batch and stems of the error's RMS, relative to the RMS of the mixture.

    Both are (batch, stems, channels, frames). Squares inside a crop, as in the SDR, so that an uncertain
    stem is answered with its mean and not with silence; the root makes loud and quiet crops count alike.
    Relative to the mixture and not to the stem: silent stems would otherwise outweigh all others.
    """
    mixture = target.sum(dim=1).square().mean(dim=(-1, -2)).sqrt()
    error = ((estimate - target).square().mean(dim=(-1, -2)) + 1e-10).sqrt()
    return (error / (mixture[:, None] + 1e-4)).mean()


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then half a cosine down to the final rate."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    swing = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return config.final_learning_rate + swing * (config.learning_rate - config.final_learning_rate)


@torch.no_grad()
def update_average(average: dict[str, Tensor], model: nn.Module, step: int, decay: float) -> None:
    """Move the running average of the weights towards `model`; faster in the first steps."""
    keep = min(decay, (1 + step) / (10 + step))
    for name, tensor in model.state_dict().items():
        average[name].lerp_(tensor, 1 - keep)


def _save(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    partial.replace(path)


def main() -> None:
    """Command line: train, or go on with the training that --out holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--music", type=Path, required=True, help="song folders with four .ogg stems")
    parser.add_argument("--out", type=Path, required=True, help="for checkpoint.pt and log.jsonl")
    parser.add_argument("--cache", type=Path, help="for decoded songs (1.2 GB for six); default: OUT/cache")
    args = parser.parse_args()
    config = read_config(args.config)
    settings = config.train
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    sampler = Sampler(
        open_songs(args.music, args.cache or args.out / "cache", config.data), config.data, settings.seed
    )
    model = build_model(config).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    average = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    checkpoint_path = args.out / "checkpoint.pt"
    first = 0
    if checkpoint_path.exists():
        checkpoint = torch.load(checkpoint_path, map_location="cpu", weights_only=True)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        average, first = checkpoint["ema"], checkpoint["step"]

    with (args.out / "log.jsonl").open("a", encoding="utf-8") as log:
        for step in range(first, settings.steps):
            began = time.perf_counter()
            target = torch.from_numpy(sampler.batch(step, settings.batch))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, settings)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                estimate = model(target.sum(dim=1))
            loss = separation_loss(estimate.float(), target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            if not torch.isfinite(norm):
                raise FloatingPointError(f"the gradient of step {step} is not finite")
            optimizer.step()
            update_average(average, model, step, settings.ema_decay)
            entry = {"step": step, "loss": round(loss.item(), 4), "gradient_norm": round(norm.item(), 3)}
            entry["seconds"] = round(time.perf_counter() - began, 2)
            log.write(json.dumps(entry) + "\n")
            log.flush()
            if (step + 1) % settings.checkpoint_every == 0 or step + 1 == settings.steps:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                _save(checkpoint_path, {**state, "ema": average, "step": step + 1})


if __name__ == "__main__":
    main()

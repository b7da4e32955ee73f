"""Try variants of the model for the same time each: python -m training.search --config FILE --variants FILE ...

Every variant trains on rendered songs alone, like the phase pretrain but at a constant learning rate. It is evaluated
on rendered songs of other seeds and on the real songs, which it was not trained on. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mismo_grpc.separation.allocator import keep_freed_memory
from training.config import Config, parse_config
from training.evaluate import by_model, evaluate
from training.songs import SAMPLE_RATE, STEMS, Sampler, Song, open_rendered, open_songs
from training.train import VALIDATION_BATCHES, VALIDATION_SEED, Trainer
from training.weights import load_weights

WARMUP_STEPS = 20
"""The most warm-up steps, because a variant makes hardly more than a hundred steps."""
UNSET = "unset"
"""A value that leaves an entry at demucs' default."""


def varied(
    raw: dict[str, Any], changes: dict[str, dict[str, Any]], learning_rate: float | None = None
) -> Config:
    """Return the configuration with the changes of a variant, and with a constant learning rate."""
    merged = {section: {**entries, **changes.get(section, {})} for section, entries in raw.items()}
    merged["model"] = {name: value for name, value in merged["model"].items() if value != UNSET}
    pretrain = dict(merged["train"]["pretrain"])
    pretrain["steps"] = 10**9
    pretrain["evaluate_every"] = 10**9
    pretrain["warmup_steps"] = min(WARMUP_STEPS, pretrain["warmup_steps"])
    pretrain["learning_rate"] = learning_rate or pretrain["learning_rate"]
    merged["train"] = {**merged["train"], "pretrain": pretrain}
    return parse_config(merged)


def speed(model: torch.nn.Module) -> float:
    """Measure how many seconds of music the model separates in a second."""
    music = 0.1 * torch.randn(1, 2, 6 * SAMPLE_RATE, generator=torch.Generator().manual_seed(1))
    times: list[float] = []
    with torch.no_grad():
        for _ in range(4):
            began = time.perf_counter()
            model(music)
            times.append(time.perf_counter() - began)
    # With overlap 0.25, 4.5 s of each segment of 6 s are new.
    return 4.5 / min(times)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--variants", type=Path, required=True)
    parser.add_argument("--only", action="append", default=[], help="a variant; repeatable")
    parser.add_argument("--rendered", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--music", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="for decoded songs")
    parser.add_argument(
        "--stretch", type=float, nargs=2, default=(120.0, 135.0), help="of each real song, in seconds"
    )
    parser.add_argument("--seconds", type=float, default=150.0, help="of training for each variant")
    parser.add_argument(
        "--threads", type=int, help="instead of the configured; 1 to run two searches at once"
    )
    parser.add_argument("--start", type=Path, help="go on from these weights instead of fresh ones")
    parser.add_argument("--learning-rate", type=float, help="instead of the configured")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    keep_freed_memory()
    raw = tomllib.loads(args.config.read_text(encoding="utf-8"))
    variants = tomllib.loads(args.variants.read_text(encoding="utf-8"))
    rendered, validation = open_rendered(args.rendered), open_rendered(args.validation)
    print(f"| variant | parameters | steps | × real time | rendered | {' | '.join(STEMS)} | mean |")
    print("|---" * (6 + len(STEMS)) + "|")
    for name, changes in variants.items():
        if args.only and name not in args.only:
            continue
        config = varied(raw, changes, args.learning_rate)
        torch.set_num_threads(args.threads or config.train.threads)
        out = args.out / name.replace(" ", "-")
        out.mkdir(parents=True, exist_ok=True)
        judges = Sampler([], validation, config.data, VALIDATION_SEED)
        batches = [judges.batch(step, config.train.batch) for step in range(VALIDATION_BATCHES)]
        trainer = Trainer(config, "pretrain", torch.device("cpu"), out, batches)
        if args.start:
            trainer.start_from(args.start)
        trainer.run(Sampler([], rendered, config.data, config.train.seed), args.seconds)
        real = open_songs(args.music, args.cache, config.data)
        figures = _on_real(config, out, real, tuple(args.stretch))
        model = load_weights(config, out / "best.pt")
        row = [
            name,
            f"{sum(p.numel() for p in model.parameters()):,}",
            str(trainer.progress.step),
            f"{speed(model):.0f}",
        ]
        row += [f"{trainer.progress.best_sdr:.2f}", *(f"{value:.2f}" for value in figures)]
        print(f"| {' | '.join([*row, f'{np.mean(figures):.2f}'])} |", flush=True)


def _on_real(config: Config, out: Path, songs: list[Song], stretch: tuple[float, float]) -> list[float]:
    method = by_model(load_weights(config, out / "best.pt"))
    found = [evaluate(song, method, stretch) for song in songs]
    return [float(np.mean([figures[stem] for figures in found if stem in figures])) for stem in STEMS]


if __name__ == "__main__":
    main()

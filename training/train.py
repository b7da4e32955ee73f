"""Train mismo_lite: python -m training.train --config FILE --phase pretrain|finetune --out DIR ...

If it is stopped at any moment, it resumes from its last checkpoint with the same examples. It stops early when the
validation no longer improves, and stores the averaged weights of its best evaluation in OUT/best.pt.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from torch import Tensor, nn

from mismo_grpc.separation.allocator import keep_freed_memory
from mismo_grpc.separation.device import measured_precision
from training.config import Config, PhaseConfig, build_model, read_config
from training.loss import error_loss, separation_loss
from training.quality.metrics import sdr
from training.songs import STEMS, Audio, Sampler, open_rendered, open_songs
from training.spectral import MagnitudeHDemucs, relative_errors, spectral_target
from training.weights import read_state

VALIDATION_BATCHES = 6
"""The number of validation batches: drawn like those of training, from other places, and always the same."""
VALIDATION_SEED = 10**6


def learning_rate(step: int, phase: PhaseConfig) -> float:
    """Returns the learning rate: linear warm-up, then half a cosine down to the final rate."""
    if step < phase.warmup_steps:
        return phase.learning_rate * (step + 1) / phase.warmup_steps
    done = (step - phase.warmup_steps) / max(1, phase.steps - phase.warmup_steps)
    swing = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return phase.final_learning_rate + swing * (phase.learning_rate - phase.final_learning_rate)


@torch.no_grad()
def update_average(average: dict[str, Tensor], model: nn.Module, step: int, decay: float) -> None:
    """Moves the running average of the weights towards `model`; faster in the first steps."""
    keep = min(decay, (1 + step) / (10 + step))
    for name, tensor in model.state_dict().items():
        average[name].lerp_(tensor, 1 - keep)


def batches(
    sampler: Sampler, first: int, last: int, size: int, loaders: int
) -> Iterator[tuple[Audio, Audio]]:
    """Yields the batches `first` to `last` - 1 in order; `loaders` threads prepare them ahead."""
    with ThreadPoolExecutor(loaders) as pool:
        ahead = [
            pool.submit(sampler.batch, step, size) for step in range(first, min(last, first + loaders + 1))
        ]
        for step in range(first, last):
            batch = ahead.pop(0).result()
            upcoming = step + loaders + 1
            if upcoming < last:
                ahead.append(pool.submit(sampler.batch, upcoming, size))
            yield batch


@dataclass
class Progress:
    """The progress of a run: what a checkpoint has besides the weights."""

    step: int = 0
    best_sdr: float = -math.inf
    best_step: int = 0


class Trainer:
    """One run of one phase on one device; `validation` has the batches that it is evaluated on."""

    def __init__(
        self,
        config: Config,
        phase: str,
        device: torch.device,
        out: Path,
        validation: list[tuple[Audio, Audio]],
    ) -> None:
        self._config = config
        self._phase = config.train.phase(phase)
        self._device = device
        self._out = out
        self._validation = validation
        # On a CPU with bf16 instructions a step was not faster than in fp32, and a run diverged that converges in fp32.
        self._bf16 = device.type == "cuda" and measured_precision(device) == "bf16"
        torch.manual_seed(config.train.seed)
        self.model = build_model(config).to(device)
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), self._phase.learning_rate, weight_decay=1e-4
        )
        self._average = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.progress = Progress()

    def start_from(self, weights: Path) -> None:
        """Starts with the weights of another run: its best.pt, or the folder they were exported to.

        Tensors that they lack, or have in another shape, keep their random values. Raises ValueError if none matches.
        """
        state = read_state(weights)
        own = self.model.state_dict()
        known = {
            name: tensor for name, tensor in state.items() if name in own and tensor.shape == own[name].shape
        }
        if not known:
            raise ValueError(
                f"nothing in {weights} fits the model of the configuration: another --start, or none"
            )
        if len(known) < max(len(own), len(state)):
            print(f"of {len(own)} tensors {len(known)} begin as in {weights}, which has {len(state)}")
        self.model.load_state_dict({**own, **known})
        self._average = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def resume(self) -> bool:
        """Resumes from the checkpoint in OUT; returns whether there was one."""
        path = self._out / "checkpoint.pt"
        if not path.exists():
            return False
        saved = torch.load(path, map_location=self._device, weights_only=True)
        self.model.load_state_dict(saved["model"])
        self._optimizer.load_state_dict(saved["optimizer"])
        self._average = saved["average"]
        self.progress = Progress(**saved["progress"])
        return True

    def run(
        self, sampler: Sampler, seconds: float = math.inf, saved: Callable[[], None] = lambda: None
    ) -> None:
        """Trains to the end of the phase, or until the validation has not improved for the configured patience.

        With `seconds` it trains for that time, including the preparation of batches, without a schedule of the learning
        rate. `saved` is called after each evaluation, when OUT has the log and the weights of that evaluation.
        """
        began = time.monotonic()
        settings, phase, progress = self._config.train, self._phase, self.progress
        with (self._out / "log.jsonl").open("a", encoding="utf-8") as log:
            made = batches(sampler, progress.step, phase.steps, settings.batch, settings.loaders)
            for mix, stems in made:
                self._step(torch.from_numpy(mix), torch.from_numpy(stems), log)
                over = progress.step >= phase.steps or time.monotonic() - began >= seconds
                if progress.step % phase.evaluate_every and not over:
                    continue
                self._evaluate(log)
                self._save()
                saved()
                if over or progress.step - progress.best_step >= phase.patience * phase.evaluate_every:
                    break

    def _step(self, mix: Tensor, stems: Tensor, log: TextIO) -> None:
        began, settings, step = time.perf_counter(), self._config.train, self.progress.step
        rate = learning_rate(step, self._phase)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        loss = self._loss(mix.to(self._device), stems.to(self._device))
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"the gradient of step {step} is not finite")
        self._optimizer.step()
        update_average(self._average, self.model, step, settings.ema_decay)
        self.progress.step = step + 1
        seconds = round(time.perf_counter() - began, 2)
        _write(log, step=step + 1, loss=round(loss.item(), 4), rate=round(rate, 6), seconds=seconds)

    def _loss(self, mix: Tensor, stems: Tensor) -> Tensor:
        estimate, config = self._forward(mix), self._config.loss
        if not (isinstance(self.model, MagnitudeHDemucs) and self.model.magnitudes_alone):
            return separation_loss(estimate, stems, config)
        return error_loss(*relative_errors(estimate, spectral_target(self.model, mix, stems)), config)

    def _forward(self, mix: Tensor) -> Tensor:
        # On a processor that only emulates bf16, a step would take ten times as long.
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._bf16):
            estimate: Tensor = self.model(mix.to(self._device))
        return estimate.float()

    @torch.no_grad()
    def _evaluate(self, log: TextIO) -> None:
        """Evaluates the averaged weights by their mean SDR over the stems with sound."""
        current = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.model.load_state_dict(self._average)
        self.model.eval()
        values: dict[str, list[float]] = {stem: [] for stem in STEMS}
        for mix, stems in self._validation:
            estimates = self._forward(torch.from_numpy(mix)).cpu().numpy()
            for estimate, truth in zip(estimates, stems, strict=True):
                for name, made, wanted in zip(STEMS, estimate, truth, strict=True):
                    if np.square(wanted).mean() > 1e-6:
                        values[name].append(float(np.clip(sdr(wanted, made), -20, 40)))
        means = {name: round(float(np.mean(found)), 2) for name, found in values.items() if found}
        mean = sum(means.values()) / len(means)
        if mean > self.progress.best_sdr:
            self.progress.best_sdr, self.progress.best_step = mean, self.progress.step
            _save(self._out / "best.pt", self._average)
        self.model.load_state_dict(current)
        _write(log, step=self.progress.step, sdr=means, mean=round(mean, 3))
        print(f"step {self.progress.step}: SDR {mean:.2f} dB {means}", flush=True)

    def _save(self) -> None:
        state: dict[str, Any] = {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}
        _save(
            self._out / "checkpoint.pt", {**state, "average": self._average, "progress": vars(self.progress)}
        )


def _save(path: Path, content: Any) -> None:
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    partial.replace(path)


def _write(log: TextIO, **entry: object) -> None:
    log.write(json.dumps(entry) + "\n")
    log.flush()


def main() -> None:
    """Command line: train, or resume the training in --out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--phase", choices=("pretrain", "finetune"), required=True)
    parser.add_argument(
        "--out", type=Path, required=True, help="for checkpoint.pt, best.pt, log.jsonl, curves.png"
    )
    parser.add_argument("--music", type=Path, help="song folders with four .ogg stems")
    parser.add_argument("--leave-out", default="", metavar="SONG", help="a folder of --music to leave out")
    parser.add_argument(
        "--cache", type=Path, help="folder for decoded songs (1.2 GB for six); default: OUT/cache"
    )
    parser.add_argument("--rendered", type=Path, help="folder of songs from training.rendering")
    parser.add_argument(
        "--validation", type=Path, help="folder of rendered songs of other seeds for validation"
    )
    parser.add_argument(
        "--start", type=Path, help="best.pt of a run to start from, or a folder of exported weights"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    # Imported here, because matplotlib is an optional extra that training does not need.
    from training.curves import draw_curves

    # Otherwise mapping the tensors of each step again takes up to half of the time.
    keep_freed_memory()
    config = read_config(args.config)
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.train.threads)
    cache = args.cache or args.out / "cache"
    real = open_songs(args.music, cache, config.data, args.leave_out) if args.music else []
    rendered = open_rendered(args.rendered) if args.rendered else []
    judges = Sampler(
        [], open_rendered(args.validation) if args.validation else rendered, config.data, VALIDATION_SEED
    )
    validation = [judges.batch(step, config.train.batch) for step in range(VALIDATION_BATCHES)]
    trainer = Trainer(config, args.phase, torch.device(args.device), args.out, validation)
    if not trainer.resume() and args.start:
        trainer.start_from(args.start)
    trainer.run(
        Sampler(real, rendered, config.data, config.train.seed + (args.phase == "finetune")),
        saved=lambda: draw_curves(args.out / "log.jsonl", args.out / "curves.png"),
    )


if __name__ == "__main__":
    main()

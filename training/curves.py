"""Draws the progress of a training run."""

# matplotlib is an optional extra: types are checked with and without it.
# pyright: reportMissingImports=false

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot

from training.songs import STEMS

pyplot = cast("Any", matplotlib.pyplot)


def draw_curves(log: Path, picture: Path) -> None:
    """Draw loss and validation SDR over steps, from log.jsonl to a PNG."""
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    losses = {entry["step"]: entry["loss"] for entry in entries if "loss" in entry}
    scores = {entry["step"]: entry for entry in entries if "sdr" in entry}
    figure, (upper, lower) = pyplot.subplots(2, 1, sharex=True, figsize=(9, 7), layout="constrained")
    upper.plot(list(losses), list(losses.values()), linewidth=0.6)
    upper.set_ylabel("loss")
    for stem in STEMS:
        points = [(step, entry["sdr"][stem]) for step, entry in scores.items() if stem in entry["sdr"]]
        lower.plot(*zip(*points, strict=True), label=stem, marker=".") if points else None
    lower.plot(list(scores), [entry["mean"] for entry in scores.values()], "k--", label="mean")
    lower.set(xlabel="step", ylabel="validation SDR (dB)")
    lower.grid(alpha=0.3)
    lower.legend()
    figure.savefig(picture, dpi=90)
    pyplot.close(figure)

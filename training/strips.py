"""Draw the spectrograms of a separation: python -m training.strips --weights DIR ... --picture FILE.png."""

# matplotlib is an optional extra: types are checked with and without it.
# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, cast

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot
import numpy as np
import torch
from numpy.typing import NDArray

from training.config import read_config
from training.evaluate import by_model
from training.quality.metrics import sdr
from training.songs import SAMPLE_RATE, STEMS, open_rendered, open_songs
from training.weights import load_weights

pyplot = cast("Any", matplotlib.pyplot)

WINDOW, HOP = 2048, 1024
FLOOR_DB = -70.0


def draw_strips(
    mix: NDArray[np.float32], stems: NDArray[np.float32], estimates: NDArray[np.float32], picture: Path
) -> None:
    """Draws the mix (2, frames) on top, then truth and estimate of each stem (4, 2, frames) side by side."""
    figure, axes = pyplot.subplots(
        len(STEMS) + 1, 2, figsize=(12, 10), sharex=True, sharey=True, layout="constrained"
    )
    panels = [("mix", mix, axes[0][0])]
    axes[0][1].axis("off")
    for row, (name, truth, estimate) in enumerate(zip(STEMS, stems, estimates, strict=True), 1):
        panels.append((f"{name}: truth", truth, axes[row][0]))
        panels.append((f"{name}: estimate, SDR {sdr(truth, estimate):.1f} dB", estimate, axes[row][1]))
    images = [_draw_panel(axis, title, audio) for title, audio, axis in panels]
    for axis in axes[:, 0]:
        axis.set_ylabel("kHz")
    axes[-1][0].set_xlabel("s")
    axes[-1][1].set_xlabel("s")
    figure.colorbar(images[-1], ax=axes, label="dB", shrink=0.4)
    figure.savefig(picture, dpi=50)
    pyplot.close(figure)


def _draw_panel(axis: Any, title: str, audio: NDArray[np.float32]) -> Any:
    """Draws audio (2, frames) into matplotlib's Axes; returns its AxesImage."""
    image = axis.imshow(
        _levels(audio),
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=FLOOR_DB,
        vmax=0,
        extent=(0, audio.shape[1] / SAMPLE_RATE, 0, SAMPLE_RATE / 2000),
        interpolation="nearest",
    )
    axis.set_title(title, fontsize=9)
    axis.set_ylim(0, 12)
    return image


def _levels(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    spectrum = torch.stft(
        torch.from_numpy(audio.mean(axis=0)),
        WINDOW,
        HOP,
        window=torch.hann_window(WINDOW),
        return_complex=True,
    )
    return (20 * torch.log10(spectrum.abs() / 100 + 1e-6)).numpy()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument(
        "--weights", type=Path, required=True, help="folder of a bag, or the best.pt of a run"
    )
    parser.add_argument("--music", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--song", help="one of --music")
    parser.add_argument("--rendered", type=Path, help="folder of rendered songs; the first is drawn")
    parser.add_argument("--from", dest="begin", type=float, default=60.0, help="seconds")
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument(
        "--start", type=Path, help="initial weights of the run of --weights, to blend with them"
    )
    parser.add_argument("--picture", type=Path, required=True)
    args = parser.parse_args()
    if args.music:
        songs = open_songs(args.music, args.cache or args.music, read_config(args.config).data)
        song = next(song for song in songs if song.name == args.song)
    else:
        song = open_rendered(args.rendered)[0]
    begin, end = int(args.begin * SAMPLE_RATE), int((args.begin + args.seconds) * SAMPLE_RATE)
    stems = np.ascontiguousarray(song.stems[:, begin:end].transpose(0, 2, 1), dtype=np.float32)
    model = load_weights(read_config(args.config), args.weights, args.start)
    mix = stems.sum(axis=0)
    estimates = by_model(model)(mix, stems)
    draw_strips(mix, stems, np.stack([estimates[name] for name in STEMS]), args.picture)


if __name__ == "__main__":
    main()

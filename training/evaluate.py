"""Evaluate weights: python -m training.evaluate --weights DIR --music DIR --song NAME ...

Plain SDR of every stem over a whole song, compared with methods without training: silence (0 dB by definition), the
mixture as every stem, a split by signal processing alone, and the best possible mask of this resolution.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from demucs import apply
from numpy.typing import NDArray
from torch import nn

from mismo_grpc.separation.allocator import keep_freed_memory
from training.config import read_config
from training.quality.dsp_split import HOP, WINDOW, dsp_split
from training.quality.metrics import sdr
from training.songs import SAMPLE_RATE, SOUNDING_DBFS, STEMS, Song, open_rendered, open_songs
from training.weights import load_weights

Audio = NDArray[np.float32]
Method = Callable[[Audio, Audio], Mapping[str, Audio]]
"""From a mix (2, frames) and the true stems (4, 2, frames) to estimates."""


def by_model(model: nn.Module) -> Method:
    """Separate as demucs does, with overlap 0.25."""

    # demucs annotates the model as one of its own classes, which a loaded model need not be.
    demucs_apply: Any = apply

    def separate(mix: Audio, _: Audio) -> dict[str, Audio]:
        mono = mix.mean(axis=0)
        mean, std = float(mono.mean()), float(mono.std()) + 1e-8
        normal = torch.from_numpy((mix - mean) / std)[None]
        with torch.no_grad():
            stems = demucs_apply.apply_model(model, normal, shifts=0, split=True, overlap=0.25)[0]
        audio = np.asarray(stems.numpy() * std + mean, dtype=np.float32)
        return dict(zip(STEMS, audio, strict=True))

    return separate


def by_ideal_mask(mix: Audio, stems: Audio) -> dict[str, Audio]:
    """Mask the mixture by the ratio of the true magnitudes, at the model's resolution."""
    window = torch.hann_window(WINDOW)
    estimates: dict[str, Audio] = {}
    spectra = torch.stft(
        torch.from_numpy(stems).flatten(0, 1), WINDOW, HOP, window=window, return_complex=True
    )
    magnitudes = spectra.reshape(len(STEMS), 2, *spectra.shape[-2:]).abs()
    total = magnitudes.sum(dim=0) + 1e-9
    mixed = torch.stft(torch.from_numpy(mix), WINDOW, HOP, window=window, return_complex=True)
    for name, magnitude in zip(STEMS, magnitudes, strict=True):
        masked = mixed * (magnitude / total)
        estimates[name] = torch.istft(masked, WINDOW, HOP, window=window, length=mix.shape[1]).numpy()
    return estimates


METHODS: dict[str, Method] = {
    "mixture": lambda mix, _: dict.fromkeys(STEMS, mix),
    "dsp": lambda mix, _: dsp_split(mix),
    "ideal mask": by_ideal_mask,
}


def evaluate(song: Song, method: Method, seconds: tuple[float, float] | None = None) -> dict[str, float]:
    """Return the SDR of every stem with sound; for a silent one, as "NAME (silent)", the estimate's level in dB.

    The level is relative to the mix.
    """
    begin, end = (int(s * SAMPLE_RATE) for s in seconds) if seconds else (0, song.frames)
    stems = np.ascontiguousarray(song.stems[:, begin:end].transpose(0, 2, 1), dtype=np.float32)
    mix = stems.sum(axis=0)
    estimates = method(mix, stems)
    found: dict[str, float] = {}
    for name, truth in zip(STEMS, stems, strict=True):
        if 10 * np.log10(np.square(truth, dtype=np.float64).mean() + 1e-20) > SOUNDING_DBFS:
            found[name] = sdr(truth, estimates[name])
        else:
            found[f"{name} (silent)"] = -sdr(mix, mix - estimates[name])
    return {name: round(value, 2) for name, value in found.items()}


def table(report: dict[str, dict[str, dict[str, float]]]) -> str:
    """Render the report as a Markdown table: a line for every song and method, then the mean over active stems."""
    lines = [f"| song | method | {' | '.join(STEMS)} | mean |", "|---|---|" + "---|" * (len(STEMS) + 1)]
    totals: dict[str, dict[str, list[float]]] = {}
    for song, methods in report.items():
        for method, figures in methods.items():
            active = [figures[stem] for stem in STEMS if stem in figures]
            for stem in STEMS:
                if stem in figures:
                    totals.setdefault(method, {}).setdefault(stem, []).append(figures[stem])
            cells = [
                f"{figures[stem]:.2f}" if stem in figures else f"silent: {figures[f'{stem} (silent)']:.1f}"
                for stem in STEMS
            ]
            lines.append(f"| {song} | {method} | {' | '.join(cells)} | {sum(active) / len(active):.2f} |")
    for method, stems in totals.items():
        means = [sum(stems[stem]) / len(stems[stem]) for stem in STEMS]
        every = [value for values in stems.values() for value in values]
        cells = " | ".join(f"**{mean:.2f}**" for mean in means)
        lines.append(f"| **all** | {method} | {cells} | **{sum(every) / len(every):.2f}** |")
    return "\n".join(lines)


def main() -> None:
    """Command line: prints a Markdown table, song by song and method by method."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="folder of a bag, or the best.pt of a run")
    parser.add_argument(
        "--start", type=Path, help="initial weights of the run of --weights, to blend with them"
    )
    parser.add_argument("--music", type=Path, help="song folders with four .ogg stems")
    parser.add_argument("--cache", type=Path, help="folder for decoded songs")
    parser.add_argument("--song", action="append", default=[], help="only this one of --music; repeatable")
    parser.add_argument("--seconds", type=float, nargs=2, metavar=("FROM", "TO"), help="only this stretch")
    parser.add_argument("--rendered", type=Path, help="folder of songs from training.rendering")
    parser.add_argument("--peers", action="store_true", help="also evaluate the methods without training")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    # Otherwise mapping the tensors of each segment again takes a third of the time.
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    songs: list[Song] = []
    config = read_config(args.config)
    if args.music:
        songs = open_songs(args.music, args.cache or args.music, config.data)
        songs = [song for song in songs if not args.song or song.name in args.song]
    if args.rendered:
        songs += open_rendered(args.rendered)
    if not songs:
        parser.error("give --music, --rendered or both")
    methods = dict(METHODS) if args.peers else {}
    if args.weights:
        methods["model"] = by_model(load_weights(config, args.weights, args.start))
    report: dict[str, dict[str, dict[str, float]]] = {}
    for song in songs:
        began = time.perf_counter()
        report[song.name] = {name: evaluate(song, method, args.seconds) for name, method in methods.items()}
        print(song.name, report[song.name], f"{time.perf_counter() - began:.0f} s", flush=True)
    print(table(report))


if __name__ == "__main__":
    main()

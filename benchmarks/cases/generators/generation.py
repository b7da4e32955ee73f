"""Measures the generators: a stem of each kind, its first block, a long song's memory, and what analyses find in it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.case import ROOT, Bench, Case
from benchmarks.commands import THREAD_VARIABLES, timed
from benchmarks.music.ours import estimate_all
from benchmarks.music.scores import beat_scores, chord_scores, key_score
from benchmarks.music.tiny_musicgen import NAME as TINY_NAME
from benchmarks.music.tiny_musicgen import save_tiny_musicgen
from benchmarks.process_memory import peak_rss
from benchmarks.table import Row
from mismo_grpc.analysis.mix import MixFile
from mismo_grpc.generation.annotation import key_label
from mismo_grpc.generation.generator import SAMPLE_RATE
from mismo_grpc.generation.musicgen.musicgen_generator import MusicgenGenerator
from mismo_grpc.generation.musicgen.weights import MusicgenWeights
from mismo_grpc.generation.options import TARGET_STEMS, GenerationOptions
from mismo_grpc.generation.songs.styles import STYLES
from mismo_grpc.generation.songs.synthetic_generator import SyntheticGenerator
from mismo_grpc.generation.songs.writing import truth

NAME = "generation"
STEM_SECONDS = 10.0
STEM_LIMIT, FIRST_LIMIT = 1.0, 3.0
LONG_SECONDS = 1800.0
MEMORY_MB = 300
SONG_SECONDS = 30.0
CHILD_SECONDS = 500.0


async def run(bench: Bench) -> list[Row]:
    """Measures in child processes with one thread, so that a figure is one of a single core."""
    rows: list[Row] = []
    stems = await _child(bench, "stems", str(bench.few(5, 2)))
    for stem in TARGET_STEMS:
        rows.append(_stem_row(stem, stems[f"{stem} seconds"], stems[f"{stem} first"]))
    bench.say("stems measured")
    seconds = LONG_SECONDS / bench.few(1, 6)
    rows.append(_long_row(seconds, await _child(bench, "long", str(seconds))))
    bench.say("a long song measured")
    rows += _truth_rows(await _child(bench, "truth", str(bench.few(len(STYLES), 3)), str(bench.folder)))
    if find_spec("transformers") is None:
        bench.say("MusicGen left out: it needs the extra `generation`")
        return rows
    tokens = await _child(bench, "tokens", str(bench.folder))
    return [*rows, _tokens_row(tokens)]


def _stem_row(stem: str, seconds: Sequence[float], first: Sequence[float]) -> Row:
    worst = max(seconds)
    return Row(
        NAME,
        f"synthetic {stem}, {STEM_SECONDS:g} s on one core",
        f"≤ {STEM_LIMIT:g} s",
        f"{worst:.2f} s at worst of {len(seconds)}, {STEM_SECONDS / worst:.0f} × real time; "
        f"first block {max(first):.2f} s",
        met=worst <= STEM_LIMIT,
        figures={"seconds": list(seconds), "first_block_seconds": list(first)},
    )


def _long_row(seconds: float, found: dict[str, list[float]]) -> Row:
    first, whole, grown = found["first"][0], found["whole"][0], found["grown"][0] / 1e6
    return Row(
        NAME,
        f"all seven stems of {seconds / 60:g} minutes on one core",
        f"first block ≤ {FIRST_LIMIT:g} s, memory ≤ {MEMORY_MB} MB more than at the start",
        f"first block {first:.2f} s, whole {whole:.0f} s ({seconds / whole:.0f} × real time), {grown:.0f} MB",
        met=first <= FIRST_LIMIT and grown <= MEMORY_MB,
        figures={"first_block_seconds": first, "seconds": whole, "megabytes": grown},
    )


def _truth_rows(found: dict[str, list[float]]) -> list[Row]:
    count = len(found["tempo"])
    what = f"{count} styles at 120 BPM in A minor, {SONG_SECONDS:g} s, all stems mixed"
    measured = (
        ("tempo within 1 % of 120 BPM, half and double allowed", "tempo", 1.0),
        ("key: mean weighted score", "key", 0.9),
        ("chords: mean weighted overlap, major and minor", "chords", 0.9),
        ("beats: mean F-measure within 70 ms", "beats", 0.9),
    )
    return [
        Row(
            NAME,
            f"{what}; {name}",
            f"≥ {reach:g}",
            f"{np.mean(found[key]):.3f} (least {min(found[key]):.2f})",
            met=float(np.mean(found[key])) >= reach,
            figures={key: found[key]},
        )
        for name, key, reach in measured
    ]


def _tokens_row(found: dict[str, list[float]]) -> Row:
    rate = median(found["rates"])
    return Row(
        NAME,
        "MusicGen, tiny model with random weights (2 layers of 16): steps of four codebooks on one core",
        "",
        f"{rate:.0f} a second (median of {len(found['rates'])})",
        met=None,
        figures={"rates": found["rates"]},
    )


async def _child(bench: Bench, *arguments: str) -> dict[str, list[float]]:
    """Runs a measurement of this module in a process of its own; returns what it wrote."""
    answer = bench.folder / f"generation-{arguments[0]}.json"
    environment = {**bench.environment, **dict.fromkeys(THREAD_VARIABLES, "1")}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "generated")])
    command = [sys.executable, "-m", "benchmarks.cases.generators.generation", str(answer), *arguments]
    await timed(command, bench.folder / "generation.log", environment, CHILD_SECONDS, cwd=ROOT)
    return await asyncio.to_thread(lambda: json.loads(answer.read_text()))


def _rendered(options: GenerationOptions) -> tuple[NDArray[np.float32], float, float]:
    """Returns the stems (stems, frames, 2), and the seconds until the first block and until the end."""
    begin = time.perf_counter()
    blocks: list[NDArray[np.float32]] = []
    first = 0.0
    for _, block in SyntheticGenerator().render(options, lambda: False, lambda share: None):
        first = first or time.perf_counter() - begin
        blocks.append(block)
    return np.concatenate(blocks, axis=1), first, time.perf_counter() - begin


def measure_stems(count: str) -> dict[str, list[float]]:
    """Renders each kind of stem, in another style each time; the first one, which imports and warms up, is dropped."""
    _rendered(GenerationOptions(("drums",), seconds=1.0))
    found: dict[str, list[float]] = {}
    for stem in TARGET_STEMS:
        for seed in range(int(count)):
            style = tuple(STYLES)[seed * 3 % len(STYLES)]
            _, first, whole = _rendered(
                GenerationOptions((stem,), seconds=STEM_SECONDS, style=style, random_seed=seed)
            )
            found.setdefault(f"{stem} seconds", []).append(whole)
            found.setdefault(f"{stem} first", []).append(first)
    return found


def measure_long(seconds: str) -> dict[str, list[float]]:
    """Renders all stems of a long song and keeps nothing."""
    _rendered(GenerationOptions(TARGET_STEMS, seconds=1.0))
    before, begin, first = peak_rss(), time.perf_counter(), 0.0
    options = GenerationOptions(TARGET_STEMS, seconds=float(seconds), random_seed=1)
    for _ in SyntheticGenerator().render(options, lambda: False, lambda share: None):
        first = first or time.perf_counter() - begin
    whole = time.perf_counter() - begin
    return {"first": [first], "whole": [whole], "grown": [float(peak_rss() - before)]}


def measure_truth(count: str, folder: str) -> dict[str, list[float]]:
    """Analyses the mix of a song of each style, and compares what is found with the truth."""
    found: dict[str, list[float]] = {"tempo": [], "key": [], "chords": [], "beats": []}
    for seed, style in enumerate(tuple(STYLES)[: int(count)]):
        options = GenerationOptions(
            TARGET_STEMS, seconds=SONG_SECONDS, style=style, key="A minor", random_seed=seed
        )
        mix = _rendered(options)[0].sum(axis=0).astype("<f4")
        path = Path(folder) / "generation.f32"
        mix.tofile(path)
        estimate = estimate_all(MixFile(path, len(mix), 2, SAMPLE_RATE))
        song, tempo = truth(options), estimate.tempo or 0.0
        found["tempo"].append(float(any(abs(tempo - t) <= 0.01 * t for t in (60.0, 120.0, 240.0))))
        found["key"].append(key_score(key_label(song.key), estimate.key or ""))
        found["chords"].append(chord_scores(song.chords, estimate.chords or ())["chord_majmin"])
        found["beats"].append(beat_scores(song.beats, estimate.beats or ())["beat_f"])
    return found


def measure_tokens(folder: str) -> dict[str, list[float]]:
    """Generates with the tiny model; the first run, which loads it, is dropped."""
    save_tiny_musicgen(Path(folder) / TINY_NAME)
    generator = MusicgenGenerator(MusicgenWeights(f"mismo/{TINY_NAME}", (Path(folder),)))
    rates: list[float] = []
    for _ in range(4):
        steps: list[float] = []
        begin = time.perf_counter()
        for _ in generator.render(GenerationOptions(("drums",), seconds=5.0), lambda: False, steps.append):
            pass
        rates.append(len(steps) / (time.perf_counter() - begin))
    return {"rates": rates[1:]}


MEASUREMENTS: dict[str, Callable[..., dict[str, list[float]]]] = {
    "stems": measure_stems,
    "long": measure_long,
    "truth": measure_truth,
    "tokens": measure_tokens,
}

CASE = Case(NAME, "generators: time and memory of stems, and what analyses find in them", run)

if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(MEASUREMENTS[sys.argv[2]](*sys.argv[3:])))

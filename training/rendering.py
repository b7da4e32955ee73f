"""Render generated songs: python -m training.rendering --out DIR --songs N --font FILE [--font FILE ...].

Each song is composed from its seed. FluidSynth plays its instruments with a sound font (the numpy voices of
mismo_grpc.generation play some parts); its singers are formant synthesis, or espeak-ng resampled to the melody. A song
is one .npy file of four stems, like the decoded songs of training.songs. Existing files are not rendered again.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mismo_grpc.generation.composer import DRUM_MACHINES, Brief, compose
from mismo_grpc.generation.score import Composition, Part
from mismo_grpc.generation.synthetic import render_part
from mismo_grpc.generation.tempo import TempoMap
from training.midi import play
from training.songs import SAMPLE_RATE, STEMS
from training.speech import sing

Audio = NDArray[np.float32]

NUMPY_VOICES_SHARE = 0.25
"""Of the instrumental stems."""
NUMPY_MACHINES_SHARE = 0.75
"""Of the drum machines: a font has two of them, and their kicks are short."""
SPEECH_SHARE = 0.5
"""Of the sung parts."""
STEM_LEVELS_DB = {"drums": -21.0, "bass": -21.0, "other": -24.0, "vocals": -23.0}
"""RMS while sounding, similar to the real songs."""


def render_song(seed: int, seconds: float, fonts: list[Path]) -> NDArray[np.float16]:
    """Render the stems of one song, (4, frames, 2) in the order of STEMS; the mix peaks at 0.9 or below."""
    song = compose(Brief(seconds=seconds), seed)
    return np.stack(render_composition(song, int(seconds * SAMPLE_RATE), seed, fonts)).astype(np.float16)


def render_composition(song: Composition, frames: int, seed: int, fonts: list[Path]) -> list[Audio]:
    """Render the stems of a composition, each (frames, 2) in the order of STEMS; the mix peaks at 0.9 or below."""
    rng = np.random.default_rng([seed, 1])
    stems = [_stem(song, name, frames, fonts, rng) for name in STEMS]
    for name, stem in zip(STEMS, stems, strict=True):
        sounding = np.square(stem).mean(axis=1) > 1e-8
        if sounding.any():
            level = 10 * np.log10(float(np.square(stem[sounding]).mean()))
            stem *= 10 ** ((STEM_LEVELS_DB[name] + rng.normal(0, 2) - level) / 20)
    peak = float(np.abs(np.sum(stems, axis=0)).max())
    return [stem * min(1.0, 0.9 / max(peak, 1e-9)) for stem in stems]


def _stem(song: Composition, name: str, frames: int, fonts: list[Path], rng: np.random.Generator) -> Audio:
    parts = [part for part in song.parts if part.stem == name]
    seed = int(rng.integers(2**31))
    if name == "vocals":
        return np.sum([_sung(part, song.tempo_map, frames, seed + i) for i, part in enumerate(parts)], axis=0)
    machine = name == "drums" and any(part.program in DRUM_MACHINES for part in parts)
    # No sound font has a bass an octave below the bass guitar.
    sub = any(part.voice == "sub bass" for part in parts)
    if sub or rng.random() < (NUMPY_MACHINES_SHARE if machine else NUMPY_VOICES_SHARE):
        voices = [render_part(p, song.tempo_map, frames, SAMPLE_RATE, seed + i) for i, p in enumerate(parts)]
        return np.sum(voices, axis=0)
    font = fonts[int(rng.integers(len(fonts)))]
    return play(parts, song.tempo_map, font, frames, room=bool(rng.random() < 0.6))


def _sung(part: Part, tempo: TempoMap, frames: int, seed: int) -> Audio:
    rng = np.random.default_rng(seed)
    if rng.random() >= SPEECH_SHARE:
        return render_part(part, tempo, frames, SAMPLE_RATE, seed)
    sung = sing(replace(part, level=0.0), tempo, frames, SAMPLE_RATE, rng)
    return np.repeat(sung[:, None], 2, axis=1)


def _render_to(path: Path, seed: int, seconds: float, fonts: list[Path]) -> str:
    partial = path.with_suffix(".partial.npy")
    np.save(partial, render_song(seed, seconds, fonts))
    partial.rename(path)
    return path.name


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for rendered-SEED.npy")
    parser.add_argument("--songs", type=int, default=120)
    parser.add_argument("--seconds", type=float, default=40.0, help="length of each")
    parser.add_argument("--first-seed", type=int, default=0, help="seeds go up from here")
    parser.add_argument("--font", type=Path, action="append", required=True, help="sound font; repeatable")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    missing = [str(font) for font in args.font if not font.is_file()]
    if missing:
        parser.error(f"no such sound font: {', '.join(missing)}")
    args.out.mkdir(parents=True, exist_ok=True)
    seeds = range(args.first_seed, args.first_seed + args.songs)
    paths = {seed: args.out / f"rendered-{seed:06d}.npy" for seed in seeds}
    todo = {seed: path for seed, path in paths.items() if not path.exists()}
    with ProcessPoolExecutor(args.workers, get_context("spawn")) as pool:
        jobs = [pool.submit(_render_to, path, seed, args.seconds, args.font) for seed, path in todo.items()]
        for done, job in enumerate(jobs, 1):
            print(f"\r{done}/{len(jobs)} {job.result()}", end="", flush=True)
    print()


if __name__ == "__main__":
    main()

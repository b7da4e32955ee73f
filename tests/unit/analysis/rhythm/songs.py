"""Composed songs with their truth, rendered once; and measures of beats against it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from mismo_grpc.generation.annotation import annotate
from mismo_grpc.generation.composer import Brief, compose
from mismo_grpc.generation.synthetic import render

Samples = npt.NDArray[np.float32]
Times = npt.NDArray[np.float64]

RATE = 22_050
TOLERANCE = 0.07
"""Seconds within which a beat is found, as in mir_eval."""


@dataclass(frozen=True)
class Song:
    """A mix [frames, 2] at RATE with its true tempo, beats and downbeats."""

    audio: Samples
    tempo: float
    beats_per_bar: int
    beats: Times
    downbeats: Times


@cache
def song(tempo: float, seed: int, seconds: float = 32.0, beats_per_bar: int | None = None) -> Song:
    """A composed song without its singers, which take the longest to render."""
    composition = compose(Brief(seconds, tempo=tempo, beats_per_bar=beats_per_bar), seed)
    truth = annotate(composition)
    parts = tuple(part for part in composition.parts if part.stem != "vocals")
    stems = render(replace(composition, parts=parts), sample_rate=RATE, seed=seed)
    mix = sum(stems.values(), np.zeros((1, 2), np.float32))
    return Song(mix, tempo, truth.beats_per_bar, np.array(truth.beats), np.array(truth.downbeats))


def warped(original: Song, speed: Callable[[Times], Times]) -> Song:
    """Plays a song at a speed that depends on the place in it, from 0 to 1; `tempo` becomes the mean."""
    seconds = len(original.audio) / RATE
    place = np.linspace(0.0, 1.0, 4001)
    speeds = speed(place)
    played = np.concatenate([[0.0], np.cumsum(2.0 * np.diff(place) * seconds / (speeds[1:] + speeds[:-1]))])
    source = np.interp(np.arange(int(played[-1] * RATE)) / RATE, played, place * seconds) * RATE
    frames = np.arange(len(original.audio))
    audio = np.stack([np.interp(source, frames, channel) for channel in original.audio.T], axis=1)

    def moved(times: Times) -> Times:
        return np.interp(times, place * seconds, played)

    tempo = original.tempo * seconds / float(played[-1])
    return Song(
        audio.astype(np.float32),
        tempo,
        original.beats_per_bar,
        moved(original.beats),
        moved(original.downbeats),
    )


def f_measure(truth: npt.ArrayLike, found: npt.ArrayLike) -> float:
    """The F-measure of beats, of which those before 5 s do not count, as in mir_eval."""
    reference, estimated = (np.asarray(times)[np.asarray(times) >= 5.0] for times in (truth, found))
    if len(reference) == 0 or len(estimated) == 0:
        return 0.0
    hits = int((np.abs(reference[:, np.newaxis] - estimated).min(axis=1) <= TOLERANCE).sum())
    return 2 * hits / (len(reference) + len(estimated))


def drum_loop(beats: npt.NDArray[np.floating], seconds: float, seed: int = 0, rate: int = RATE) -> Samples:
    """Kick and snare in turn on the given beats, and a hi-hat on beats and between them, as mono [frames]."""
    random = np.random.default_rng(seed)
    audio = 1e-4 * random.standard_normal(round(seconds * rate))
    time = np.arange(round(0.15 * rate)) / rate
    kick = np.sin(2 * np.pi * (50 * time + 8 * np.exp(-30 * time) / -30)) * np.exp(-25 * time)
    noise = random.standard_normal(len(time))
    snare = 0.5 * noise * np.exp(-30 * time)
    hat = 0.15 * np.diff(noise, prepend=0.0) * np.exp(-90 * time)
    halves = (beats[1:] + beats[:-1]) / 2
    hits = [(at, (kick, snare)[index % 2]) for index, at in enumerate(beats)]
    for at, sound in (*hits, *((at, hat) for at in beats), *((at, hat) for at in halves)):
        begin = round(at * rate)
        part = sound[: max(0, len(audio) - begin)]
        audio[begin : begin + len(part)] += 0.5 * part
    return audio.astype(np.float32)

"""Composed songs with their truth: what they sound like, and where their beats, chords and sections are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mismo_grpc.generation.annotation import Annotation, annotate
from mismo_grpc.generation.composer import Brief, compose
from mismo_grpc.generation.synthetic import render

RATE = 22_050
"""Half the usual sample rate, so that a song takes half the time to render."""

Audio = npt.NDArray[np.float32]


class Song(NamedTuple):
    """`audio` is the sum of the `stems` (drums, bass, other, vocals), each [frames, 2], read-only."""

    audio: Audio
    sample_rate: int
    truth: Annotation
    stems: Mapping[str, Audio]


@cache
def song(
    seconds: float = 30.0,
    tempo: float | None = None,
    key: str | None = None,
    tempo_end: float | None = None,
    *,
    beats_per_bar: int | None = None,
    chords: tuple[str, ...] = (),
    sample_rate: int = RATE,
    seed: int = 0,
) -> Song:
    """Composes and renders a song; the same arguments give the same song, which is rendered once in a process.

    What is None or empty is drawn by the seed. A minute at 22,050 Hz takes about 1.3 s of one core.
    """
    brief = Brief(seconds, tempo, key, chords, tempo_end, beats_per_bar)
    composition = compose(brief, seed)
    stems = render(composition, sample_rate=sample_rate, seed=seed)
    audio = np.asarray(np.sum(list(stems.values()), axis=0, dtype=np.float32))
    for samples in (audio, *stems.values()):
        samples.flags.writeable = False
    return Song(audio, sample_rate, annotate(composition), stems)

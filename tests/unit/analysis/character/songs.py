"""Short composed songs: their stems, and the same notes played by acoustic and by synthetic instruments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mismo_grpc.generation.composer import Brief, compose
from mismo_grpc.generation.synthetic import Audio, render
from tests.support.songs import song

RATE = 44_100
ACOUSTIC = {"other": ("piano", "guitar", "strings"), "bass": ("electric bass",), "drums": 8}
SYNTHETIC = {"other": ("synth", "pad"), "bass": ("synth bass", "sub bass"), "drums": 24}


def stems(seed: int) -> Mapping[str, Audio]:
    """The stems of a composed song of 12 s."""
    return song(12.0, seed=seed, sample_rate=RATE).stems


def mix(of: Mapping[str, Audio]) -> Audio:
    return np.sum(list(of.values()), axis=0)


def instruments(seed: int, synthetic: bool) -> Audio:
    """A song whose instruments are all acoustic (but for an electric bass) or all synthetic."""
    rng = np.random.default_rng(seed)
    chosen = SYNTHETIC if synthetic else ACOUSTIC
    composition = compose(Brief(seconds=6), seed)
    parts = [
        replace(part, program=chosen["drums"])
        if part.stem == "drums"
        else replace(part, voice=str(rng.choice(chosen[part.stem])))
        for part in composition.parts
        if part.stem != "vocals"
    ]
    return mix(render(replace(composition, parts=tuple(parts)), sample_rate=RATE, seed=seed))

"""The interface of an instrument that was drawn from a seed, and sounds that several instruments share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mismo_grpc.generation.waves import Mono, Rng, Stereo, band, chorus, noise, seconds_of

Tone = Callable[[int, float, int, Rng], Mono]
"""Renders one note of a given length: MIDI pitch, strength (0 to 1), frames, randomness."""


class Finish(Protocol):
    """Processes all notes of a part together, from one channel to two."""

    def __call__(self, signal: Mono, at: int = 0) -> Stereo:
        """Processes (frames,) to (2, frames); `at` is the song's frame at which the signal begins."""
        ...


def centred(signal: Mono, at: int = 0) -> Stereo:
    """The same in both channels."""
    return np.stack([signal, signal])


@dataclass(frozen=True)
class Timbre:
    """An instrument drawn from the seed.

    `tone` renders a held note; `release` is the decay after it is released (seconds); `variants` is the number of
    variants of each note, played in turn; `finish` processes all notes of a part together.
    """

    tone: Tone
    release: float
    variants: int = 1
    finish: Finish = centred


def knock(loud: float, low: float, high: float, frames: int, rate: int, rng: Rng) -> Mono:
    """The noise of a hammer, a pick or a key: 30 ms of noise, then silence up to the length of the note."""
    out = np.zeros(frames, dtype=np.float32)
    length = min(frames, int(0.03 * rate))
    burst = noise(length, band(low, high), rate, rng) * np.exp(-seconds_of(length, rate) / 0.005)
    out[:length] = loud * burst
    return out


def chorused(depth: float, speed: float, rate: int, rng: Rng) -> Finish:
    """A chorus whose depth varies at random between instruments."""
    depth *= rng.uniform(0.5, 1.5)
    speed *= rng.uniform(0.7, 1.4)
    turn = int(rng.integers(2**31))

    def finish(signal: Mono, at: int = 0) -> Stereo:
        return chorus(signal, depth, speed, rate, np.random.default_rng(turn), at)

    return finish

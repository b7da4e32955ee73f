"""Instruments that play one melody: winds and solo synthesisers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mismo_grpc.generation.line import Manner, Played, follow_level, one_at_a_time, perform, trace
from mismo_grpc.generation.waves import Curve, Mono, Rng, Spectra, band, noise, resonant


@dataclass(frozen=True)
class _Sound:
    """The tone of an instrument: `even` is the level of the even harmonics, `slope` how fast all harmonics fall,
    `formant` the body's resonance (Hz, 0: none), `breath` the level of breath noise, `attack` in seconds."""

    even: float
    slope: float
    formant: float
    breath: float
    attack: float


# By General MIDI program. That a clarinet lacks even harmonics and a flute has few at all, and where trumpet, oboe
# and saxophone have their formants: J. Meyer, Acoustics and the Performance of Music, 5th edition, chapter 3.
_SOUNDS = MappingProxyType(
    {
        56: _Sound(1.0, 0.7, 1300.0, 0.01, 0.03),
        64: _Sound(1.0, 0.9, 1100.0, 0.03, 0.04),
        65: _Sound(1.0, 0.8, 800.0, 0.04, 0.04),
        66: _Sound(1.0, 0.8, 550.0, 0.05, 0.04),
        68: _Sound(1.0, 0.6, 1100.0, 0.01, 0.04),
        71: _Sound(0.1, 0.9, 1500.0, 0.02, 0.04),
        73: _Sound(0.6, 2.2, 0.0, 0.12, 0.06),
        80: _Sound(0.0, 1.0, 0.0, 0.0, 0.012),
        81: _Sound(1.0, 1.0, 0.0, 0.0, 0.012),
        82: _Sound(0.3, 1.8, 0.0, 0.10, 0.03),
    }
)
_OTHERWISE = _Sound(1.0, 1.0, 1000.0, 0.0, 0.02)


Melody = Callable[[Sequence[Played], int, Rng], Mono]
"""Plays notes one at a time over a number of frames: (frames,)."""


def play_melody(notes: Sequence[Played], program: int, frames: int, rate: int, rng: Rng) -> Mono:
    """Plays the notes one at a time on one instrument: (frames,)."""
    return draw_soloist(program, rate, rng)(notes, frames, rng)


def draw_soloist(program: int, rate: int, rng: Rng) -> Melody:
    """Draws an instrument, which can then play several melodies."""
    sound = _SOUNDS.get(program, _OTHERWISE)
    blown = sound.breath > 0
    manner = Manner(
        attack=sound.attack * rng.uniform(0.7, 1.6),
        release=rng.uniform(0.03, 0.1),
        glide=rng.uniform(0.008, 0.02) if blown else rng.uniform(0.005, 0.08),
        scoop=rng.uniform(0.0, 0.4),
        vibrato=rng.uniform(0.08, 0.35),
        speed=rng.uniform(4.5, 6.5),
        delay=rng.uniform(0.15, 0.4),
        drift=0.02 if blown else 0.004,
    )
    slope = sound.slope * rng.uniform(0.9, 1.15)
    formant = sound.formant * rng.uniform(0.92, 1.08)
    cutoff, q = rng.uniform(2500, 6000), rng.uniform(0.7, 1.8)

    def play(notes: Sequence[Played], frames: int, rng: Rng) -> Mono:
        contour = perform(one_at_a_time(notes), frames, manner, rate, rng)

        def spectra(span: slice, hz: Curve, number: NDArray[np.int64]) -> Spectra:
            frequencies = np.outer(hz, number)
            loud = number**-slope * np.where(number % 2, 1.0, sound.even)
            loud = loud * resonant(frequencies, cutoff * (0.3 + contour.level[span, None]), q)
            if formant:
                loud = loud * (0.4 + 1.6 / (1 + ((frequencies - formant) / (0.4 * formant)) ** 2))
            return (-1j * loud).astype(np.complex64)

        out = trace(contour, spectra, frames, rate)
        if blown:
            air = noise(frames, band(800, 6000), rate, rng)
            out += follow_level(air, contour.level * sound.breath * 0.5, rate)
        return out

    return play

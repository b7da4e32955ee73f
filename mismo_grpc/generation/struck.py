"""Instruments that are struck or plucked and then decay: each partial with its own decay time.

Each function draws a `Timbre` from the General MIDI program, the sample rate and randomness.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from mismo_grpc.generation.timbre import Timbre, centred, chorused, knock
from mismo_grpc.generation.waves import (
    SIXTY_DB,
    TOP,
    Curve,
    Mono,
    Rng,
    Stereo,
    band,
    bent_sine,
    equalise,
    fade_in,
    hertz,
    resonant,
    ring,
    saturate,
    seconds_of,
)

_KARPLUS_RATE = 44100.0
"""The sample rate of the string's delay line; its harmonics decay as at this rate, whatever the output's rate is."""

# Partials of tuned bars, by General MIDI program: Fletcher & Rossing, The Physics of Musical Instruments,
# 2nd edition, chapter 19. Beside them how fast the pitch itself fades (seconds at middle C).
_BARS = MappingProxyType(
    {11: ((1.0, 4.0, 10.0), 6.0), 12: ((1.0, 3.9, 9.2), 1.2), 13: ((1.0, 3.0, 6.0), 0.6)}
)


def electric_bass(program: int, rate: int, rng: Rng) -> Timbre:
    """A bass guitar: acoustic (32), fingers (33), pick (34), fretless (35), slapped (36, 37)."""
    slap = program in (36, 37)
    pluck = rng.uniform(0.08, 0.14) if program == 34 or slap else rng.uniform(0.15, 0.28)
    tone_knob = {32: 700.0, 33: 1100.0, 34: 2200.0, 35: 900.0}.get(program, 3500.0) * rng.uniform(0.7, 1.4)
    sustain = (3.0 if program == 32 else 7.0) * rng.uniform(0.7, 1.3)
    attack = 0.012 if program == 35 else 0.003

    def tone(pitch: int, strength: float, frames: int, rng: Rng) -> Mono:
        cutoff = tone_knob * (0.6 + 0.8 * strength)
        string = _string(hertz(pitch), pluck, cutoff, sustain, frames, rate, rng)
        click = 0.25 if slap else 0.06
        return fade_in(string + knock(click * strength, 900.0, 3500.0, frames, rate, rng), attack, rate)

    return Timbre(tone, 0.06, 2)


def guitar(program: int, rate: int, rng: Rng) -> Timbre:
    """A guitar: nylon (24), steel (25), jazz (26), clean electric (27), muted (28)."""
    acoustic = program in (24, 25)
    cutoff = {24: 1800.0, 25: 4500.0, 26: 1400.0, 27: 3500.0, 28: 1600.0}.get(program, 3000.0)
    cutoff *= rng.uniform(0.75, 1.35)
    sustain = (0.35 if program == 28 else 4.0) * rng.uniform(0.7, 1.4)
    pluck = rng.uniform(0.1, 0.3)
    # The resonances of the air in an acoustic body, and of its top plate.
    air, plate = rng.uniform(95, 115), rng.uniform(190, 230)

    def tone(pitch: int, strength: float, frames: int, rng: Rng) -> Mono:
        bright = cutoff * (0.5 + strength)
        wave = _string(hertz(pitch), pluck, bright, sustain, frames, rate, rng)
        return fade_in(wave + knock(0.08 * strength, 1800.0, 6000.0, frames, rate, rng), 0.0015, rate)

    def body(frequencies: Curve) -> Curve:
        peaks = sum(1.2 / (1 + ((frequencies - hz) / 18) ** 2) for hz in (air, plate))
        return (1 + peaks) * band(60, 0)(frequencies)

    def resonated(signal: Mono, at: int = 0) -> Stereo:
        return centred(equalise(signal, body, rate))

    spread = chorused(0.0012, 0.6, rate, rng)
    return Timbre(tone, 0.09, 2, resonated if acoustic else spread)


def distorted_guitar(program: int, rate: int, rng: Rng) -> Timbre:
    """An electric guitar, its strings overdriven together (29) or more so (30), through a speaker cabinet."""
    drive = rng.uniform(3, 8) * (2.5 if program == 30 else 1.0)
    pluck, sustain = rng.uniform(0.08, 0.2), rng.uniform(5, 9)
    before = band(rng.uniform(110, 220), 3500, 1)
    cabinet = band(rng.uniform(75, 110), rng.uniform(3800, 5500), 3)

    def tone(pitch: int, strength: float, frames: int, rng: Rng) -> Mono:
        wave = _string(hertz(pitch), pluck, 3500 * (0.6 + 0.5 * strength), sustain, frames, rate, rng)
        return fade_in(wave, 0.002, rate)

    def amplified(signal: Mono, at: int = 0) -> Stereo:
        driven = equalise(signal, before, rate)
        return centred(equalise(saturate(driven * np.float32(drive)), cabinet, rate))

    return Timbre(tone, 0.07, 2, amplified)


def piano(program: int, rate: int, rng: Rng) -> Timbre:
    """A piano: stiff strings, two slightly detuned ones a note; bright (1), electric (2), honky-tonk (3)."""
    apart = rng.uniform(4, 9) if program == 3 else rng.uniform(0.2, 0.9)
    brightness = rng.uniform(0.8, 1.3) * (1.5 if program in (1, 2) else 1.0)
    hammer = rng.uniform(0.10, 0.14)
    sustain = rng.uniform(0.7, 1.3)

    def tone(pitch: int, strength: float, frames: int, rng: Rng) -> Mono:
        hz = hertz(pitch)
        # Stiffness stretches the partials: Fletcher, J. Acoust. Soc. Am. 36 (1964); B grows up the keyboard.
        stiffness = 3e-4 * 2.0 ** ((pitch - 60) / 8)
        number = np.arange(1, 1 + int(np.clip(9000 / hz, 4, 36)))
        partials = hz * number * np.sqrt(1 + stiffness * number**2) / np.sqrt(1 + stiffness)
        loud = np.abs(np.sin(np.pi * number * hammer)) / number
        loud *= resonant(partials, (900 + 3500 * strength) * brightness, 0.6) * rng.uniform(
            0.8, 1.2, len(number)
        )
        decay = sustain * 12 * 2.0 ** ((48 - pitch) / 17) / (1 + 0.12 * (number - 1))
        # Two strings at almost one pitch: a fast start and a slow end (Weinreich, J. Acoust. Soc. Am. 62, 1977).
        second = partials * 2 ** (apart / 1200)
        strings = ring(
            np.concatenate([partials, second]),
            np.concatenate([decay * 0.6, decay * 1.6]),
            np.concatenate([loud, loud * 0.5]),
            rng.uniform(-0.5, 0.5, 2 * len(number)) - np.pi / 2,
            frames,
            rate,
        )
        return fade_in(strings + knock(0.15 * strength, 80.0, 900.0, frames, rate, rng), 0.002, rate)

    return Timbre(tone, rng.uniform(0.1, 0.3), finish=chorused(0.0006, 0.2, rate, rng))


def electric_piano(program: int, rate: int, rng: Rng) -> Timbre:
    """An electric piano by frequency modulation of two sines; harpsichord (6) and clavinet (7) are strings."""
    if program in (6, 7):
        pluck = rng.uniform(0.06, 0.12)
        sustain = rng.uniform(2.0, 5.0) if program == 6 else rng.uniform(0.8, 2.0)
        cutoff = rng.uniform(4000, 7000) if program == 6 else rng.uniform(2500, 4500)

        def plucked(pitch: int, strength: float, frames: int, rng: Rng) -> Mono:
            bright = cutoff * (0.8 + 0.4 * strength)
            return fade_in(_string(hertz(pitch), pluck, bright, sustain, frames, rate, rng), 0.0015, rate)

        return Timbre(plucked, 0.08)
    index, decay = rng.uniform(0.5, 1.8), rng.uniform(0.4, 1.5)
    tine, sustain = rng.uniform(0.05, 0.3), rng.uniform(2.5, 6.0)

    def tone(pitch: int, strength: float, frames: int, rng: Rng) -> Mono:
        hz = hertz(pitch)
        body = bent_sine(hz, 1.0, index * (0.4 + strength), decay, frames, rate)
        # The struck tine, far above the pitch: Chowning, J. Audio Eng. Soc. 21 (1973), below the highest frequency.
        ratio = min(14.0, np.floor(TOP * rate / 2.5 / hz))
        bell = bent_sine(hz, max(1.0, ratio), 0.8 * strength, 0.15, frames, rate)
        clock = seconds_of(frames, rate)
        fall = np.exp(-SIXTY_DB * clock / (sustain * 2.0 ** ((60 - pitch) / 24)))
        return fade_in(((body + tine * bell * np.exp(-clock / 0.2)) * fall).astype(np.float32), 0.002, rate)

    return Timbre(tone, 0.12, finish=chorused(0.002, 0.8, rate, rng))


def pluck(program: int, rate: int, rng: Rng) -> Timbre:
    """Something struck or plucked: vibraphone (11), marimba (12), xylophone (13), else strings (45, 46, 107)."""
    if program in _BARS:
        ratios, fade = _BARS[program]
        hardness, fade = rng.uniform(0.3, 0.9), fade * rng.uniform(0.7, 1.4)

        def bar(pitch: int, strength: float, frames: int, rng: Rng) -> Mono:
            number = np.arange(len(ratios))
            loud = (hardness * (0.4 + 0.6 * strength)) ** number
            decay = fade * 2.0 ** ((60 - pitch) / 16) / (1 + 2.5 * number)
            wave = ring(hertz(pitch) * np.array(ratios), decay, loud, -np.pi / 2, frames, rate)
            return fade_in(wave + knock(0.1 * strength, 500.0, 3000.0, frames, rate, rng), 0.0015, rate)

        return Timbre(bar, 0.4, finish=chorused(0.0004, 5.0, rate, rng))
    cutoff = {45: 1500.0, 46: 2200.0, 107: 4500.0}.get(program, 3000.0) * rng.uniform(0.75, 1.3)
    sustain = {45: 0.6, 46: 4.0, 107: 1.8}.get(program, 2.0) * rng.uniform(0.8, 1.3)
    place = rng.uniform(0.08, 0.35)

    def tone(pitch: int, strength: float, frames: int, rng: Rng) -> Mono:
        bright = cutoff * (0.6 + 0.7 * strength)
        return fade_in(_string(hertz(pitch), place, bright, sustain, frames, rate, rng), 0.002, rate)

    return Timbre(tone, 0.25, 2, chorused(0.0008, 0.4, rate, rng))


def _string(hz: float, pluck: float, cutoff: float, sustain: float, frames: int, rate: int, rng: Rng) -> Mono:
    """A plucked string: `pluck` is the position (a share of its length), `sustain` the 60 dB decay of A2 in seconds.

    The closed form of Karplus & Strong's loop (Computer Music Journal 7, 1983): each trip round the string averages two
    samples, which multiplies a harmonic of frequency f by cos(pi f / rate). So each harmonic decays exponentially at a
    known rate, and the pitch need not be a whole number of samples.
    """
    number = np.arange(1, 1 + max(1, int(min(10000.0, TOP * rate) / hz)))
    frequencies = hz * number
    lost = SIXTY_DB / (sustain * np.sqrt(110 / hz)) - hz * np.log(np.cos(np.pi * frequencies / _KARPLUS_RATE))
    # The spectrum of a string pulled aside, with a small variation of each pluck.
    loud = np.sin(np.pi * number * pluck) / number * resonant(frequencies, max(cutoff, hz), 0.7)
    loud *= rng.uniform(0.7, 1.3, len(number))
    return ring(frequencies, SIXTY_DB / lost, loud / np.sin(np.pi * pluck), 0.0, frames, rate)

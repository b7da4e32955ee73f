"""Instruments that sound as long as a note is held: waves through a moving filter.

Each function draws a `Timbre` from the General MIDI program, the sample rate and randomness.
"""

from __future__ import annotations

import numpy as np

from mismo_grpc.generation.timbre import Timbre, chorused, knock
from mismo_grpc.generation.waves import (
    TOP,
    Curve,
    Mono,
    Rng,
    bent_sine,
    fade_in,
    hertz,
    oscillate,
    resonant,
    ring,
    saturate,
    seconds_of,
)

_HOP_SECONDS = 0.01


def synth_bass(program: int, rate: int, rng: Rng) -> Timbre:
    """A synthesiser's bass: a saw or a square through a resonant low-pass, or a sine modulated by another one."""
    if rng.random() < 0.3:
        index, decay = rng.uniform(0.5, 3.0), rng.uniform(0.08, 0.4)
        ratio = float(rng.choice((1.0, 2.0, 3.0)))

        def sub(pitch: int, strength: float, frames: int, rng: Rng) -> Mono:
            wave = bent_sine(hertz(pitch), ratio, index * (0.5 + strength), decay, frames, rate)
            return fade_in(wave, 0.004, rate)

        return Timbre(sub, 0.05)
    width = float(rng.choice((0.0, 0.5, rng.uniform(0.15, 0.4))))
    cutoff, rise = rng.uniform(180, 500), rng.uniform(2.0, 10.0)
    q, decay = rng.uniform(0.8, 4.0), rng.uniform(0.06, 0.4)
    below = rng.uniform(0.0, 0.5)

    def tone(pitch: int, strength: float, frames: int, rng: Rng) -> Mono:
        hz = hertz(pitch)
        clock = np.arange(_rows(frames, rate)) * _HOP_SECONDS
        opened = np.maximum(cutoff, 1.5 * hz) * (1 + rise * (0.4 + strength) * np.exp(-clock / decay))
        wave = _filtered_wave(hz, width, opened, q, (0.0,), frames, rate, rng)
        # A sine at the pitch keeps the low end when the filter is nearly closed.
        wave += np.float32(below) * np.sin(2 * np.pi * hz * seconds_of(frames, rate)).astype(np.float32)
        return fade_in(wave, 0.003, rate)

    return Timbre(tone, rng.uniform(0.03, 0.12))


def sub_bass(program: int, rate: int, rng: Rng) -> Timbre:
    """A synthesiser's deepest bass: a sine or a triangle, driven a little, with next to nothing above 200 Hz."""
    triangle = float(rng.choice((0.0, 0.0, 1.0)))
    drive, octave = rng.uniform(0.2, 1.8), rng.uniform(0.0, 0.4)
    attack = float(rng.choice((0.005, 0.02, rng.uniform(0.05, 0.3))))
    # Two slightly detuned oscillators make the level rise and fall.
    beating, second = rng.uniform(0.1, 0.8), float(rng.choice((0.0, 0.0, rng.uniform(0.2, 0.7))))

    def tone(pitch: int, strength: float, frames: int, rng: Rng) -> Mono:
        turn = 2 * np.pi * hertz(pitch) * seconds_of(frames, rate)
        wave = np.sin(turn) - triangle * np.sin(3 * turn) / 9 + octave * np.sin(2 * turn)
        wave += second * np.sin(turn + 2 * np.pi * beating * seconds_of(frames, rate))
        return fade_in(saturate((drive * wave).astype(np.float32)) / np.float32(drive), attack, rate)

    return Timbre(tone, rng.uniform(0.03, 0.25))


def organ(program: int, rate: int, rng: Rng) -> Timbre:
    """A drawbar organ through a rotating speaker; a church organ (19) has slightly detuned ranks of pipes."""
    church = program == 19
    # The pitches of the nine drawbars (16', 5 1/3', 8', 4', 2 2/3', 2', 1 3/5', 1 1/3', 1'), the 8' being 1.
    ratios = np.array([0.5, 1.5, 1, 2, 3, 4, 5, 6, 8])
    drawn = rng.integers(0, 9, len(ratios)) * (rng.random(len(ratios)) < 0.6)
    drawn[2], drawn[0], drawn[1] = 8, min(drawn[0], 5), min(drawn[1], 4)
    if church:
        ratios = np.array([1, 1.003, 2, 2.002, 3, 4, 4.01, 6, 8])
        drawn = np.array([8, 5, 6, 4, 4, 5, 3, 3, 2])
    # A drawbar falls by 3 dB for each of its eight steps.
    loud = np.where(drawn > 0, 10 ** (-3.0 * (8 - drawn) / 20), 0.0)
    attack = 0.05 if church else 0.006
    percussion = 0.0 if church else float(rng.choice((0.0, 0.6)))

    def tone(pitch: int, strength: float, frames: int, rng: Rng) -> Mono:
        frequencies, turn = hertz(pitch) * ratios, rng.uniform(0, 2 * np.pi, len(ratios))
        wave = ring(frequencies, 1e6, loud, turn, frames, rate)
        if percussion:
            wave += ring(np.array([2 * hertz(pitch)]), 0.6, np.array([percussion]), 0.0, frames, rate)
        return fade_in(wave + knock(0.0 if church else 0.08, 1500.0, 6000.0, frames, rate, rng), attack, rate)

    return Timbre(tone, 0.3 if church else 0.03, finish=chorused(0.0004, 6.0, rate, rng))


def strings(program: int, rate: int, rng: Rng) -> Timbre:
    """A string section: several detuned saws with a slow attack."""
    attack = rng.uniform(0.03, 0.12) if program == 48 else rng.uniform(0.12, 0.35)
    cutoff, spread = rng.uniform(2200, 5000), rng.uniform(4, 11)

    def tone(pitch: int, strength: float, frames: int, rng: Rng) -> Mono:
        hz = hertz(pitch)
        shut = np.array([cutoff * (0.6 + 0.6 * strength)])
        detuned = (-spread, 0.0, spread * 0.8)
        return fade_in(_filtered_wave(hz, 0.0, shut, 0.7, detuned, frames, rate, rng), attack, rate)

    return Timbre(tone, rng.uniform(0.2, 0.5), finish=chorused(0.0025, 0.5, rate, rng))


def brass(program: int, rate: int, rng: Rng) -> Timbre:
    """A brass section: the louder, the brighter."""
    attack, spread = rng.uniform(0.03, 0.08), rng.uniform(3, 9)
    cutoff, q = rng.uniform(900, 1800), rng.uniform(0.8, 1.6)

    def tone(pitch: int, strength: float, frames: int, rng: Rng) -> Mono:
        clock = np.arange(_rows(frames, rate)) * _HOP_SECONDS
        swell = (1 - np.exp(-clock / attack)) * (0.7 + 0.3 * np.exp(-clock / 0.3))
        opened = cutoff * (0.3 + 2.5 * (0.3 + strength) * swell)
        return fade_in(
            _filtered_wave(hertz(pitch), 0.0, opened, q, (-spread, spread), frames, rate, rng), attack, rate
        )

    return Timbre(tone, 0.08, finish=chorused(0.0012, 0.4, rate, rng))


def pad(program: int, rate: int, rng: Rng) -> Timbre:
    """A pad: wide and slow, with a filter that opens and closes over seconds."""
    width = float(rng.choice((0.0, 0.5, rng.uniform(0.1, 0.4))))
    attack, spread = rng.uniform(0.15, 0.7), rng.uniform(5, 16)
    cutoff, swing, speed = rng.uniform(500, 1800), rng.uniform(0.3, 1.0), rng.uniform(0.1, 0.5)
    q = rng.uniform(0.7, 2.0)

    def tone(pitch: int, strength: float, frames: int, rng: Rng) -> Mono:
        clock = np.arange(_rows(frames, rate)) * _HOP_SECONDS
        opened = cutoff * 2 ** (swing * np.sin(2 * np.pi * speed * clock - 1.0)) * (0.7 + 0.6 * strength)
        detuned = (-spread, 0.0, spread)
        return fade_in(
            _filtered_wave(hertz(pitch), width, opened, q, detuned, frames, rate, rng), attack, rate
        )

    return Timbre(tone, rng.uniform(0.4, 1.5), finish=chorused(0.004, 0.3, rate, rng))


def synth(program: int, rate: int, rng: Rng) -> Timbre:
    """A synthesiser's keys: a square (80), a saw (81) or several, through a filter that closes during each note."""
    width = 0.5 if program == 80 else float(rng.choice((0.0, 0.0, rng.uniform(0.1, 0.4))))
    spread = rng.uniform(3, 14)
    detuned = (0.0,) if rng.random() < 0.4 else (-spread, spread)
    cutoff, rise = rng.uniform(400, 1500), rng.uniform(1.0, 8.0)
    q, decay, attack = rng.uniform(0.7, 4.0), rng.uniform(0.05, 0.5), rng.uniform(0.002, 0.03)

    def tone(pitch: int, strength: float, frames: int, rng: Rng) -> Mono:
        hz = hertz(pitch)
        clock = np.arange(_rows(frames, rate)) * _HOP_SECONDS
        opened = np.maximum(cutoff, 1.2 * hz) * (1 + rise * (0.4 + strength) * np.exp(-clock / decay))
        return fade_in(_filtered_wave(hz, width, opened, q, detuned, frames, rate, rng), attack, rate)

    return Timbre(tone, rng.uniform(0.04, 0.4), finish=chorused(0.0015, 0.5, rate, rng))


def _filtered_wave(
    hz: float,
    width: float,
    cutoff: Curve,
    q: float,
    detuned: tuple[float, ...],
    frames: int,
    rate: int,
    rng: Rng,
) -> Mono:
    """Saws (`width` 0) or pulses of that width, detuned by a few cents, through a low-pass.

    `cutoff` has one value for each 10 ms, or a single one.
    """
    number = np.arange(1, 1 + max(1, int(min(14000.0, TOP * rate) / hz)))
    wave = np.sin(np.pi * number * width) / number if width else 1 / number
    gains = wave * resonant(hz * number, cutoff[:, None], q)
    spectra = (-1j * gains / np.sqrt(len(detuned))).astype(np.complex64)
    hop = round(_HOP_SECONDS * rate)
    out = np.zeros(frames, dtype=np.float32)
    for cents in detuned:
        phase = np.arange(frames) * (hz * 2 ** (cents / 1200) / rate) + rng.uniform(0, 1)
        out += oscillate(spectra, hop, phase)
    return out


def _rows(frames: int, rate: int) -> int:
    """Returns how many 10 ms steps cover the frames."""
    return frames // round(_HOP_SECONDS * rate) + 2

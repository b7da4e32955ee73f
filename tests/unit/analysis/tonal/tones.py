"""Test signals with known pitches: chords of tones with harmonics, and sounds without a key."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mismo_grpc.generation.theory import Chord, Key, diatonic_chord, parse_chord

Samples = npt.NDArray[np.float32]

RATE = 22050
CADENCE = (0, 5, 3, 4, 0, 3, 4, 0)
"""Degrees that establish a key: each of its triads with the tonic's function, and the tonic most often."""


def note(pitch: float, seconds: float, rate: int = RATE, a4: float = 440.0, harmonics: int = 6) -> Samples:
    """A decaying tone of a MIDI pitch, [frames], whose harmonics fall by 6 dB an octave."""
    clock = np.arange(round(seconds * rate)) / rate
    hz = a4 * 2 ** ((pitch - 69) / 12)
    partials = [n for n in range(1, harmonics + 1) if n * hz < rate / 2]
    wave = np.zeros(len(clock))
    for n in partials:
        wave += np.sin(2 * np.pi * n * hz * clock + n) / n
    envelope = np.exp(-1.5 * clock) * np.minimum(1, clock / 0.01) * np.minimum(1, (seconds - clock) / 0.01)
    return np.asarray(0.1 * wave * envelope, np.float32)


def played(chord: Chord, seconds: float, rate: int = RATE, a4: float = 440.0) -> Samples:
    """A chord around middle C over its root in the bass, [frames]."""
    pitches = (*chord.voicing(62), 36 + (chord.root + 4) % 12 - 4)
    return np.asarray(np.sum([note(pitch, seconds, rate, a4) for pitch in pitches], axis=0), np.float32)


def progression(symbols: Sequence[str], seconds: float, rate: int = RATE, a4: float = 440.0) -> Samples:
    """Chords given by symbols such as "Am7", `seconds` each; "N" is silence."""
    silence = np.zeros(round(seconds * rate), np.float32)
    return np.concatenate(
        [silence if symbol == "N" else played(parse_chord(symbol), seconds, rate, a4) for symbol in symbols]
    )


def cadence(tonic: int, mode: str, a4: float = 440.0) -> Samples:
    """The chords of CADENCE in a key, a second each."""
    key = Key(tonic, mode)
    return np.concatenate([played(diatonic_chord(key, degree), 1.0, a4=a4) for degree in CADENCE])


def noise(seconds: float, rate: int = RATE, colour: float = 0.0, seed: int = 1) -> Samples:
    """Noise, [frames]; its power falls by 3 dB an octave times `colour`: 0 for white, 1 for pink, 2 for brown."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(round(seconds * rate)))
    spectrum /= np.maximum(1.0, np.arange(len(spectrum))) ** (colour / 2)
    wave = np.fft.irfft(spectrum, round(seconds * rate))
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def clicks(seconds: float, every: float, rate: int = RATE) -> Samples:
    """Single samples of 0.9, [frames]."""
    audio = np.zeros(round(seconds * rate), np.float32)
    audio[:: round(every * rate)] = 0.9
    return audio


def glides(seconds: float, rate: int = RATE) -> Samples:
    """A voice that speaks: syllables of harmonics whose pitch never rests, [frames]."""
    clock = np.arange(round(seconds * rate)) / rate
    hz = 120 + 30 * np.sin(2 * np.pi * 0.7 * clock) + 20 * np.sin(2 * np.pi * 1.9 * clock + 1)
    phase = 2 * np.pi * np.cumsum(hz) / rate
    wave = np.sum([np.sin(n * phase) / n for n in range(1, 20)], axis=0)
    return (0.1 * wave * (np.sin(2 * np.pi * 3 * clock) > -0.3)).astype(np.float32)

"""Sings with espeak-ng: it speaks a word for each note, and resampling gives the word the note's pitch."""

from __future__ import annotations

import subprocess
from functools import cache

import numpy as np
import soxr
from numpy.typing import NDArray

from mismo_grpc.generation.score import Part
from mismo_grpc.generation.tempo import TempoMap

Audio = NDArray[np.float32]

ESPEAK_RATE = 22050
VOICES = ("en-us", "en-gb", "de", "fr", "es", "it", "sv", "pl", "nl", "pt")
VARIANTS = ("", "+m1", "+m3", "+m5", "+m7", "+f1", "+f2", "+f3", "+f4", "+croak", "+whisper")
WORDS = tuple(
    "love night away tonight heart fire rain summer only never again dreaming higher river under over "  # noqa: SIM905
    "holding falling light shadow running call my name every morning stars ocean burning slowly golden "
    "la da na oh yeah hey ooh hallelujah mama radio dancing floor city water home believe remember you me".split()
)
PITCH_RANGE = (65.0, 600.0)
"""The range of a voice's pitch in Hz."""


@cache
def say(word: str, voice: str, speed: int, pitch: int) -> tuple[Audio, float]:
    """Speaks a word with espeak-ng; returns the samples at 22050 Hz and their pitch in Hz (0.0: none found).

    Raises FileNotFoundError without the command `espeak-ng`, CalledProcessError if it fails.
    """
    spoken = subprocess.run(
        ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", word],
        check=True,
        capture_output=True,
    ).stdout
    # The output is a WAV stream of unknown length: a header of 44 bytes, then 16-bit mono.
    integers = np.frombuffer(spoken[44 : 44 + (len(spoken) - 44) // 2 * 2], dtype="<i2")
    samples = integers.astype(np.float32) / np.float32(32768)
    sounding = np.flatnonzero(np.abs(samples) > 0.01)
    if not len(sounding):
        return np.zeros(0, dtype=np.float32), 0.0
    samples = samples[sounding[0] : sounding[-1] + 1]
    return samples, _pitch_of(samples)


def sing(part: Part, tempo: TempoMap, frames: int, sample_rate: int, rng: np.random.Generator) -> Audio:
    """Sings the part's notes, each with a word of its own: (frames,)."""
    voice = str(rng.choice(VOICES)) + str(rng.choice(VARIANTS))
    pitch = int(rng.integers(20, 90))
    out = np.zeros(frames, dtype=np.float32)
    for note in part.notes:
        begin = int(tempo.seconds(note.start) * sample_rate)
        length = int(tempo.seconds_between(note.start, note.duration) * sample_rate)
        if begin >= frames or length < 400:
            continue
        speed = int(np.clip(60 / max(0.15, length / sample_rate) * 1.3, 90, 400))
        spoken, spoken_pitch = say(str(rng.choice(WORDS)), voice, speed // 20 * 20, pitch)
        if not len(spoken):
            continue
        wanted = 440 * 2 ** ((note.pitch - 69) / 12)
        ratio = wanted / spoken_pitch if spoken_pitch else 1.0
        # Shifted by more than a fifth, speech sounds unnatural; so the octave nearest to the voice is used.
        octaves: float = np.log2(ratio)
        ratio *= 2.0 ** -round(octaves)
        sung = soxr.resample(spoken, ESPEAK_RATE * ratio, sample_rate, quality="LQ")
        sung = _stretched(sung, length)
        end = min(frames, begin + len(sung))
        out[begin:end] += sung[: end - begin] * (note.velocity / 100)
    return out


def _stretched(sung: Audio, length: int) -> Audio:
    """Cuts to the length with a fade; extends by repeating the loudest fifth of a second forwards and backwards."""
    fade = 600
    if len(sung) < length:
        hold = min(len(sung), 6000)
        energy = np.convolve(np.square(sung), np.ones(hold), "valid")
        start = int(energy.argmax())
        loop = sung[start : start + hold]
        middle = np.concatenate([loop, loop[::-1]])
        times = -(-(length - len(sung)) // len(middle))
        sung = np.concatenate([sung[: start + hold], np.tile(middle[::-1], times), sung[start + hold :]])
    sung = sung[:length].copy()
    tail = min(fade, len(sung))
    sung[-tail:] *= np.linspace(1, 0, tail, dtype=np.float32)
    return sung


def _pitch_of(samples: Audio) -> float:
    """Estimates the pitch of the loudest part, 65 to 600 Hz, by autocorrelation."""
    window = 4096
    middle = int(np.convolve(np.square(samples), np.ones(window), "same").argmax())
    piece = samples[max(0, middle - window // 2) :][:window]
    spectrum = np.fft.rfft(piece * np.hanning(len(piece)), 2 * window)
    correlation = np.fft.irfft(np.square(np.abs(spectrum)))
    low, high = (int(ESPEAK_RATE / pitch) for pitch in reversed(PITCH_RANGE))
    lag = low + int(correlation[low:high].argmax())
    voiced = correlation[lag] > 0.3 * correlation[0]
    return ESPEAK_RATE / lag if voiced else 0.0

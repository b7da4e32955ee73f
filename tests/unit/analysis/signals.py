"""Test signals: tones at a level, in sequence, as EBU Tech 3341 and 3342 describe them, and music-like noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

RATE = 48_000


def tone(dbfs: float, seconds: float, rate: int = RATE, channels: int = 2, hz: float = 1000.0) -> Samples:
    """A sine whose peak is at `dbfs` in every channel, [frames, channels]; -inf is silence."""
    wave = 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz / rate * np.arange(round(seconds * rate)))
    return np.repeat(wave.astype(np.float32)[:, np.newaxis], channels, axis=1)


def sequence(*parts: tuple[float, float], rate: int = RATE, repeat: int = 1) -> Samples:
    """Stereo tones of 1 kHz, (dBFS, seconds) each, one after the other."""
    return np.concatenate([tone(dbfs, seconds, rate) for dbfs, seconds in parts] * repeat)


def silence(seconds: float, rate: int = RATE, channels: int = 2) -> Samples:
    return np.zeros((round(seconds * rate), channels), np.float32)


def music(seconds: float, rate: int, channels: int = 2, seed: int = 1) -> Samples:
    """Noise that falls off towards high frequencies, with a beat and slow swells: every window differs."""
    random = np.random.default_rng(seed)
    frames = round(seconds * rate)
    spectrum = random.standard_normal((frames // 2 + 1, channels)) * np.exp(
        2j * np.pi * random.random((frames // 2 + 1, channels))
    )
    frequencies = np.fft.rfftfreq(frames, 1 / rate)[:, np.newaxis]
    shaped = np.fft.irfft(spectrum / (1 + frequencies / 200), frames, axis=0)
    time = np.arange(frames)[:, np.newaxis] / rate
    swell = 0.1 + 0.9 * np.square(np.sin(2 * np.pi * time / 23)) * np.exp(-5 * (time * 2 % 1))
    result = shaped * swell
    return (0.8 * result / np.abs(result).max()).astype(np.float32)

"""What an ear would tell of a sound: its lines, their pitch, the loudness of bands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE = 44100

Sound = NDArray[np.float32]


def magnitudes(sound: Sound) -> NDArray[np.float64]:
    """The spectrum of (frames,), windowed, eight times finer than its length gives."""
    return np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 8 * len(sound)))


def strongest_line(sound: Sound, low: float, high: float, rate: int = RATE) -> tuple[float, float]:
    """The frequency of the strongest line in [low, high] Hz, and its dB beside the strongest of all."""
    levels = magnitudes(sound)
    step = rate / (8 * len(sound))
    first = int(low / step)
    place = first + int(np.argmax(levels[first : int(high / step)]))
    return place * step, 20 * float(np.log10(levels[place] / levels.max()))


def cents(frequency: float, reference: float) -> float:
    """How far a frequency is above another."""
    return 1200 * float(np.log2(frequency / reference))


def share(sound: Sound, low: float, high: float, rate: int = RATE) -> float:
    """The share of the power of (frames,) that lies in [low, high] Hz."""
    power = magnitudes(sound) ** 2
    frequencies = np.arange(len(power)) * rate / (8 * len(sound))
    return float(power[(frequencies >= low) & (frequencies <= high)].sum() / power.sum())


def rms(sound: Sound) -> float:
    """Root of the mean power."""
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))

"""The K-weighting filter of ITU-R BS.1770-5, for any sample rate and for audio that comes in blocks.

The recommendation gives two biquads for 48 kHz. Both are bilinear transforms of analogue prototypes. The prototypes are
recovered from the table and transformed again for the given sample rate.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mismo_grpc.analysis.arrays import Samples, Values
from mismo_grpc.analysis.audio_source import MIN_SAMPLE_RATE

ROW_FRAMES = 64
"""The frames that one row of the matrix product filters."""
_FORGOTTEN = 1e-18
"""A state that has decayed to this share no longer changes the result."""


class Biquad(NamedTuple):
    """Coefficients of a second-order section; a0 is 1."""

    b0: float
    b1: float
    b2: float
    a1: float
    a2: float


TABLE_RATE = 48_000
SHELF = Biquad(1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585)
"""At 48 kHz, BS.1770-5, Annex 1, table 1: the effect of the head on high frequencies."""
HIGH_PASS = Biquad(1.0, -2.0, 1.0, -1.99004745483398, 0.99007225036621)
"""At 48 kHz, BS.1770-5, Annex 1, table 2: the revised low-frequency B-curve."""


def at_rate(section: Biquad, sample_rate: int) -> Biquad:
    """A section of the 48 kHz table, transformed for `sample_rate` Hz.

    With z⁻¹ = (1 - x) / (1 + x), where x = j·tan(π·frequency / rate), a section is a ratio of two polynomials in x.
    Another rate stretches x, here so that the section's natural frequency stays where it is.
    """
    above = _polynomial(section.b0, section.b1, section.b2)
    below = _polynomial(1.0, section.a1, section.a2)
    natural = math.sqrt(below[0] / below[2])
    frequency = math.atan(natural) * TABLE_RATE / math.pi
    stretch = natural / math.tan(math.pi * frequency / sample_rate)
    b0, b1, b2 = _coefficients(above, stretch)
    a0, a1, a2 = _coefficients(below, stretch)
    return Biquad(b0 / a0, b1 / a0, b2 / a0, a1 / a0, a2 / a0)


def _polynomial(c0: float, c1: float, c2: float) -> tuple[float, float, float]:
    """c0 + c1·z⁻¹ + c2·z⁻², times (1 + x)², by powers of x."""
    return c0 + c1 + c2, 2 * (c0 - c2), c0 - c1 + c2


def _coefficients(polynomial: tuple[float, float, float], stretch: float) -> tuple[float, float, float]:
    """The inverse of `_polynomial`, with x stretched; times 4, which cancels in a ratio."""
    p0, p1, p2 = polynomial[0], polynomial[1] * stretch, polynomial[2] * stretch * stretch
    return p0 + p1 + p2, 2 * (p0 - p2), p0 - p1 + p2


def k_weighting_gain(frequencies: Values) -> Values:
    """The gain in power of the K-weighting of ITU-R BS.1770-5 at each frequency in Hz, up to 24 kHz."""
    delay = np.exp(-2j * math.pi * np.minimum(frequencies, TABLE_RATE / 2) / TABLE_RATE)
    gain: Values = np.square(np.abs(_response(SHELF, delay) * _response(HIGH_PASS, delay)))
    return gain


def _response(section: Biquad, delay: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
    """The response of a section at z⁻¹ = `delay`."""
    above = section.b0 + delay * (section.b1 + delay * section.b2)
    below = 1.0 + delay * (section.a1 + delay * section.a2)
    response: npt.NDArray[np.complex128] = above / below
    return response


class KWeighting:
    """Filters audio of `channels` channels block by block; the result is the same as for the whole audio at once.

    The two sections are one linear system of four states. So one matrix product filters rows of ROW_FRAMES frames: each
    output is a weighted sum of the row's inputs and the four states at its start.

    Raises ValueError for a sample rate under MIN_SAMPLE_RATE.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        # The filter's shelf begins at 1.7 kHz, which must be well below half the sample rate.
        if sample_rate < MIN_SAMPLE_RATE:
            raise ValueError(
                f"loudness is defined from {MIN_SAMPLE_RATE} Hz on, not at {sample_rate} Hz: resample the audio"
            )
        step, into, out, direct = _cascade(at_rate(SHELF, sample_rate), at_rate(HIGH_PASS, sample_rate))
        powers = [np.eye(4)]
        for _ in range(ROW_FRAMES):
            powers.append(step @ powers[-1])
        response = np.array([direct, *(out @ power @ into for power in powers[: ROW_FRAMES - 1])])
        late = np.subtract.outer(np.arange(ROW_FRAMES), np.arange(ROW_FRAMES))
        self._from_inputs: Values = np.where(late >= 0, response[late], 0.0).T.copy()
        self._from_states: Values = np.array([out @ power for power in powers[:ROW_FRAMES]]).T.copy()
        self._to_states: Values = np.array([power @ into for power in reversed(powers[:ROW_FRAMES])])
        self._row_steps = _doublings(powers[ROW_FRAMES].T)
        self._states: Values = np.zeros((channels, 4))

    def filtered(self, block: Samples, channel: int) -> Values:
        """Filters the next frames of a channel; `block` is [frames], frames a multiple of ROW_FRAMES."""
        rows = block.reshape(-1, ROW_FRAMES).astype(np.float64)
        # states[n] is the state before row n; the last one is the state after all rows.
        states = np.empty((len(rows) + 1, 4))
        states[0] = self._states[channel]
        np.matmul(rows, self._to_states, out=states[1:])
        # Each step combines twice as many rows as the one before; rows further back have no effect any more.
        for distance, power in self._row_steps:
            if distance >= len(states):
                break
            states[distance:] += states[:-distance] @ power
        self._states[channel] = states[-1]
        weighted: Values = rows @ self._from_inputs
        weighted += states[:-1] @ self._from_states
        return weighted.reshape(-1)


def _cascade(first: Biquad, second: Biquad) -> tuple[Values, Values, Values, float]:
    """Two sections in a row, in direct form 2 transposed: (step, into, out, direct).

    The next state is step @ state + into · x, the output out @ state + direct · x.
    """

    def advance(state: Values, x: float) -> tuple[Values, float]:
        following = np.empty(4)
        for index, section in ((0, first), (2, second)):
            y = section.b0 * x + state[index]
            following[index] = section.b1 * x - section.a1 * y + state[index + 1]
            following[index + 1] = section.b2 * x - section.a2 * y
            x = float(y)
        return following, x

    columns = [advance(unit, 0.0) for unit in np.eye(4)]
    step = np.array([state for state, _ in columns]).T
    out = np.array([y for _, y in columns])
    into, direct = advance(np.zeros(4), 1.0)
    return step, into, out, direct


def _doublings(power: Values) -> list[tuple[int, Values]]:
    """(1, power), (2, power²), (4, power⁴), … until the powers are negligible."""
    found: list[tuple[int, Values]] = []
    distance = 1
    while float(np.abs(power).max()) > _FORGOTTEN:
        found.append((distance, power))
        distance, power = 2 * distance, power @ power
    return found

"""Sound synthesis: decaying partials, changing wavetables, filtered noise, filters and saturation.

Nothing here loops over frames in Python: partials are summed by a matrix product, filters run as FFTs.
Times are seconds and frequencies Hz unless a name says frames or cycles.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
Mono = NDArray[np.float32]
"""One channel: (frames,)."""
Stereo = NDArray[np.float32]
"""Two channels, not interleaved: (2, frames)."""
Curve = NDArray[np.floating[Any]]
Spectra = NDArray[np.complex64]
"""(moments, harmonics from the first up); each value is the harmonic's amplitude and phase."""
Gain = Callable[[Curve], Curve]
"""The gain of a filter at the given frequencies."""

SIXTY_DB = float(np.log(1000.0))
"""Nepers a second of a tone that falls by 60 dB in a second."""
TOP = 0.45
"""No sound is generated above this share of the sample rate, to avoid aliasing."""

_CHUNK = 1 << 18
_ONE_THREAD = 1 << 17
"""Multiplications of a product that OpenBLAS leaves to one thread; it divides those of more than twice as many."""

_tiled = ContextVar("tiled products", default=False)
_LONGEST_NOISE = 1 << 18


@contextmanager
def tiled_products() -> Generator[None]:
    """Inside, sounds have the same bytes whatever number of threads numpy may use.

    OpenBLAS divides large products of matrices among threads, and that changes the rounding. Products of small tiles
    are rounded otherwise than whole ones, so tiles are no default: they would change the songs that `mismo_lite` was
    trained on.
    """
    token = _tiled.set(True)
    try:
        yield
    finally:
        _tiled.reset(token)


def hertz(pitch: float) -> float:
    """The frequency of a MIDI pitch, tuned to A4 = 440 Hz."""
    return float(440.0 * 2.0 ** ((pitch - 69.0) / 12.0))


def ring(
    frequencies: Curve,
    decays: Curve | float,
    amplitudes: Curve,
    phases: Curve | float,
    frames: int,
    rate: int,
) -> Mono:
    """A sum of decaying cosines, each losing 60 dB in its own `decays`; frequencies that are too high are left out.

    Frame i * B + j of a partial is its complex value at i * B times its rotation over j frames, so the sum over all
    partials is a product of two small matrices.
    """
    heard = frequencies < TOP * rate
    frequencies, amplitudes = frequencies[heard], amplitudes[heard]
    decays, phases = (
        np.broadcast_to(np.asarray(v, dtype=float), heard.shape)[heard] for v in (decays, phases)
    )
    block = max(64, int(np.sqrt(frames)))
    turn = (2j * np.pi * frequencies - SIXTY_DB / decays) / rate
    begins = np.exp(np.arange(0, frames, block)[:, None] * turn + 1j * phases) * amplitudes
    within = np.exp(turn[:, None] * np.arange(block))
    left = np.concatenate([np.real(begins), -np.imag(begins)], axis=1).astype(np.float32)
    right = np.concatenate([np.real(within), np.imag(within)]).astype(np.float32)
    return _product(left, right).reshape(-1)[:frames]


def _product(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Multiplies two matrices, in tiles inside `tiled_products`."""
    if not _tiled.get():
        return left @ right
    rows, columns = left.shape[0], right.shape[1]
    side = max(1, int(np.sqrt(_ONE_THREAD / max(1, left.shape[1]))))
    out = np.empty((rows, columns), dtype=np.float32)
    for top in range(0, rows, side):
        for first in range(0, columns, side):
            out[top : top + side, first : first + side] = (
                left[top : top + side] @ right[:, first : first + side]
            )
    return out


def oscillate(spectra: Spectra, hop: int, phase: Curve) -> Mono:
    """A wave with a changing spectrum: row k of `spectra` is the spectrum at frame k * hop; a single row is constant.

    `phase` is in cycles, one value a frame. Between two rows the waves are interpolated; harmonic h of amplitude a is
    the real part of a * exp(2 pi i h phase).
    """
    rows, harmonics = spectra.shape
    # Eight samples for the shortest wave keep the interpolation error about 35 dB below that harmonic.
    size = 1 << max(8, (8 * harmonics - 1).bit_length())
    bins = np.zeros((rows, size // 2 + 1), dtype=np.complex64)
    bins[:, 1 : harmonics + 1] = spectra * np.float32(size / 2)
    tables = np.empty((rows, size + 1), dtype=np.float32)
    tables[:, :size] = np.fft.irfft(bins, size, axis=1)
    tables[:, size] = tables[:, 0]
    flat = tables.reshape(-1)
    place = (phase - np.floor(phase)) * size
    at = place.astype(np.intp)
    part = (place - at).astype(np.float32)
    if rows == 1:
        return _read(flat, at, part)
    clock = np.arange(len(phase))
    row = np.minimum(clock // hop, rows - 2)
    later = np.minimum((clock - row * hop) / hop, 1.0).astype(np.float32)
    at += row * (size + 1)
    wave = _read(flat, at, part)
    wave += (_read(flat, at + (size + 1), part) - wave) * later
    return wave


def _read(table: Mono, at: NDArray[np.intp], part: Mono) -> Mono:
    """Interpolates the table linearly between the values `at` and the next ones."""
    value = table[at]
    value += (table[at + 1] - value) * part
    return value


def bent_sine(hz: float, ratio: float, index: float, decay: float, frames: int, rate: int) -> Mono:
    """A sine, phase-modulated by a sine of `ratio` times its frequency; the modulation decays (`decay` in seconds)."""
    clock = seconds_of(frames, rate)
    turn = 2 * np.pi * hz * clock
    bend = np.sin(ratio * turn) * (index * np.exp(-clock / decay))
    return np.sin(turn + bend).astype(np.float32)


def noise(frames: int, gain: Gain, rate: int, rng: Rng) -> Mono:
    """Noise of RMS 1 with the spectrum of a filter; after about six seconds it repeats seamlessly."""
    size = min(1 << max(6, (frames - 1).bit_length()), _LONGEST_NOISE)
    bins = rng.standard_normal((2, size // 2 + 1), dtype=np.float32)
    shape = gain(np.fft.rfftfreq(size, 1 / rate)).astype(np.float32)
    made = np.fft.irfft((bins[0] + 1j * bins[1]) * shape, size)
    made /= max(float(np.sqrt(np.mean(np.square(made)))), 1e-12)
    return np.resize(made, frames).astype(np.float32)


def band(low: float, high: float, order: int = 2) -> Gain:
    """A band-pass: 6 dB an octave for each order outside [low, high]; 0 means no limit on that side."""

    def gain(frequencies: Curve) -> Curve:
        passed = np.ones_like(frequencies)
        if low:
            with np.errstate(divide="ignore"):
                passed /= np.sqrt(1 + (low / frequencies) ** (2 * order))
        if high:
            passed /= np.sqrt(1 + (frequencies / high) ** (2 * order))
        return passed

    return gain


def resonant(frequencies: Curve, cutoff: Curve | float, q: float) -> Curve:
    """The gain of a two-pole low-pass; it is `q` at the cutoff."""
    ratio = (frequencies / cutoff) ** 2
    return 1 / np.sqrt((1 - ratio) ** 2 + ratio / q**2)


def minimum_phase(gain: Gain, taps: int, rate: int) -> NDArray[np.float32]:
    """Returns the minimum-phase impulse response (taps,) of a gain.

    The cepstrum of the gain is folded onto positive times: Oppenheim & Schafer, Discrete-Time Signal Processing,
    3rd edition, section 13.8.
    """
    size = 4 * taps
    cepstrum = np.fft.irfft(np.log(np.maximum(gain(np.fft.rfftfreq(size, 1 / rate)), 1e-4)), size)
    cepstrum[1 : size // 2] *= 2
    cepstrum[size // 2 + 1 :] = 0
    return np.fft.irfft(np.exp(np.fft.rfft(cepstrum)), size)[:taps].astype(np.float32)


def convolve(signal: Mono, kernels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convolves the signal with each of the kernels (n, taps), to (n, frames), by overlap-add of FFT blocks."""
    count, taps = kernels.shape
    size = max(1 << 15, 1 << (4 * taps - 1).bit_length())
    responses = np.fft.rfft(kernels, size)
    frames = len(signal)
    out = np.zeros((count, frames), dtype=np.float32)
    for begin in range(0, frames, size - taps + 1):
        end = min(frames, begin + size)
        block = np.fft.rfft(signal[begin : begin + size - taps + 1], size)
        out[:, begin:end] += np.fft.irfft(block * responses, size)[:, : end - begin]
    return out


def equalise(signal: Mono, gain: Gain, rate: int) -> Mono:
    """Filters the signal with the given gain, without delay."""
    return convolve(signal, minimum_phase(gain, 1024, rate)[None])[0]


def saturate(signal: Mono) -> Mono:
    """Returns tanh of the signal, without most of the aliasing that plain tanh would cause.

    Antiderivative antialiasing of first order: Parker, Zavalishin & Le Bivic, DAFx-16.
    """
    out = np.empty_like(signal)
    for begin, end in chunks(len(signal)):
        x = signal[max(0, begin - 1) : end].astype(np.float64)
        x = x if begin else np.concatenate([x[:1], x])
        area = np.abs(x)
        area += np.log1p(np.exp(-2 * area))
        step = np.diff(x)
        still = np.abs(step) < 1e-4
        slope = np.diff(area) / np.where(still, 1.0, step)
        out[begin:end] = np.where(still, np.tanh((x[1:] + x[:-1]) / 2), slope)
    return out


def chorus(signal: Mono, depth: float, speed: float, rate: int, rng: Rng, at: int = 0) -> Stereo:
    """Adds a copy of the signal with a delay of 8 ms + `depth` ± `depth` seconds, `speed` cycles a second.

    `at` is the frame at which the signal begins, for a part of a longer one.
    """
    out = np.empty((2, len(signal)), dtype=np.float32)
    turn = rng.uniform(0, 1)
    lead = int((0.008 + 2 * depth) * rate) + 2
    for begin, end in chunks(len(signal)):
        seconds = np.arange(at + begin, at + end) / rate
        ahead = max(0, begin - lead)
        near = np.concatenate([np.zeros(lead - (begin - ahead), dtype=np.float32), signal[ahead:end]])
        for side in range(2):
            swing = np.sin(2 * np.pi * (speed * seconds + turn + side / 4))
            late = (0.008 + depth * (1 + swing)) * rate
            place = np.arange(end - begin) + lead - late
            whole = place.astype(np.intp)
            part = (place - whole).astype(np.float32)
            moved = near[whole] + (near[whole + 1] - near[whole]) * part
            out[side, begin:end] = 0.75 * signal[begin:end] + 0.5 * moved
    return out


def chunks(frames: int) -> Iterator[tuple[int, int]]:
    """Yields [begin, end) of chunks that are short enough to process in double precision."""
    return ((begin, min(begin + _CHUNK, frames)) for begin in range(0, frames, _CHUNK))


def seconds_of(frames: int, rate: int) -> Curve:
    """The time of each frame."""
    return np.arange(frames) / rate


def fade_in(signal: Mono, seconds: float, rate: int) -> Mono:
    """Fades the signal in over `seconds`, in place."""
    rise = min(len(signal), max(1, int(seconds * rate)))
    signal[:rise] *= (0.5 - 0.5 * np.cos(np.pi * np.arange(rise) / rise)).astype(np.float32)
    return signal


def fade_out(signal: NDArray[np.float32], seconds: float, rate: int) -> NDArray[np.float32]:
    """Fades the signal out over the last `seconds` of its last axis, in place; its last frame is 0."""
    fall = min(int(signal.shape[-1]), max(1, int(seconds * rate)))
    if fall:
        signal[..., -fall:] *= (0.5 + 0.5 * np.cos(np.pi * np.arange(1, fall + 1) / fall)).astype(np.float32)
    return signal

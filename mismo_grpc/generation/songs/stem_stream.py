"""Renders a stem window by window, with the samples that rendering it as a whole would give.

The windows of a stem lie on a fixed grid. What reaches from one window into the next (notes, effects, reverberation)
is carried over, and every gain is known before the first window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mismo_grpc.generation.line import Played
from mismo_grpc.generation.score import Part
from mismo_grpc.generation.songs.sounds import Placed, Sounds, sounds_of
from mismo_grpc.generation.synthetic import loudness_of, pan_gains, placed_notes
from mismo_grpc.generation.tempo import TempoMap
from mismo_grpc.generation.waves import Stereo

WINDOW = 1 << 16
"""Frames of a window: 1.5 s at 44,100 Hz."""
LEVELS = MappingProxyType(
    {
        "drums": 0.08,
        "bass": 0.08,
        "vocals": 0.07,
        "guitar": 0.062,
        "piano": 0.062,
        "synth": 0.062,
        "other": 0.062,
    }
)
"""RMS of a part of 0 dB where it plays most."""
ROOM_SENDS = MappingProxyType(
    {
        "drums": 0.1,
        "bass": 0.0,
        "vocals": 0.2,
        "guitar": 0.15,
        "piano": 0.18,
        "synth": 0.15,
        "other": 0.22,
    }
)
"""The level of each stem's reverberation; none for a bass, which would become unclear."""
LINEAR, CEILING = 0.6, 0.95
"""Samples up to LINEAR are kept; greater ones are bent so that they stay below CEILING."""

_CONTEXT = 4096
"""Frames before a window that effects may need; the longest, two equalisers in a row, need 2,048."""
_REFERENCE_WINDOWS = 2
_END_SECONDS = 0.01
"""Seconds of the fade at the end of a stem."""


class Stopped(Exception):  # noqa: N818  (no error: somebody asked for it)
    """`should_stop` returned True while a window was being rendered."""


class StemStream:
    """The windows of one stem, from its first to its last: (2, frames) each.

    `frames` is the length of the stem, `room` the impulse responses of the song's room. Any `window` gives
    the same stem, but for rounding.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        tempo: TempoMap,
        frames: int,
        rate: int,
        seeds: Sequence[int],
        room: NDArray[np.float32],
        *,
        window: int = WINDOW,
    ) -> None:
        self._parts = [
            _PartStream(part, tempo, frames, rate, seed, window)
            for part, seed in zip(parts, seeds, strict=True)
        ]
        send = max((ROOM_SENDS[part.stem] for part in parts), default=0.0)
        self._room = _Reverberation(send * room, window) if send else None
        self._frames, self._window = frames, window
        fall = max(1, min(frames, int(_END_SECONDS * rate)))
        self._fall = (0.5 + 0.5 * np.cos(np.pi * np.arange(1, fall + 1) / fall)).astype(np.float32)

    def windows(self, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Stereo]:
        """Yields the windows; raises Stopped as soon as `should_stop` returns True."""
        for begin in range(0, self._frames, self._window):
            end = min(begin + self._window, self._frames)
            out = np.zeros((2, self._window), dtype=np.float32)
            for part in self._parts:
                out += part.window(begin, should_stop)
            if self._room is not None:
                out += self._room.add(out.mean(axis=0))
            out = soft_bound(out[:, : end - begin])
            fading = self._frames - len(self._fall)
            if end > fading:
                first = max(begin, fading)
                out[:, first - begin :] *= self._fall[first - fading : end - fading]
            yield out


class _PartStream:
    """The windows of one part, in order."""

    def __init__(self, part: Part, tempo: TempoMap, frames: int, rate: int, seed: int, window: int) -> None:
        notes = placed_notes(part.notes, tempo, frames, rate)
        self._sounds = sounds_of(part, tempo, notes, rate, seed)
        self._finish = self._sounds.finish
        self._window = window
        self._next = 0
        self._sounding: list[Placed] = []
        self._context = np.zeros((self._sounds.channels, _CONTEXT), dtype=np.float32)
        left, right = pan_gains(part.pan)
        self._gain = np.zeros((2, 1), dtype=np.float32)
        if notes:
            played = self._reference(notes)
            wanted = LEVELS[part.stem] * 10 ** (part.level / 20)
            gain = wanted / max(loudness_of(played, rate), 1e-9)
            self._gain = np.array([[gain * left], [gain * right]], dtype=np.float32)

    def _reference(self, notes: Sequence[Played]) -> Stereo:
        """Returns the three seconds in which the part plays most, at its raw level: they set its gain."""
        heard = np.bincount([n.begin // WINDOW for n in notes], [n.loudness for n in notes])
        busy = np.convolve(heard, np.ones(_REFERENCE_WINDOWS))
        first = max(0, int(np.argmax(busy)) - _REFERENCE_WINDOWS + 1) * WINDOW
        length = _REFERENCE_WINDOWS * WINDOW
        dry = np.zeros((self._sounds.channels, length), dtype=np.float32)
        reached = [place for place in self._sounds.placed if place.begin < first + length]
        _add(self._sounds, reached, dry, first, lambda: False)
        return self._finish(dry[0], first) if self._finish is not None else dry

    def window(self, begin: int, should_stop: Callable[[], bool]) -> Stereo:
        """Returns the window that begins at a frame; windows must be asked for in order."""
        end = begin + self._window
        placed = self._sounds.placed
        while self._next < len(placed) and placed[self._next].begin < end:
            self._sounding.append(placed[self._next])
            self._next += 1
        dry = np.zeros((self._sounds.channels, _CONTEXT + self._window), dtype=np.float32)
        dry[:, :_CONTEXT] = self._context
        _add(self._sounds, self._sounding, dry[:, _CONTEXT:], begin, should_stop)
        self._sounding = [place for place in self._sounding if place.end > end]
        self._context = dry[:, -_CONTEXT:].copy()
        if self._finish is None:
            return dry[:, _CONTEXT:] * self._gain
        return self._finish(dry[0], begin - _CONTEXT)[:, _CONTEXT:] * self._gain


class _Reverberation:
    """Convolves the windows of a signal (frames,) with impulse responses (2, taps): overlap-save."""

    def __init__(self, responses: NDArray[np.float32], window: int) -> None:
        self._history = np.zeros(responses.shape[1] - 1, dtype=np.float32)
        self._size = 1 << (len(self._history) + window - 1).bit_length()
        self._responses = np.fft.rfft(responses, self._size)

    def add(self, window: NDArray[np.float32]) -> Stereo:
        """Returns the reverberation during a window."""
        heard = np.concatenate([self._history, window])
        self._history = heard[len(heard) - len(self._history) :]
        wet = np.fft.irfft(np.fft.rfft(heard, self._size) * self._responses, self._size)
        return wet[:, len(heard) - len(window) : len(heard)].astype(np.float32)


def soft_bound(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bends samples beyond LINEAR towards CEILING; each on its own, so that it does not matter where a window ends."""
    size = np.abs(samples)
    beyond = size > LINEAR
    if not beyond.any():
        return samples
    room = CEILING - LINEAR
    bent = LINEAR + room * np.tanh((size - LINEAR) / room)
    return np.where(beyond, np.copysign(bent, samples), samples).astype(np.float32)


def _add(
    sounds: Sounds,
    placed: Sequence[Placed],
    out: NDArray[np.float32],
    begin: int,
    should_stop: Callable[[], bool],
) -> None:
    """Adds sounds to a window, always in the same order, as the rounding of sums depends on it."""
    end = begin + out.shape[1]
    for place in placed:
        first, last = max(begin, place.begin), min(end, place.end)
        if first < last:
            if should_stop():
                raise Stopped
            out[:, first - begin : last - begin] += sounds.sound(
                place, first - place.begin, last - place.begin
            )

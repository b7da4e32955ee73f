"""Performs a melody with one voice: a pitch with glides and vibrato, a loudness, and a spectrum over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mismo_grpc.generation.waves import Curve, Mono, Rng, Spectra, chunks, oscillate

HOP_SECONDS = 0.01
"""Seconds between two moments; pitch, loudness and spectrum are computed for each moment."""
TAIL_SECONDS = 0.25
"""Seconds that a note may still sound after its end."""
_JOINED_SECONDS = 0.07
_CHUNK_MOMENTS = 1000


@dataclass(frozen=True)
class Played:
    """A note in frames, [begin, end), with a MIDI pitch or percussion key and a loudness (0 to 1)."""

    begin: int
    end: int
    pitch: int
    loudness: float


@dataclass(frozen=True)
class Manner:
    """How a voice moves from note to note: times in seconds, depths in semitones, `speed` in Hz.

    `glide` is the time to reach the next pitch, `scoop` how far below its pitch a first note begins; `vibrato` starts
    after `delay`; `drift` is the random variation of the pitch.
    """

    attack: float
    release: float
    glide: float
    scoop: float
    vibrato: float
    speed: float
    delay: float
    drift: float


@dataclass(frozen=True)
class Contour:
    """A performed melody with one value for each moment: `pitch` (fractional MIDI) and `level` (0 to 1)."""

    pitch: Curve
    level: Curve


def one_at_a_time(notes: Sequence[Played]) -> list[Played]:
    """Ends each note where the next begins; of notes that begin within 10 ms of each other only the last remains."""
    line: list[Played] = []
    for note, following in zip(notes, [*notes[1:], None], strict=True):
        end = note.end if following is None else min(note.end, following.begin)
        line.append(Played(note.begin, end, note.pitch, note.loudness))
    return [note for note in line if note.end > note.begin]


def perform(notes: Sequence[Played], frames: int, manner: Manner, rate: int, rng: Rng) -> Contour:
    """The contour of notes that do not overlap, over `frames` frames."""
    hop = hop_frames(rate)
    moments = frames // hop + 2
    pitch = np.full(moments, float(notes[0].pitch) if notes else 60.0)
    level = np.zeros(moments)
    tail = int(TAIL_SECONDS / HOP_SECONDS)
    for i, note in enumerate(notes):
        first, last = -(-note.begin // hop), -(-note.end // hop)
        end = min(last + tail, moments)
        if first >= end:
            continue
        joined = i > 0 and note.begin - notes[i - 1].end < _JOINED_SECONDS * rate
        age = np.arange(end - first) * HOP_SECONDS
        origin = pitch[max(0, first - 1)] if joined else note.pitch - manner.scoop
        tremble = np.clip((age - manner.delay) / 0.3, 0, 1) * manner.vibrato
        tremble = tremble * np.sin(2 * np.pi * manner.speed * rng.uniform(0.93, 1.07) * age)
        pitch[first:end] = note.pitch + (origin - note.pitch) * np.exp(-age / manner.glide) + tremble
        # After a note the pitch stays, so that the glide to the next note starts from it.
        pitch[end:] = pitch[end - 1]
        begun = level[max(0, first - 1)] if joined else 0.0
        rise = begun + (note.loudness - begun) * np.minimum(1, age / manner.attack)
        fall = np.exp(-np.maximum(0, age - (last - first) * HOP_SECONDS) / manner.release)
        level[first:end] = rise * fall
        level[end:] = 0
    unsteady = rng.standard_normal(moments) * 0.5 + np.convolve(
        rng.standard_normal(moments), np.ones(20) / 20, "same"
    )
    return Contour(pitch + manner.drift * unsteady, _smoothed(level))


def trace(
    contour: Contour, spectra: Callable[[slice, Curve, NDArray[np.int64]], Spectra], frames: int, rate: int
) -> Mono:
    """Renders the sound of a contour.

    `spectra` is called for slices of moments, with the slice, its pitch in Hz and the numbers of the harmonics; it
    returns (moments, harmonics).
    """
    hop = hop_frames(rate)
    hz = 440 * 2 ** ((contour.pitch - 69) / 12)
    top = min(12000.0, 0.45 * rate)
    out = np.zeros(frames, dtype=np.float32)
    turned = 0.0
    for first in range(0, frames // hop + 1, _CHUNK_MOMENTS):
        begin = first * hop
        length = min(frames - begin, _CHUNK_MOMENTS * hop)
        span = slice(first, first + -(-length // hop) + 1)
        if length <= 0 or not contour.level[span].any():
            continue
        moments = np.arange(span.stop - span.start) * hop
        clock = np.arange(length)
        phase = turned + np.cumsum(np.interp(clock, moments, hz[span])) / rate
        turned = float(phase[-1] % 1.0)
        number = np.arange(1, 1 + max(1, int(top / hz[span].min())))
        made = spectra(span, hz[span], number)
        # Harmonics fade out below the highest frequency; otherwise vibrato would switch them on and off.
        room = np.clip((top - np.outer(hz[span], number)) / (0.1 * top), 0, 1)
        loud = (made * (room * contour.level[span, None])).astype(np.complex64)
        out[begin : begin + length] = oscillate(loud, hop, phase)
    return out


def follow_level(air: Mono, level: Curve, rate: int) -> Mono:
    """Scales the signal to the loudness of each moment, in place."""
    moments = np.arange(len(level)) * hop_frames(rate)
    for begin, end in chunks(len(air)):
        air[begin:end] *= np.interp(np.arange(begin, end), moments, level).astype(np.float32)
    return air


def hop_frames(rate: int) -> int:
    """The frames between two moments."""
    return round(HOP_SECONDS * rate)


def _smoothed(level: Curve) -> Curve:
    """Smooths a level without moving any change earlier."""
    window = np.array([1.0, 2.0, 1.0]) / 4
    return np.convolve(level, window)[: len(level)]

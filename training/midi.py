"""Writes compositions as Standard MIDI Files, and plays them with sound fonts."""

from __future__ import annotations

import math
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from mismo_grpc.generation.score import Part
from mismo_grpc.generation.tempo import TempoMap, mean_tempo

TICKS = 480
"""Ticks in a beat."""
RAMP_STEP = TICKS // 4
DRUM_CHANNEL = 9
MELODIC_CHANNELS = tuple(c for c in range(16) if c != DRUM_CHANNEL)


def midi_file(parts: Sequence[Part], tempo: TempoMap) -> bytes:
    """Encodes the parts as a MIDI file of format 0; at most 15 parts besides drums.

    A ramp is written as steps of RAMP_STEP; each takes as long as its part of the ramp.
    Layout: Standard MIDI Files 1.0, MIDI Manufacturers Association 1988 (RP-001).
    """
    events = _tempi(tempo)
    channels = iter(MELODIC_CHANNELS)
    for part in parts:
        channel = DRUM_CHANNEL if part.stem == "drums" else next(channels)
        pan = round(64 + 63 * part.pan)
        volume = round(100 * 10 ** (part.level / 40))
        events.append((0, 1, bytes((0xC0 | channel, part.program))))
        events.append((0, 1, bytes((0xB0 | channel, 10, min(127, max(0, pan))))))
        events.append((0, 1, bytes((0xB0 | channel, 7, min(127, max(0, volume))))))
        for note in part.notes:
            start, end = round(note.start * TICKS), round((note.start + note.duration) * TICKS)
            events.append((start, 3, bytes((0x90 | channel, note.pitch, note.velocity))))
            events.append((max(end, start + 1), 2, bytes((0x80 | channel, note.pitch, 0))))
    track = bytearray()
    now = 0
    for tick, _, message in sorted(events):
        track += _variable_length(tick - now) + message
        now = tick
    track += b"\x00\xff\x2f\x00"
    header = b"MThd" + (6).to_bytes(4, "big") + b"\0\0\0\1" + TICKS.to_bytes(2, "big")
    return header + b"MTrk" + len(track).to_bytes(4, "big") + bytes(track)


def play(
    parts: Sequence[Part], tempo: TempoMap, font: Path, frames: int, *, room: bool
) -> NDArray[np.float32]:
    """Plays the parts with FluidSynth and a sound font: (frames, 2) at 44100 Hz.

    Raises FileNotFoundError without the command `fluidsynth`, CalledProcessError if it fails.
    """
    if not any(part.notes for part in parts):
        return np.zeros((frames, 2), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        score, sound = Path(folder) / "score.mid", Path(folder) / "sound.wav"
        score.write_bytes(midi_file(parts, tempo))
        effects = ["-R", "1" if room else "0", "-C", "1" if room else "0"]
        subprocess.run(
            [
                *("fluidsynth", "-ni", "-q", *effects, "-g", "0.6"),
                *("-r", "44100", "-O", "float", "-T", "wav", "-F", str(sound)),
                *(str(font), str(score)),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        audio, _ = soundfile.read(sound, dtype="float32", always_2d=True, frames=frames)
    return np.pad(np.asarray(audio, dtype=np.float32), ((0, frames - len(audio)), (0, 0)))


def _tempi(tempo: TempoMap) -> list[tuple[int, int, bytes]]:
    """The tempo events: ticks, rank among the events of that tick, message."""
    if tempo.constant:
        return [(0, 0, _set_tempo(tempo.start))]
    steps = math.ceil(tempo.length * TICKS / RAMP_STEP)
    events: list[tuple[int, int, bytes]] = []
    for tick in range(0, steps * RAMP_STEP, RAMP_STEP):
        begin, end = tempo.at(tick / TICKS), tempo.at((tick + RAMP_STEP) / TICKS)
        events.append((tick, 0, _set_tempo(mean_tempo(begin, end))))
    return events


def _set_tempo(tempo: float) -> bytes:
    """The event "set tempo" in microseconds a beat."""
    return b"\xff\x51\x03" + round(6e7 / tempo).to_bytes(3, "big")


def _variable_length(value: int) -> bytes:
    septets = [value & 0x7F]
    while value := value >> 7:
        septets.append(0x80 | (value & 0x7F))
    return bytes(reversed(septets))

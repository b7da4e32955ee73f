"""Writes the notes of each kind of instrument over chords: basses, chords, arpeggios, leads and sung lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from mismo_grpc.generation.score import Bar, Note
from mismo_grpc.generation.theory import Key, scale_pitches

Rng = np.random.Generator
Player = Callable[[Sequence[Bar], Key, Rng], list[Note]]
"""Writes the notes of one instrument over the given bars."""

BASS_LOW, BASS_HIGH = 28, 48
"""E1 to C3: the open strings of a bass guitar, and a little above them."""
SUB_LOW = 23
"""B0, 31 Hz: a sub-bass."""

BASS_RHYTHMS = (
    "x.......x.......",
    "x.x.x.x.x.x.x.x.",
    "..x...x...x...x.",
    "x..x..x.x..x..x.",
    "x.....x...x.x...",
    "x...x...x...x...",
    "x...............",
    "x..xx...x..x..x.",
    "xxxxxxxxxxxxxxxx",
)
SUB_RHYTHMS = (
    "x...............",
    "x...............",
    "x.......x.......",
    "x.....x.........",
    "x.........x.....",
    "..x...x...x...x.",
    "x..x..x.........",
)
CHORD_RHYTHMS = (
    "x...............",
    "x.......x.......",
    "x...x...x...x...",
    "..x...x...x...x.",
    "x..x..x.........",
    "x.x...x..x.x..x.",
    "..x..x....x..x..",
    "....x.......x...",
)
SYLLABLE_RHYTHMS = (
    "x...x...x.x.x...",
    "x.x.x...x...x...",
    "..x.x.x.x...x.x.",
    "x.....x.x.x.....",
    "x..x..x.x.......",
    "x.......x...x...",
    "x.xxx.x.x.x.x.x.",
    "............x.x.",
)


def play_bass(bars: Sequence[Bar], key: Key, rng: Rng) -> list[Note]:
    """A bass line: roots, octaves, fifths or a walk, in one rhythm with small changes."""
    manner = rng.choice(("root", "octave", "fifth", "walk"), p=(0.4, 0.2, 0.25, 0.15))
    rhythm = "x...x...x...x..." if manner == "walk" else str(rng.choice(BASS_RHYTHMS))
    hold = float(rng.uniform(0.45, 1.0))
    scale = scale_pitches(key.pitch_classes, BASS_LOW, BASS_HIGH)
    notes: list[Note] = []
    for bar, following in zip(bars, [*bars[1:], bars[0]], strict=True):
        root = _into(bar.chord.bass, BASS_LOW)
        goal = _into(following.chord.bass, BASS_LOW)
        steps = _steps(rhythm, bar)
        for i, (step, length) in enumerate(steps):
            pitch = root
            if manner == "octave" and i % 2:
                pitch = root + 12
            elif manner == "fifth" and step % 16 in (6, 10, 12, 14) and rng.random() < 0.7:
                pitch = _nearest(root + int(rng.choice((7, 12, -5))), bar.chord.pitch_classes)
                pitch += 12 if pitch < BASS_LOW else 0
            elif manner == "walk" and i:
                wanted = root + (goal - root) * i / len(steps) + rng.normal(0, 2)
                pitch = min(scale, key=lambda p, wanted=wanted: abs(p - wanted))
            notes.append(_note(bar, step, length * hold, pitch, 92, rng))
    return notes


def play_sub(bars: Sequence[Bar], key: Key, rng: Rng) -> list[Note]:
    """The roots, an octave below a bass guitar's, long and mostly legato."""
    rhythm = str(rng.choice(SUB_RHYTHMS))
    hold = float(rng.choice((0.6, 0.9, 1.02)))
    leaps = float(rng.choice((0.0, 0.0, 0.15)))
    notes: list[Note] = []
    for bar in bars:
        root = _into(bar.chord.bass, SUB_LOW)
        for step, length in _steps(rhythm, bar):
            pitch = root + 12 * int(rng.random() < leaps)
            notes.append(_note(bar, step, length * hold, pitch, 92, rng))
    return notes


def play_chords(bars: Sequence[Bar], key: Key, rng: Rng) -> list[Note]:
    """Whole chords in a rhythm, or held for the bar; the notes of a strummed chord begin within about 20 ms."""
    rhythm = str(rng.choice(CHORD_RHYTHMS))
    hold = float(rng.choice((0.4, 0.9, 1.0)))
    centre = int(rng.integers(52, 68))
    spread = float(rng.choice((0.0, 0.0, 0.04)))
    notes: list[Note] = []
    for bar in bars:
        for step, length in _steps(rhythm, bar):
            for i, pitch in enumerate(bar.chord.voicing(centre)):
                struck = _note(bar, step + spread * 4 * i, length * hold, pitch, 76, rng)
                notes.append(struck)
    return notes


def play_pad(bars: Sequence[Bar], key: Key, rng: Rng) -> list[Note]:
    """Chords that are held until they change."""
    centre = int(rng.integers(55, 72))
    return [
        _note(bar, 0, bar.beats * 1.02, pitch, 70, rng) for bar in bars for pitch in bar.chord.voicing(centre)
    ]


def play_arpeggio(bars: Sequence[Bar], key: Key, rng: Rng) -> list[Note]:
    """The notes of the chord one after the other: up, down, both ways, or in a fixed random order."""
    centre = int(rng.integers(58, 76))
    step_length = int(rng.choice((1, 2, 2)))
    octaves = int(rng.choice((1, 2)))
    manner = str(rng.choice(("up", "down", "both", "fixed")))
    order = [int(place) for place in rng.permutation(16)]
    hold = float(rng.uniform(0.3, 1.2))
    notes: list[Note] = []
    for bar in bars:
        chord = [p + 12 * octave for octave in range(octaves) for p in bar.chord.voicing(centre)]
        line = {
            "up": chord,
            "down": chord[::-1],
            "both": chord + chord[-2:0:-1],
            "fixed": [chord[i % len(chord)] for i in order],
        }[manner]
        for i, step in enumerate(range(0, bar.beats * 4, step_length)):
            notes.append(_note(bar, step, step_length / 4 * hold, line[i % len(line)], 78, rng))
    return notes


def play_lead(bars: Sequence[Bar], key: Key, rng: Rng) -> list[Note]:
    """A melody: phrases of two bars that mostly move by step and end on a note of the chord."""
    return _melody(bars, key, rng, low=60, high=84, sung=False)


def play_vocal(bars: Sequence[Bar], key: Key, rng: Rng) -> list[Note]:
    """A sung melody, one note for each syllable, with room to breathe; the range is that of one singer."""
    low = int(rng.choice((45, 48, 53, 57, 60)))
    return _melody(bars, key, rng, low=low, high=low + 16, sung=True)


def harmony(line: Sequence[Note], key: Key, steps: int) -> list[Note]:
    """A second voice, `steps` notes of the scale above (or below) the first."""
    scale = scale_pitches(key.pitch_classes, 0, 127)
    harmonies: list[Note] = []
    for note in line:
        place = min(range(len(scale)), key=lambda i, note=note: abs(scale[i] - note.pitch))
        pitch = scale[min(max(place + steps, 0), len(scale) - 1)]
        harmonies.append(Note(note.start, note.duration, pitch, max(1, note.velocity - 14)))
    return harmonies


def _melody(bars: Sequence[Bar], key: Key, rng: Rng, *, low: int, high: int, sung: bool) -> list[Note]:
    scale = scale_pitches(key.pitch_classes, low, high)
    rhythms = [str(rng.choice(SYLLABLE_RHYTHMS)) for _ in range(2)]
    legato = float(rng.uniform(0.7, 0.98)) if sung else float(rng.uniform(0.3, 1.1))
    rest = 0.12 if sung else 0.3
    place = len(scale) // 2
    notes: list[Note] = []
    for index, bar in enumerate(bars):
        last_of_phrase = index % 2 == 1
        if rng.random() < rest:
            continue
        steps = _steps(rhythms[index % 2], bar)
        if last_of_phrase:
            # The last note of a phrase is held; a breath follows.
            steps = steps[: max(1, int(len(steps) * rng.uniform(0.4, 1.0)))]
        for i, (step, length) in enumerate(steps):
            leap = rng.choice((-3, -2, -1, 0, 1, 2, 3, 4), p=(0.05, 0.1, 0.27, 0.12, 0.27, 0.1, 0.05, 0.04))
            # Far from the middle of its range the line turns back.
            drift = (len(scale) / 2 - place) / len(scale)
            place = int(np.clip(place + leap + np.rint(drift * 2), 0, len(scale) - 1))
            pitch = scale[place]
            if i == len(steps) - 1 or step % 16 == 0:
                reachable = scale_pitches(bar.chord.pitch_classes, low, high)
                pitch = min(reachable, key=lambda p, pitch=pitch: abs(p - pitch))
            last = last_of_phrase and i == len(steps) - 1
            duration = min(length, 2.5) * (0.8 if last else legato)
            notes.append(_note(bar, step, duration, pitch, 90, rng))
    return notes


def _steps(rhythm: str, bar: Bar) -> list[tuple[int, float]]:
    """Returns the sixteenths of a bar at which a rhythm has notes, each with the beats until the next one."""
    steps = [i for i, mark in enumerate(rhythm[: bar.beats * 4]) if mark == "x"]
    # A short bar may end before the first note.
    return [(step, (end - step) / 4) for step, end in pairwise([*steps, bar.beats * 4])]


def _note(bar: Bar, step: float, beats: float, pitch: int, velocity: int, rng: Rng) -> Note:
    start = max(0.0, bar.start + step / 4 + float(rng.normal(0.0, 0.01)))
    loudness = velocity + 22 * (bar.intensity - 0.5) + (5 if step % 16 == 0 else 0) + rng.normal(0, 6)
    return Note(start, max(0.05, beats), pitch, int(np.clip(loudness, 1, 127)))


def _into(pitch_class: int, low: int) -> int:
    """Returns the lowest pitch of a pitch class that is at least `low`."""
    return low + (pitch_class - low) % 12


def _nearest(pitch: int, pitch_classes: Sequence[int]) -> int:
    return min(
        (pitch + (wanted - pitch + 6) % 12 - 6 for wanted in pitch_classes), key=lambda p: abs(p - pitch)
    )

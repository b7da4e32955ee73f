"""Keys, scales and chord symbols, as far as the composer needs them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from mismo_grpc.errors import InvalidFieldError

PITCH_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
LETTERS = MappingProxyType({"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11})
ACCIDENTALS = MappingProxyType({"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1})

SCALES = MappingProxyType(
    {
        "major": (0, 2, 4, 5, 7, 9, 11),
        "minor": (0, 2, 3, 5, 7, 8, 10),
        "dorian": (0, 2, 3, 5, 7, 9, 10),
        "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    }
)
"""Semitones above the tonic, by mode."""

CHORD_TYPES = MappingProxyType(
    {
        "": (0, 4, 7),
        "maj": (0, 4, 7),
        "m": (0, 3, 7),
        "min": (0, 3, 7),
        "-": (0, 3, 7),
        "7": (0, 4, 7, 10),
        "maj7": (0, 4, 7, 11),
        "M7": (0, 4, 7, 11),
        "m7": (0, 3, 7, 10),
        "min7": (0, 3, 7, 10),
        "6": (0, 4, 7, 9),
        "m6": (0, 3, 7, 9),
        "9": (0, 4, 7, 10, 14),
        "maj9": (0, 4, 7, 11, 14),
        "m9": (0, 3, 7, 10, 14),
        "add9": (0, 4, 7, 14),
        "sus2": (0, 2, 7),
        "sus4": (0, 5, 7),
        "sus": (0, 5, 7),
        "dim": (0, 3, 6),
        "dim7": (0, 3, 6, 9),
        "m7b5": (0, 3, 6, 10),
        "aug": (0, 4, 8),
        "+": (0, 4, 8),
        "5": (0, 7),
    }
)
"""Semitones above the root, by the part of the symbol after the root."""

_ROOT = r"([A-G])([#b♯♭]?)"
_CHORD = re.compile(rf"{_ROOT}([^/]*)(?:/{_ROOT})?")
_KEY = re.compile(rf"{_ROOT}\s*(.*)")


@dataclass(frozen=True)
class Key:
    """A tonic (pitch class, 0 is C) and a mode of SCALES."""

    tonic: int
    mode: str

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """Its seven pitch classes, from the tonic up."""
        return tuple((self.tonic + step) % 12 for step in SCALES[self.mode])

    def __str__(self) -> str:
        return f"{PITCH_NAMES[self.tonic]} {self.mode}"


@dataclass(frozen=True)
class Chord:
    """A root (pitch class), the intervals above it (semitones) and the pitch class of the bass."""

    root: int
    intervals: tuple[int, ...]
    bass: int

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """Its pitch classes, from the root up."""
        return tuple((self.root + step) % 12 for step in self.intervals)

    def voicing(self, near: int) -> tuple[int, ...]:
        """MIDI pitches of the chord, each as near as can be to the pitch `near`, low to high."""
        return tuple(sorted(near + (pitch - near + 6) % 12 - 6 for pitch in self.pitch_classes))


def parse_key(text: str, field: str = "key") -> Key:
    """A key such as "A minor", "F#m", "Bb" or "D dorian"; raises InvalidFieldError that names `field`."""
    match = _KEY.fullmatch(text.strip())
    mode = (match[3].strip() or "major") if match else ""
    # "M" is major and "m" minor, so this must come before lower-casing.
    mode = {"m": "minor", "M": "major", "min": "minor", "maj": "major"}.get(mode, mode.lower())
    if match is None or mode not in SCALES:
        raise InvalidFieldError(
            f"{field} {text[:40]!r} is no key; write a note and a mode ({', '.join(SCALES)}), as in 'A minor'",
            field=field,
        )
    return Key(_pitch_class(match[1], match[2]), mode)


def parse_chord(symbol: str, field: str = "chords") -> Chord:
    """A chord symbol such as "Am7" or "C/E"; raises InvalidFieldError that names `field`."""
    match = _CHORD.fullmatch(symbol.strip())
    if match is None or match[3] not in CHORD_TYPES:
        raise InvalidFieldError(
            f"{field}: {symbol[:40]!r} is no chord symbol; write a root and one of "
            f"{', '.join(name for name in CHORD_TYPES if name)}, as in 'Am7' or 'C/E'",
            field=field,
        )
    root = _pitch_class(match[1], match[2])
    bass = _pitch_class(match[4], match[5]) if match[4] else root
    return Chord(root, CHORD_TYPES[match[3]], bass)


def diatonic_chord(key: Key, degree: int, notes: int = 3) -> Chord:
    """The chord on a degree of the key (0 is the tonic), stacked in thirds: 3 notes, or 4 with the seventh."""
    scale = SCALES[key.mode]
    pitches = [scale[(degree + 2 * i) % 7] + 12 * ((degree + 2 * i) // 7) for i in range(notes)]
    root = (key.tonic + scale[degree % 7]) % 12
    return Chord(root, tuple(pitch - pitches[0] for pitch in pitches), root)


def scale_pitches(pitch_classes: Sequence[int], low: int, high: int) -> list[int]:
    """The MIDI pitches in [low, high] that belong to the pitch classes, low to high."""
    wanted = {pitch % 12 for pitch in pitch_classes}
    return [pitch for pitch in range(low, high + 1) if pitch % 12 in wanted]


def _pitch_class(letter: str, accidental: str) -> int:
    return (LETTERS[letter] + ACCIDENTALS[accidental]) % 12

"""The score, which a composer writes and voices play: parts with notes in beats."""

from __future__ import annotations

from dataclasses import dataclass

from mismo_grpc.generation.tempo import TempoMap
from mismo_grpc.generation.theory import Chord, Key

STEMS = ("drums", "bass", "other", "vocals")

# Percussion keys of General MIDI (level 1, MIDI Manufacturers Association, 1991).
KICK, SIDE_STICK, SNARE, CLAP = 36, 37, 38, 39
LOW_TOM, MID_TOM, HIGH_TOM = 45, 47, 50
CLOSED_HAT, PEDAL_HAT, OPEN_HAT = 42, 44, 46
CRASH, RIDE, TAMBOURINE, COWBELL, SHAKER = 49, 51, 54, 56, 70


@dataclass(frozen=True, slots=True)
class Note:
    """One note: `start` and `duration` in beats, `pitch` a MIDI number, `velocity` 1 to 127."""

    start: float
    duration: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Part:
    """One instrument's notes, sorted by start.

    `stem` is one of STEMS, `voice` the name of a voice of `synthetic`, `program` the General MIDI program (0 to 127;
    for drums the kit), `level` in dB, `pan` from -1 (left) to 1 (right).
    """

    stem: str
    voice: str
    program: int
    notes: tuple[Note, ...]
    level: float = 0.0
    pan: float = 0.0


@dataclass(frozen=True)
class Bar:
    """One bar: its first beat, its length in beats, its chord and how full the arrangement is (0 to 1)."""

    start: float
    beats: int
    chord: Chord
    intensity: float
    section: str


@dataclass(frozen=True)
class Composition:
    """A song: `tempo` in beats a minute, its bars, and a part for every instrument.

    With `tempo_end` the tempo changes from `tempo` at the first beat to `tempo_end` at the end.
    """

    tempo: float
    key: Key
    bars: tuple[Bar, ...]
    parts: tuple[Part, ...]
    tempo_end: float | None = None

    @property
    def tempo_map(self) -> TempoMap:
        """The times of the beats."""
        return TempoMap(self.tempo, self.tempo_end, self.beats)

    @property
    def beats(self) -> float:
        """Length in beats."""
        return self.bars[-1].start + self.bars[-1].beats

    @property
    def seconds(self) -> float:
        """Length in seconds, without the decay after the last beat."""
        return self.tempo_map.seconds(self.beats)

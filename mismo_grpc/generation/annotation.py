"""What a composition is, in seconds: beats, bars, chords, sections. The truth that analyses are measured against."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from statistics import median

from mismo_grpc.generation.score import Bar, Composition
from mismo_grpc.generation.tempo import TempoMap
from mismo_grpc.generation.theory import PITCH_NAMES, SCALES, Chord, Key

QUALITIES: dict[tuple[int, ...], str] = {
    (0, 4, 7): "maj",
    (0, 3, 7): "min",
    (0, 3, 6): "dim",
    (0, 4, 8): "aug",
    (0, 4, 7, 10): "7",
    (0, 4, 7, 11): "maj7",
    (0, 3, 7, 10): "min7",
    (0, 3, 6, 10): "hdim7",
    (0, 3, 6, 9): "dim7",
    (0, 4, 7, 9): "maj6",
    (0, 3, 7, 9): "min6",
    (0, 2, 7): "sus2",
    (0, 5, 7): "sus4",
    (0, 7): "5",
}
"""The names of chords by intervals (Harte et al., "Symbolic representation of musical chords", ISMIR 2005)."""


@dataclass(frozen=True)
class Span:
    """A labelled time span in seconds."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Annotation:
    """Times in seconds; `chords` have labels in Harte's syntax, `sections` the names of the form.

    `tempo` is the median over the beats, in beats a minute; `tempi` has the tempo at each beat.
    """

    tempo: float
    tempi: tuple[float, ...]
    key: Key
    beats_per_bar: int
    beats: tuple[float, ...]
    downbeats: tuple[float, ...]
    chords: tuple[Span, ...]
    sections: tuple[Span, ...]


def annotate(composition: Composition) -> Annotation:
    """The annotation of a composition, from its first beat at 0 s to its end."""
    tempo, bars = composition.tempo_map, composition.bars
    beats = [bar.start + beat for bar in bars for beat in range(bar.beats)]
    tempi = tuple(tempo.at(beat) for beat in beats)
    return Annotation(
        tempo=median(tempi),
        tempi=tempi,
        key=composition.key,
        beats_per_bar=bars[0].beats,
        beats=tuple(tempo.seconds(beat) for beat in beats),
        downbeats=tuple(tempo.seconds(bar.start) for bar in bars),
        chords=_spans([(bar, chord_label(bar.chord)) for bar in bars], tempo),
        sections=_spans([(bar, bar.section) for bar in bars], tempo),
    )


def chord_label(chord: Chord) -> str:
    """The label of a chord in Harte's syntax, without its bass and the notes above its seventh."""
    intervals = tuple(sorted(chord.intervals))
    quality = next(QUALITIES[intervals[:size]] for size in (4, 3, 2) if intervals[:size] in QUALITIES)
    return f"{PITCH_NAMES[chord.root]}:{quality}"


def nearest_mode(mode: str) -> str:
    """The mode, "major" or "minor", whose tonic triad a mode of `theory.SCALES` has: that of its third.

    Evaluations of keys, as `mir_eval.key`, know these two: so dorian is minor and mixolydian major.
    """
    return "minor" if 3 in SCALES[mode] else "major"


def key_label(key: Key) -> str:
    """A key as evaluations of keys write it, in one of the two modes: "Eb minor"."""
    return f"{PITCH_NAMES[key.tonic]} {nearest_mode(key.mode)}"


def _spans(bars: list[tuple[Bar, str]], tempo: TempoMap) -> tuple[Span, ...]:
    """Joins neighbours with the same label; from beats to seconds."""
    spans: list[Span] = []
    for label, group in groupby(bars, key=lambda entry: entry[1]):
        members = [bar for bar, _ in group]
        begin, last = members[0].start, members[-1]
        spans.append(Span(tempo.seconds(begin), tempo.seconds(last.start + last.beats), label))
    return tuple(spans)

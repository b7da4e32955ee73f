"""What a composition is, in seconds: beats, bars, chords, sections. The truth that analyses are measured against."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from mismo_grpc.generation.score import Composition
from mismo_grpc.generation.theory import PITCH_NAMES, Chord, Key

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
}
"""Harte's names of the chords that the composer writes, by intervals."""


@dataclass(frozen=True)
class Span:
    """A labelled time span in seconds."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Annotation:
    """Times in seconds; `chords` have labels in Harte's syntax, `sections` the names of the form."""

    tempo: float
    key: Key
    beats_per_bar: int
    beats: tuple[float, ...]
    downbeats: tuple[float, ...]
    chords: tuple[Span, ...]
    sections: tuple[Span, ...]


def annotate(composition: Composition) -> Annotation:
    """The annotation of a composition that is played at its constant tempo."""
    seconds = 60 / composition.tempo
    bars = composition.bars
    return Annotation(
        tempo=composition.tempo,
        key=composition.key,
        beats_per_bar=bars[0].beats,
        beats=tuple((bar.start + beat) * seconds for bar in bars for beat in range(bar.beats)),
        downbeats=tuple(bar.start * seconds for bar in bars),
        chords=_spans([(bar.start, bar.start + bar.beats, chord_label(bar.chord)) for bar in bars], seconds),
        sections=_spans([(bar.start, bar.start + bar.beats, bar.section) for bar in bars], seconds),
    )


def chord_label(chord: Chord) -> str:
    """The label of a chord in Harte's syntax, without its bass."""
    intervals = tuple(sorted(chord.intervals))
    quality = QUALITIES.get(intervals) or QUALITIES.get(intervals[:3], "maj")
    return f"{PITCH_NAMES[chord.root]}:{quality}"


def _spans(bars: list[tuple[float, float, str]], seconds: float) -> tuple[Span, ...]:
    """Joins neighbours with the same label; from beats to seconds."""
    spans: list[Span] = []
    for label, group in groupby(bars, key=lambda bar: bar[2]):
        members = list(group)
        spans.append(Span(members[0][0] * seconds, members[-1][1] * seconds, label))
    return tuple(spans)

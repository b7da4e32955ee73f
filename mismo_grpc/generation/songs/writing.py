"""Writes the song of given options: key, chords and form once, and the parts of each stem from the stem's own seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from mismo_grpc.generation.annotation import Annotation, Span, annotate
from mismo_grpc.generation.arranging import Player, Rng, harmony, play_vocal
from mismo_grpc.generation.composer import FORMS, INTENSITY, Instrument, drum_part, ordered_part, program_of
from mismo_grpc.generation.grooves import Groove
from mismo_grpc.generation.options import GenerationOptions
from mismo_grpc.generation.score import Bar, Composition, Note, Part
from mismo_grpc.generation.songs.styles import Degrees, Style, fitting_grooves, style_of
from mismo_grpc.generation.theory import Chord, Key, diatonic_chord, parse_chord, parse_key

BEATS = 4
"""Beats in a bar."""
_SHORT_BARS = 16
"""A song of fewer bars has verses and choruses alone, in which every stem plays."""
_SPANS = {"intro": 4, "verse": 8, "chorus": 8, "break": 4, "outro": 4}
_SINGING = ("verse", "chorus")
_LEVELS = {"bass": -2.0, "guitar": -5.0, "piano": -4.0, "synth": -6.0, "other": -5.0}
"""Levels of the parts beside the drums, in dB."""
_PANS = {"bass": 0.0, "guitar": 0.45, "piano": 0.3, "synth": 0.4, "other": 0.25}
"""How far from the middle a part may stand."""
_REST = {"guitar": 0.3, "piano": 0.0, "synth": 0.3, "other": 0.2}
"""The intensity of a bar from which an instrument plays; the pianist always does."""
_SOUNDING, _TRIES = 0.6, 16
"""The share of its bars in which a part must sound, and how often a player tries for that."""


@dataclass(frozen=True)
class Song:
    """What all stems of a song have in common: its bars (as a composition without parts), style and groove."""

    frame: Composition
    style: Style
    groove: Groove
    seed: int


def write_song(options: GenerationOptions) -> Song:
    """The song of these options, whichever stems they ask for; at least as long as asked, in whole bars."""
    style = style_of(options.style)
    rng = stem_rng(options.random_seed, "song")
    grooves = fitting_grooves(style, options.target_bpm)
    groove = grooves[int(rng.integers(len(grooves)))]
    chords = [parse_chord(symbol) for symbol in options.chord_progression]
    drawn = Key(int(rng.integers(12)), "minor" if rng.random() < style.minor else "major")
    key = drawn
    if options.key:
        key = parse_key(options.key)
    elif chords:
        # A song over given chords mostly begins with its tonic.
        key = Key(chords[0].root, "minor" if 3 in chords[0].intervals else "major")
    count = math.ceil(options.seconds * options.target_bpm / 60 / BEATS)
    bars = _bars(count, style, key, chords, rng)
    return Song(Composition(options.target_bpm, key, tuple(bars), ()), style, groove, options.random_seed)


def write_parts(song: Song, stem: str) -> tuple[Part, ...]:
    """The parts of one stem; they do not depend on which other stems are written."""
    rng = stem_rng(song.seed, f"part {stem} {song.style.name}")
    bars, key, style = song.frame.bars, song.frame.key, song.style
    if stem == "drums":
        return (drum_part(bars, song.groove, style.kits, rng),)
    if stem == "vocals":
        return _vocals(bars, key, rng)
    if stem == "bass":
        return (_instrument(stem, bars, key, style.basses, rng),)
    instruments = {
        "guitar": style.guitars,
        "piano": style.pianos,
        "synth": style.synths,
        "other": style.others,
    }[stem]
    playing = [bar for bar in bars if bar.intensity >= _REST[stem]] or bars
    return (_instrument(stem, playing, key, instruments, rng),)


def truth(options: GenerationOptions) -> Annotation:
    """The beats, key, chords and sections of the song that these options make, up to its end (seconds)."""
    whole = annotate(write_song(options).frame)
    beats = tuple(time for time in whole.beats if time < options.seconds)
    return replace(
        whole,
        beats=beats,
        tempi=whole.tempi[: len(beats)],
        downbeats=tuple(time for time in whole.downbeats if time < options.seconds),
        chords=_until(whole.chords, options.seconds),
        sections=_until(whole.sections, options.seconds),
    )


def stem_rng(seed: int, purpose: str) -> Rng:
    """Randomness of its own for each purpose, so that one stem does not change another."""
    return np.random.default_rng(np.random.SeedSequence([seed, crc32(purpose.encode())]))


def _until(spans: Sequence[Span], end: float) -> tuple[Span, ...]:
    return tuple(replace(span, end=min(span.end, end)) for span in spans if span.start < end)


def _bars(count: int, style: Style, key: Key, chords: Sequence[Chord], rng: Rng) -> list[Bar]:
    sections = _sections(count, rng)
    progressions = {name: _progression(name, style, rng) for name in INTENSITY}
    size = 4 if rng.random() < style.sevenths else 3
    bars: list[Bar] = []
    since = 0
    for index, section in enumerate(sections):
        since = since + 1 if index and sections[index - 1] == section else 0
        degrees = progressions[section]
        chord = (
            chords[index % len(chords)]
            if chords
            else diatonic_chord(key, degrees[since % len(degrees)], size)
        )
        intensity = float(np.clip(INTENSITY[section] + rng.normal(0, 0.03), 0.05, 1.0))
        bars.append(Bar(float(index * BEATS), BEATS, chord, intensity, section))
    return bars


def _progression(section: str, style: Style, rng: Rng) -> Degrees:
    """Draws the degrees of a section; a verse begins with the tonic if a progression of the style does.

    Without it the key of a short song would be as little clear to a listener as to an analysis.
    """
    known = style.progressions
    if section == "verse":
        known = tuple(degrees for degrees in known if degrees[0] == 0) or known
    return known[int(rng.integers(len(known)))]


def _sections(count: int, rng: Rng) -> list[str]:
    """The section of each bar."""
    form = FORMS[int(rng.integers(len(FORMS)))]
    if count < _SHORT_BARS:
        first = max(1, count // 2)
        return ["verse"] * first + ["chorus"] * (count - first)
    sections: list[str] = []
    while len(sections) < count:
        for name in form:
            sections += [name] * _SPANS[name]
    return sections[:count]


def _instrument(
    stem: str, bars: Sequence[Bar], key: Key, instruments: Sequence[Instrument], rng: Rng
) -> Part:
    instrument = instruments[int(rng.integers(len(instruments)))]
    player = instrument.players[int(rng.integers(len(instrument.players)))]
    program, pan = program_of(instrument, rng), float(rng.uniform(-1, 1)) * _PANS[stem]
    notes = _played(player, bars, key, rng)
    return ordered_part(stem, instrument.voice, program, notes, _LEVELS[stem], pan)


def _played(player: Player, bars: Sequence[Bar], key: Key, rng: Rng) -> list[Note]:
    """Lets a player play until few enough bars are rests; in a short song a melody might else be silent."""
    best: list[Note] = []
    most = -1
    for _ in range(_TRIES):
        notes = player(bars, key, rng)
        sounding = len({int(note.start + 0.1) // BEATS for note in notes})
        if sounding > most:
            best, most = notes, sounding
        if most >= _SOUNDING * len(bars):
            break
    return best


def _vocals(bars: Sequence[Bar], key: Key, rng: Rng) -> tuple[Part, ...]:
    sung = [bar for bar in bars if bar.section in _SINGING]
    lead = _played(play_vocal, sung, key, rng)
    steps = int(rng.choice((-2, 2)))
    choruses = {index for index, bar in enumerate(bars) if bar.section == "chorus"}
    second = [note for note in lead if int(note.start // BEATS) in choruses]
    parts = [ordered_part("vocals", "lead singer", 53, lead, 0.0, 0.0)]
    if second and rng.random() < 0.5:
        pan = float(rng.uniform(-0.4, 0.4))
        parts.append(ordered_part("vocals", "backing singer", 52, harmony(second, key, steps), -7.0, pan))
    return tuple(parts)

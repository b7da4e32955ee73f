"""Composes songs: key, chords, form, groove and an arrangement, all from a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.generation.arranging import (
    Player,
    harmony,
    play_arpeggio,
    play_bass,
    play_chords,
    play_lead,
    play_pad,
    play_sub,
    play_vocal,
)
from mismo_grpc.generation.grooves import GROOVES, Groove, crash, play_bar, play_fill
from mismo_grpc.generation.score import Bar, Composition, Note, Part
from mismo_grpc.generation.tempo import mean_tempo
from mismo_grpc.generation.theory import Chord, Key, diatonic_chord, parse_chord, parse_key

MIN_TEMPO, MAX_TEMPO = 40.0, 240.0
MAX_SECONDS = 1800.0
MAX_CHORDS = 256

PROGRESSIONS = (
    (0, 4, 5, 3),
    (5, 3, 0, 4),
    (0, 5, 3, 4),
    (0, 3, 4, 3),
    (0, 3, 0, 4),
    (1, 4, 0, 0),
    (0, 6, 5, 6),
    (0, 2, 3, 4),
    (0, 0, 3, 3),
    (0, 5, 1, 4),
    (3, 4, 2, 5),
    (0, 0, 0, 0),
    (0, 4, 5, 2, 3, 0, 3, 4),
    (0, 0, 3, 0, 4, 3, 0, 4),
)
"""Degrees of the key, one for each bar; 0 is the tonic."""

FORMS = (
    ("intro", "verse", "chorus", "verse", "chorus", "break", "chorus", "outro"),
    ("verse", "chorus", "verse", "chorus"),
    ("intro", "chorus", "break", "chorus", "outro"),
    ("chorus", "verse", "break", "chorus"),
)
INTENSITY = {"intro": 0.25, "verse": 0.55, "chorus": 0.9, "break": 0.2, "outro": 0.35}
SINGING = {"intro": 0.1, "verse": 0.95, "chorus": 0.95, "break": 0.4, "outro": 0.3}
"""The probability that a section has singing."""


@dataclass(frozen=True)
class Instrument:
    """An instrument: its voice, the General MIDI programs that sound like it, and the ways it can play."""

    voice: str
    programs: tuple[int, ...]
    players: tuple[Player, ...]


BASSES = (
    Instrument("electric bass", (32, 33, 34, 35, 36, 37), (play_bass,)),
    Instrument("synth bass", (38, 39), (play_bass, play_sub)),
    Instrument("sub bass", (38, 39), (play_sub, play_sub, play_bass)),
)
ACCOMPANISTS = (
    Instrument("piano", (0, 1, 2, 3), (play_chords, play_arpeggio)),
    Instrument("electric piano", (4, 5, 6, 7), (play_chords, play_arpeggio)),
    Instrument("organ", (16, 17, 18, 19), (play_chords, play_pad)),
    Instrument("guitar", (24, 25, 26, 27, 28), (play_chords, play_arpeggio)),
    Instrument("distorted guitar", (29, 30), (play_chords, play_pad)),
    Instrument("strings", (48, 49, 50, 51), (play_pad, play_chords)),
    Instrument("brass", (61, 62, 63), (play_chords,)),
    Instrument("pad", (88, 89, 90, 92, 94, 95), (play_pad,)),
    Instrument("pluck", (11, 12, 13, 45, 46, 107), (play_arpeggio, play_chords)),
    Instrument("synth", (80, 81, 84, 87), (play_arpeggio, play_chords)),
    Instrument("lead", (56, 64, 65, 66, 68, 71, 73, 80, 81, 82), (play_lead,)),
)
DRUM_KITS = (0, 8, 16, 24, 25, 32, 40)
DRUM_MACHINES = (24, 25)


@dataclass(frozen=True)
class Brief:
    """The requirements of a song; for fields that are None or empty the seed decides.

    `tempo` is in beats a minute, `key` as in "A minor", `chords` has one symbol for each bar and is repeated. With
    `tempo_end` the tempo changes steadily from `tempo` to `tempo_end`. `beats_per_bar` is 3 or 4.
    """

    seconds: float
    tempo: float | None = None
    key: str | None = None
    chords: Sequence[str] = field(default=())
    tempo_end: float | None = None
    beats_per_bar: int | None = None


def compose(brief: Brief, seed: int) -> Composition:
    """Composes a song of at least the requested length, in whole bars; the same seed gives the same song.

    Raises InvalidFieldError that names the field: seconds, tempo, key, chords, tempo_end or beats_per_bar.
    """
    _check(brief)
    rng = np.random.default_rng(seed)
    groove = _groove(brief.tempo, rng)
    tempo = float(np.round(rng.uniform(*groove.tempi), 1))
    key = parse_key(brief.key) if brief.key else _key(rng)
    chords = [parse_chord(symbol) for symbol in brief.chords]
    if brief.tempo is not None:
        tempo = brief.tempo
    if chords and not brief.key:
        # A song over given chords mostly begins with its tonic.
        key = Key(chords[0].root, "minor" if 3 in chords[0].intervals else "major")
    drawn = 3 if rng.random() < 0.06 else 4
    beats_in_bar = brief.beats_per_bar or drawn
    beats = brief.seconds * mean_tempo(tempo, brief.tempo_end) / 60
    bars = _bars(math.ceil(beats / beats_in_bar), beats_in_bar, key, chords, rng)
    electronic = bool(rng.random() < groove.electronic)
    drums = drum_part(bars, groove, DRUM_MACHINES if electronic else DRUM_KITS, rng)
    parts = [drums, _bass(bars, key, BASSES[1:] if electronic else BASSES[:2], rng), *_others(bars, key, rng)]
    parts += _vocals(bars, key, rng)
    return Composition(tempo, key, tuple(bars), tuple(parts), brief.tempo_end)


def _check(brief: Brief) -> None:
    if not 0 < brief.seconds <= MAX_SECONDS:
        raise InvalidFieldError(f"seconds must be above 0 and at most {MAX_SECONDS:g}", field="seconds")
    for field_name, tempo in (("tempo", brief.tempo), ("tempo_end", brief.tempo_end)):
        if tempo is not None and not MIN_TEMPO <= tempo <= MAX_TEMPO:
            raise InvalidFieldError(
                f"{field_name} must be {MIN_TEMPO:g} to {MAX_TEMPO:g} beats a minute", field=field_name
            )
    if brief.beats_per_bar not in (None, 3, 4):
        raise InvalidFieldError("beats_per_bar must be 3 or 4", field="beats_per_bar")
    if len(brief.chords) > MAX_CHORDS:
        raise InvalidFieldError(f"chords: at most {MAX_CHORDS}, one for each bar", field="chords")


def _groove(tempo: float | None, rng: np.random.Generator) -> Groove:
    fitting = [g for g in GROOVES if tempo is None or g.tempi[0] <= tempo <= g.tempi[1]]
    if tempo is not None and not fitting:
        fitting = [min(GROOVES, key=lambda g: min(abs(tempo - g.tempi[0]), abs(tempo - g.tempi[1])))]
    return fitting[int(rng.integers(len(fitting)))]


def _key(rng: np.random.Generator) -> Key:
    mode = rng.choice(("major", "minor", "dorian", "mixolydian"), p=(0.4, 0.4, 0.12, 0.08))
    return Key(int(rng.integers(12)), str(mode))


def _bars(count: int, beats: int, key: Key, chords: Sequence[Chord], rng: np.random.Generator) -> list[Bar]:
    form = FORMS[int(rng.integers(len(FORMS)))]
    # Short songs get short sections, so that each still has a form.
    length = int(np.clip(round(count / len(form) / 4) * 4, 2, 16))
    progressions = {name: PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))] for name in INTENSITY}
    sevenths = rng.random() < 0.3
    bars: list[Bar] = []
    for index in range(count):
        section = form[(index // length) % len(form)]
        degrees = progressions[section]
        chord = (
            chords[index % len(chords)]
            if chords
            else diatonic_chord(key, degrees[index % len(degrees)], 4 if sevenths else 3)
        )
        intensity = float(np.clip(INTENSITY[section] + rng.normal(0, 0.05), 0.05, 1.0))
        bars.append(Bar(float(index * beats), beats, chord, intensity, section))
    return bars


def drum_part(bars: Sequence[Bar], groove: Groove, kits: Sequence[int], rng: np.random.Generator) -> Part:
    """The drums: the groove in each bar, fills at the ends of sections, crashes at the beginnings of loud ones."""
    kit = int(rng.choice(kits))
    notes: list[Note] = []
    for index, bar in enumerate(bars):
        last = index + 1 == len(bars) or bars[index + 1].section != bar.section
        played = play_bar(groove, bar.start, bar.beats, bar.intensity, rng)
        if last and rng.random() < 0.7:
            fill = play_fill(bar.start, bar.beats, rng)
            begin = fill[0].start if fill else math.inf
            played = [note for note in played if note.start < begin] + fill
        if index and bars[index - 1].section != bar.section and bar.intensity > 0.5:
            notes.append(crash(bar.start, rng))
        notes += played
    return ordered_part("drums", "drum kit", kit, notes, 0.0, 0.0)


def _bass(bars: Sequence[Bar], key: Key, basses: Sequence[Instrument], rng: np.random.Generator) -> Part:
    instrument = basses[int(rng.integers(len(basses)))]
    playing = [bar for bar in bars if bar.intensity > 0.3 or rng.random() < 0.3] or list(bars)
    player = instrument.players[int(rng.integers(len(instrument.players)))]
    return ordered_part(
        "bass", instrument.voice, program_of(instrument, rng), player(playing, key, rng), -2.0, 0.0
    )


def _others(bars: Sequence[Bar], key: Key, rng: np.random.Generator) -> list[Part]:
    band = rng.choice(len(ACCOMPANISTS), size=int(rng.integers(2, 5)), replace=False)
    parts: list[Part] = []
    for place, index in enumerate(band):
        instrument = ACCOMPANISTS[int(index)]
        player = instrument.players[int(rng.integers(len(instrument.players)))]
        # The first instrument plays throughout; the others join where the arrangement is fuller.
        threshold = 0.0 if place == 0 else float(rng.uniform(0.2, 0.7))
        playing = [bar for bar in bars if bar.intensity >= threshold] or list(bars)
        notes = player(playing, key, rng)
        level, pan = float(rng.uniform(-9, -3)), float(rng.uniform(-0.8, 0.8))
        parts.append(ordered_part("other", instrument.voice, program_of(instrument, rng), notes, level, pan))
    return parts


def _vocals(bars: Sequence[Bar], key: Key, rng: np.random.Generator) -> list[Part]:
    sections = {bar.section for bar in bars}
    sung = {name for name in sorted(sections) if rng.random() < SINGING[name]} or sections
    lead = play_vocal([bar for bar in bars if bar.section in sung], key, rng)
    parts = [ordered_part("vocals", "lead singer", 53, lead, 0.0, 0.0)]
    if "chorus" in sung and rng.random() < 0.5:
        spans = [(bar.start, bar.start + bar.beats) for bar in bars if bar.section == "chorus"]
        second = [n for n in lead if any(begin <= n.start < end for begin, end in spans)]
        pan = float(rng.uniform(-0.6, 0.6))
        parts.append(
            ordered_part(
                "vocals", "backing singer", 52, harmony(second, key, int(rng.choice((-2, 2)))), -6.0, pan
            )
        )
    return parts


def program_of(instrument: Instrument, rng: np.random.Generator) -> int:
    """Draws one of the programs of an instrument."""
    return int(instrument.programs[int(rng.integers(len(instrument.programs)))])


def ordered_part(
    stem: str, voice: str, program: int, notes: Sequence[Note], level: float, pan: float
) -> Part:
    """A part whose notes are sorted."""
    ordered = sorted(notes, key=lambda note: (note.start, note.pitch))
    return Part(stem, voice, program, tuple(ordered), level, pan)

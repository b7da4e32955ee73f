"""Drum patterns: sixteen steps a bar, one line for each drum.

`x` is a hit, `o` a soft hit, `?` a hit with probability 1/2.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from mismo_grpc.generation.score import (
    CLAP,
    CLOSED_HAT,
    COWBELL,
    CRASH,
    HIGH_TOM,
    KICK,
    LOW_TOM,
    MID_TOM,
    OPEN_HAT,
    PEDAL_HAT,
    RIDE,
    SHAKER,
    SIDE_STICK,
    SNARE,
    TAMBOURINE,
    Note,
)

STEPS = 16
VELOCITIES = MappingProxyType({"x": 104, "o": 62, "?": 84})


@dataclass(frozen=True)
class Groove:
    """A style of drumming: its range of tempi (beats a minute), its lines, and the swing of its sixteenths.

    `swing` is the delay of every second sixteenth as a share of an eighth; `electronic` is the probability that a drum
    machine and synthesisers play it.
    """

    name: str
    tempi: tuple[float, float]
    lines: MappingProxyType[int, str]
    extras: MappingProxyType[int, str]
    swing: float = 0.0
    electronic: float = 0.1


def _groove(
    name: str,
    tempi: tuple[float, float],
    lines: dict[int, str],
    extras: dict[int, str],
    swing: float = 0.0,
    electronic: float = 0.1,
) -> Groove:
    return Groove(name, tempi, MappingProxyType(lines), MappingProxyType(extras), swing, electronic)


GROOVES = (
    _groove(
        "house",
        (116, 132),
        {KICK: "x...x...x...x...", CLAP: "....x.......x...", OPEN_HAT: "..x...x...x...x."},
        {CLOSED_HAT: "o.oo o.oo o.oo o.oo".replace(" ", ""), SHAKER: "oooooooooooooooo"},
        electronic=0.9,
    ),
    _groove(
        "techno",
        (124, 140),
        {KICK: "x...x...x...x...", CLOSED_HAT: "..x...x...x...x.", SIDE_STICK: "...?..x....?..?."},
        {RIDE: "x.x.x.x.x.x.x.x.", COWBELL: "..?..?....?..?.."},
        electronic=1.0,
    ),
    _groove(
        "rock",
        (92, 148),
        {KICK: "x......?x.?.....", SNARE: "....x.......x...", CLOSED_HAT: "x.o.x.o.x.o.x.o."},
        {TAMBOURINE: "....x.......x...", PEDAL_HAT: "x...x...x...x..."},
    ),
    _groove(
        "hard rock",
        (100, 160),
        {KICK: "x.x...x.x.x..?x.", SNARE: "....x.......x..?", RIDE: "x...x...x...x..."},
        {COWBELL: "x...x...x...x...", CRASH: "x..............."},
    ),
    _groove(
        "breakbeat",
        (90, 130),
        {KICK: "x.x.......xx....", SNARE: "....x..o.o..x..o", CLOSED_HAT: "x.x.x.x.x.x.x.x."},
        {OPEN_HAT: "..............x.", SHAKER: "o.o.o.o.o.o.o.o."},
        0.12,
        0.5,
    ),
    _groove(
        "drum and bass",
        (164, 176),
        {KICK: "x.........x.....", SNARE: "....x.......x...", CLOSED_HAT: "x.x.x.xox.x.x.xo"},
        {RIDE: "x...x...x...x...", SNARE: "....x..o.o..x..o"},
        electronic=0.7,
    ),
    _groove(
        "hip hop",
        (78, 102),
        {KICK: "x..?..x...x..?..", SNARE: "....x.......x...", CLOSED_HAT: "x.x.x.x.x.x.x.x."},
        {OPEN_HAT: "......x.........", SHAKER: "o.oxo.oxo.oxo.ox"},
        0.2,
        0.6,
    ),
    _groove(
        "trap",
        (128, 150),
        {KICK: "x.....?...x...?.", CLAP: "........x.......", CLOSED_HAT: "x.x.x.xxx.x.xxxx"},
        {OPEN_HAT: "..............x.", SIDE_STICK: "...?......?....."},
        electronic=1.0,
    ),
    _groove(
        "ballad",
        (62, 92),
        {KICK: "x.......o.......", SIDE_STICK: "....x.......x...", CLOSED_HAT: "x.o.x.o.x.o.x.o."},
        {SHAKER: "o.o.o.o.o.o.o.o.", RIDE: "x...x...x...x..."},
    ),
    _groove(
        "shuffle",
        (84, 132),
        {KICK: "x.......x.?.....", SNARE: "....x.......x...", RIDE: "x..ox..ox..ox..o"},
        {PEDAL_HAT: "....x.......x...", TAMBOURINE: "....x.......x..."},
        0.33,
    ),
    _groove(
        "latin",
        (92, 126),
        {KICK: "x..x....x..x....", SIDE_STICK: "x..x..x...x.x...", CLOSED_HAT: "x.x.x.x.x.x.x.x."},
        {COWBELL: "x...x.x.x...x.x.", HIGH_TOM: ".............?.?", SHAKER: "oooooooooooooooo"},
    ),
    _groove(
        "disco",
        (108, 126),
        {KICK: "x...x...x...x...", SNARE: "....x.......x...", CLOSED_HAT: "x...x...x...x..."},
        {OPEN_HAT: "..x...x...x...x.", TAMBOURINE: "o.o.o.o.o.o.o.o."},
        electronic=0.4,
    ),
)


def play_bar(
    groove: Groove, start: float, beats: int, intensity: float, rng: np.random.Generator
) -> list[Note]:
    """Returns the notes of a bar that begins at beat `start`; the lower `intensity`, the fewer lines play."""
    lines = dict(groove.lines)
    if intensity > 0.6:
        lines |= groove.extras
    elif intensity < 0.3:
        # A quiet bar has the line that keeps time, and sometimes the kick.
        lines = {drum: line for drum, line in lines.items() if drum not in (SNARE, CLAP)}
        if rng.random() < 0.5:
            lines.pop(KICK, None)
    notes: list[Note] = []
    for drum, line in lines.items():
        for step in range(min(STEPS, beats * 4)):
            mark = line[step]
            if mark == "." or (mark == "?" and rng.random() < 0.5):
                continue
            late = groove.swing * 0.25 if step % 2 else 0.0
            notes.append(_hit(start + step / 4 + late, drum, VELOCITIES[mark], rng))
    return notes


def play_fill(start: float, beats: int, rng: np.random.Generator) -> list[Note]:
    """A fill over the last beat or two of a bar that begins at beat `start`."""
    length = int(rng.choice((1, 2)))
    drums = (SNARE, HIGH_TOM, MID_TOM, LOW_TOM)
    first = int(rng.integers(0, 2))
    notes: list[Note] = []
    for step in range(length * 4):
        drum = drums[min(3, first + step * 3 // (length * 4))]
        if rng.random() < 0.85:
            notes.append(_hit(start + beats - length + step / 4, drum, 78 + 6 * step // length, rng))
    return notes


def crash(start: float, rng: np.random.Generator) -> Note:
    """A crash cymbal at a beat."""
    return _hit(start, CRASH, 108, rng)


def _hit(start: float, drum: int, velocity: int, rng: np.random.Generator) -> Note:
    # Human drummers deviate by about 10 ms, and no two of their hits are alike.
    human = max(0.0, start + float(rng.normal(0.0, 0.008)))
    return Note(human, 0.2, drum, int(np.clip(rng.normal(velocity, 7), 1, 127)))

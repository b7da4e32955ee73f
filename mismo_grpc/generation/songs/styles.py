"""Styles of music: which grooves, drum kits, instruments and progressions they use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType

from mismo_grpc.generation.arranging import (
    play_arpeggio,
    play_bass,
    play_chords,
    play_lead,
    play_pad,
    play_sub,
)
from mismo_grpc.generation.composer import DRUM_KITS, DRUM_MACHINES, PROGRESSIONS, Instrument
from mismo_grpc.generation.grooves import GROOVES, Groove
from mismo_grpc.generation.kit import BRUSHES, JAZZ
from mismo_grpc.generation.score import (
    CLOSED_HAT,
    COWBELL,
    KICK,
    OPEN_HAT,
    PEDAL_HAT,
    RIDE,
    SHAKER,
    SIDE_STICK,
    SNARE,
)

Degrees = tuple[int, ...]


def _groove(name: str, swing: float, lines: dict[int, str], extras: dict[int, str]) -> Groove:
    return Groove(name, (40.0, 240.0), MappingProxyType(lines), MappingProxyType(extras), swing)


# Grooves that `compose` does not draw from, since its songs are training data that must not change.
_SWING = _groove(
    "swing",
    0.33,
    {RIDE: "x...x..ox...x..o", PEDAL_HAT: "....x.......x...", KICK: "o...o...o...o..."},
    {SNARE: "...?...o..?....o", SIDE_STICK: "............?..."},
)
_FUNK = _groove(
    "funk",
    0.06,
    {KICK: "x.x....x..x..?..", SNARE: "....x..o.o..x..o", CLOSED_HAT: "xoxoxoxoxoxoxox."},
    {OPEN_HAT: "..............x.", COWBELL: "x...x...x...x..."},
)
_BOSSA = _groove(
    "bossa nova",
    0.0,
    {KICK: "x..ox..ox..ox..o", SIDE_STICK: "x..x..x...x..x..", CLOSED_HAT: "ooxoooxoooxoooxo"},
    {SHAKER: "oooooooooooooooo"},
)
_SLOW = _groove(
    "slow",
    0.0,
    {KICK: "x...............", SIDE_STICK: "........x.......", RIDE: "o...o...o...o..."},
    {SHAKER: "o...o...o...o..."},
)
_BY_NAME = {groove.name: groove for groove in (*GROOVES, _SWING, _FUNK, _BOSSA, _SLOW)}

_E_BASS = Instrument("electric bass", (33, 34), (play_bass,))
_PICKED_BASS = Instrument("electric bass", (34,), (play_bass,))
_UPRIGHT_BASS = Instrument("electric bass", (32, 35), (play_bass,))
_SLAP_BASS = Instrument("electric bass", (36, 37), (play_bass,))
_SYNTH_BASS = Instrument("synth bass", (38, 39), (play_bass,))
_SUB_BASS = Instrument("sub bass", (38, 39), (play_sub,))

_CLEAN_GUITAR = Instrument("guitar", (26, 27), (play_chords, play_arpeggio))
_MUTED_GUITAR = Instrument("guitar", (27, 28), (play_chords, play_arpeggio))
_ACOUSTIC_GUITAR = Instrument("guitar", (24, 25), (play_chords, play_arpeggio))
_LOUD_GUITAR = Instrument("distorted guitar", (29, 30), (play_chords, play_pad))

_PIANO = Instrument("piano", (0, 1), (play_chords, play_arpeggio))
_UPRIGHT_PIANO = Instrument("piano", (0, 3), (play_chords, play_arpeggio))
_ELECTRIC_PIANO = Instrument("electric piano", (4, 5), (play_chords, play_arpeggio))

_SYNTH = Instrument("synth", (80, 81, 84, 87), (play_arpeggio, play_chords))
_SYNTH_LEAD = Instrument("lead", (80, 81, 82), (play_lead,))
_PLUCK = Instrument("pluck", (11, 12, 45), (play_arpeggio,))
_PAD = Instrument("pad", (88, 89, 90, 94, 95), (play_pad,))
_ORGAN = Instrument("organ", (16, 17, 18), (play_chords, play_pad))

_STRINGS = Instrument("strings", (48, 49, 50), (play_pad, play_chords))
_BRASS = Instrument("brass", (61, 62, 63), (play_chords,))
_WINDS = Instrument("lead", (56, 64, 65, 66, 71, 73), (play_lead,))


@dataclass(frozen=True)
class Style:
    """What a style of music leaves to the seed.

    `kits` are General MIDI programs; one kit and one instrument of each kind is drawn; `minor` and `sevenths` are the
    probabilities of a minor key and of chords of four notes; `progressions` has degrees of the key, one a bar.
    """

    name: str
    grooves: tuple[Groove, ...]
    kits: tuple[int, ...]
    basses: tuple[Instrument, ...]
    guitars: tuple[Instrument, ...]
    pianos: tuple[Instrument, ...]
    synths: tuple[Instrument, ...]
    others: tuple[Instrument, ...]
    minor: float = 0.5
    sevenths: float = 0.2
    progressions: tuple[Degrees, ...] = PROGRESSIONS


_TWO_FIVE_ONE = ((1, 4, 0, 0), (0, 5, 1, 4), (2, 5, 1, 4))
_TWELVE_BARS = ((0, 0, 0, 0, 3, 3, 0, 0, 4, 3, 0, 4),)
_BAND_KITS = (0, 8, 16)

STYLES = MappingProxyType(
    {
        style.name: style
        for style in (
            Style(
                "rock",
                (_BY_NAME["rock"], _BY_NAME["hard rock"]),
                (0, 16),
                (_PICKED_BASS,),
                (_LOUD_GUITAR, _CLEAN_GUITAR),
                (_PIANO,),
                (_ORGAN,),
                (_STRINGS,),
            ),
            Style(
                "metal",
                (_BY_NAME["hard rock"],),
                (16,),
                (_PICKED_BASS,),
                (_LOUD_GUITAR,),
                (_PIANO,),
                (_PAD,),
                (_STRINGS,),
                minor=0.95,
                sevenths=0.0,
            ),
            Style(
                "jazz",
                (_SWING, _BY_NAME["shuffle"]),
                (JAZZ, BRUSHES),
                (_UPRIGHT_BASS,),
                (Instrument("guitar", (26,), (play_chords, play_arpeggio)),),
                (_PIANO,),
                (Instrument("pluck", (11,), (play_arpeggio, play_chords)),),
                (_WINDS, _BRASS),
                sevenths=1.0,
                progressions=_TWO_FIVE_ONE,
            ),
            Style(
                "blues",
                (_BY_NAME["shuffle"],),
                _BAND_KITS,
                (_E_BASS,),
                (_CLEAN_GUITAR,),
                (_UPRIGHT_PIANO,),
                (_ORGAN,),
                (_BRASS, _WINDS),
                minor=0.3,
                progressions=_TWELVE_BARS,
            ),
            Style(
                "pop",
                (_BY_NAME["rock"], _BY_NAME["disco"], _BY_NAME["hip hop"]),
                (0, 8, 24),
                (_E_BASS, _SYNTH_BASS),
                (_CLEAN_GUITAR, _ACOUSTIC_GUITAR),
                (_PIANO, _ELECTRIC_PIANO),
                (_SYNTH, _PLUCK),
                (_STRINGS, _PAD),
                minor=0.35,
            ),
            Style(
                "funk",
                (_FUNK, _BY_NAME["breakbeat"]),
                _BAND_KITS,
                (_SLAP_BASS, _E_BASS),
                (_MUTED_GUITAR,),
                (_ELECTRIC_PIANO,),
                (_SYNTH, _ORGAN),
                (_BRASS,),
                minor=0.7,
                sevenths=0.8,
            ),
            Style(
                "disco",
                (_BY_NAME["disco"],),
                (0, 8),
                (_E_BASS,),
                (_MUTED_GUITAR,),
                (_ELECTRIC_PIANO, _PIANO),
                (_SYNTH,),
                (_STRINGS, _BRASS),
            ),
            Style(
                "house",
                (_BY_NAME["house"],),
                DRUM_MACHINES,
                (_SYNTH_BASS, _SUB_BASS),
                (_MUTED_GUITAR,),
                (_PIANO, _ELECTRIC_PIANO),
                (_SYNTH, _PLUCK),
                (_PAD, _STRINGS),
                minor=0.75,
            ),
            Style(
                "techno",
                (_BY_NAME["techno"],),
                DRUM_MACHINES,
                (_SUB_BASS, _SYNTH_BASS),
                (_MUTED_GUITAR,),
                (_ELECTRIC_PIANO,),
                (_SYNTH, _SYNTH_LEAD),
                (_PAD,),
                minor=0.9,
            ),
            Style(
                "drum and bass",
                (_BY_NAME["drum and bass"],),
                (24, 0),
                (_SUB_BASS, _SYNTH_BASS),
                (_CLEAN_GUITAR,),
                (_ELECTRIC_PIANO, _PIANO),
                (_SYNTH, _PLUCK),
                (_PAD, _STRINGS),
                minor=0.85,
            ),
            Style(
                "hip hop",
                (_BY_NAME["hip hop"],),
                (25, 0),
                (_SUB_BASS, _E_BASS),
                (_CLEAN_GUITAR,),
                (_ELECTRIC_PIANO, _PIANO),
                (_PLUCK, _SYNTH_LEAD),
                (_STRINGS, _PAD),
                minor=0.75,
                sevenths=0.5,
            ),
            Style(
                "trap",
                (_BY_NAME["trap"],),
                (25,),
                (_SUB_BASS,),
                (_CLEAN_GUITAR,),
                (_PIANO,),
                (_PLUCK, _SYNTH),
                (_PAD, _STRINGS),
                minor=0.95,
            ),
            Style(
                "ballad",
                (_BY_NAME["ballad"],),
                (0, 8, BRUSHES),
                (_E_BASS,),
                (_ACOUSTIC_GUITAR,),
                (_PIANO, _ELECTRIC_PIANO),
                (_PAD, _SYNTH_LEAD),
                (_STRINGS,),
                minor=0.4,
            ),
            Style(
                "acoustic",
                (_BY_NAME["ballad"],),
                (BRUSHES, 0),
                (_UPRIGHT_BASS,),
                (_ACOUSTIC_GUITAR,),
                (_PIANO,),
                (_PLUCK,),
                (_STRINGS, _WINDS),
                minor=0.35,
            ),
            Style(
                "latin",
                (_BY_NAME["latin"], _BOSSA),
                (0, 8),
                (_E_BASS, _UPRIGHT_BASS),
                (_ACOUSTIC_GUITAR,),
                (_PIANO,),
                (_PLUCK,),
                (_BRASS, _WINDS),
                minor=0.6,
                sevenths=0.5,
            ),
            Style(
                "ambient",
                (_SLOW,),
                (24, BRUSHES),
                (_SUB_BASS,),
                (_CLEAN_GUITAR,),
                (_PIANO, _ELECTRIC_PIANO),
                (_PAD, _PLUCK),
                (_PAD, _STRINGS),
                sevenths=0.6,
            ),
        )
    }
)
"""The known styles by name."""

ALIASES = MappingProxyType(
    {
        "alternative": "rock",
        "indie": "rock",
        "punk": "rock",
        "grunge": "rock",
        "heavy metal": "metal",
        "hard rock": "metal",
        "swing": "jazz",
        "bebop": "jazz",
        "soul": "funk",
        "electronic": "house",
        "electronica": "house",
        "edm": "house",
        "dance": "house",
        "trance": "techno",
        "minimal": "techno",
        "dnb": "drum and bass",
        "drum n bass": "drum and bass",
        "drum bass": "drum and bass",
        "jungle": "drum and bass",
        "hiphop": "hip hop",
        "rap": "hip hop",
        "r b": "hip hop",
        "rnb": "hip hop",
        "lofi": "hip hop",
        "lo fi": "hip hop",
        "folk": "acoustic",
        "country": "acoustic",
        "singer songwriter": "acoustic",
        "bossa nova": "latin",
        "bossa": "latin",
        "salsa": "latin",
        "samba": "latin",
        "reggaeton": "latin",
        "chill": "ambient",
        "chillout": "ambient",
        "downtempo": "ambient",
        "cinematic": "ambient",
    }
)
"""Other words for known styles."""

_ANY = Style(
    "",
    GROOVES,
    DRUM_KITS,
    (_E_BASS, _UPRIGHT_BASS, _SYNTH_BASS, _SUB_BASS),
    (_CLEAN_GUITAR, _MUTED_GUITAR, _ACOUSTIC_GUITAR, _LOUD_GUITAR),
    (_PIANO, _UPRIGHT_PIANO, _ELECTRIC_PIANO),
    (_SYNTH, _SYNTH_LEAD, _PLUCK),
    (_STRINGS, _PAD, _BRASS),
)


def style_of(text: str) -> Style:
    """The style that a free text names; for a text that names none, a style that leaves everything to the seed.

    The longest known name in the text wins: "90s alternative rock" is rock, "hard rock" metal.
    """
    words = f" {' '.join(re.findall(r'[a-z0-9]+', text.casefold()))} "
    known = {**{name: name for name in STYLES}, **ALIASES}
    found = [name for name in known if f" {name} " in words]
    if not found:
        return _ANY
    return STYLES[known[max(found, key=lambda name: (len(name), name))]]


def fitting_grooves(style: Style, bpm: float) -> tuple[Groove, ...]:
    """The grooves of a style that are played at a tempo; if there are none, all of them."""
    return tuple(g for g in style.grooves if g.tempi[0] <= bpm <= g.tempi[1]) or style.grooves

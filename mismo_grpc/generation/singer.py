"""A singer: glottal pulses through the resonances of a vocal tract that forms syllables.

The vowels are those of Peterson & Barney, "Control methods used in a study of the vowels", J. Acoust. Soc. Am. 24
(1952), table II. The formants above the third are those of a uniform tube of the vocal tract's length, and all are a
cascade of resonators: Fant, Acoustic Theory of Speech Production (1960).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mismo_grpc.generation.line import (
    HOP_SECONDS,
    Manner,
    Played,
    follow_level,
    hop_frames,
    one_at_a_time,
    perform,
    trace,
)
from mismo_grpc.generation.waves import Curve, Mono, Rng, Spectra, band, fade_in, fade_out, noise

MEN = MappingProxyType(
    {
        "i": (270, 2290, 3010),
        "ɪ": (390, 1990, 2550),
        "ɛ": (530, 1840, 2480),
        "æ": (660, 1720, 2410),
        "ɑ": (730, 1090, 2440),
        "ɔ": (570, 840, 2410),
        "ʊ": (440, 1020, 2240),
        "u": (300, 870, 2240),
        "ʌ": (640, 1190, 2390),
    }
)
"""The first three formants in Hz, averages over 33 men."""
WOMEN = MappingProxyType(
    {
        "i": (310, 2790, 3310),
        "ɪ": (430, 2480, 3070),
        "ɛ": (610, 2330, 2990),
        "æ": (860, 2050, 2850),
        "ɑ": (850, 1220, 2810),
        "ɔ": (590, 920, 2710),
        "ʊ": (470, 1160, 2680),
        "u": (370, 950, 2670),
        "ʌ": (760, 1400, 2780),
    }
)
"""The same, averages over 28 women."""
LOWEST_WOMAN = 57
"""A melody whose middle is at this MIDI pitch or above gets a woman's voice."""
DIPHTHONGS = ("ɑi", "ɔi", "ɛi", "ɔu", "ɑu")

# Bandwidths as in D. H. Klatt, "Software for a cascade/parallel formant synthesizer", J. Acoust. Soc. Am. 67 (1980).
_BANDWIDTHS = np.array([70.0, 100.0, 140.0, 220.0, 280.0, 400.0, 500.0])
# The speed of sound over twice the length of the throat, 17.5 cm and 14.5 cm (Fant, 1960).
_TUBE_HZ = MappingProxyType({"man": 1000.0, "woman": 1207.0})


@dataclass(frozen=True)
class Consonant:
    """A noise before a vowel: its band in Hz, its length, and its loudness relative to the vowel."""

    low: float
    high: float
    seconds: float
    loud: float


CONSONANTS = MappingProxyType(
    {
        "s": Consonant(4500.0, 10000.0, 0.09, 0.3),
        "sh": Consonant(2000.0, 5500.0, 0.09, 0.28),
        "f": Consonant(1500.0, 9000.0, 0.07, 0.12),
        "h": Consonant(500.0, 4000.0, 0.06, 0.14),
        "t": Consonant(2500.0, 7000.0, 0.025, 0.4),
        "k": Consonant(1200.0, 3200.0, 0.03, 0.4),
        "p": Consonant(300.0, 1500.0, 0.02, 0.35),
    }
)
NASAL = "m"
"""A nasal consonant: the vowel opens from closed lips."""
_NASAL = (280.0, 1100.0, 2300.0)
_TONGUE_SECONDS = 0.04
_INHALE_SECONDS = 0.3


@dataclass(frozen=True)
class Singer:
    """A voice drawn from the seed.

    `women` selects the table, `throat` scales all formants, `slope` is how fast the source's harmonics fall (1 is 6 dB
    an octave), `ring` (0 to 1) moves the fourth and fifth formants together as trained singers do (Sundberg,
    J. Acoust. Soc. Am. 55, 1974), `breath` is the level of breath noise. The others determine how it sings: `manner`,
    and the vowels (one, or two for a diphthong) and consonants ("" for none) of its syllables.
    """

    women: bool
    throat: float
    slope: float
    ring: float
    breath: float
    manner: Manner
    vowels: tuple[str, ...]
    consonants: tuple[str, ...]


def draw_singer(middle: float, rng: Rng) -> Singer:
    """Draws a singer for a melody around the MIDI pitch `middle`."""
    manner = Manner(
        attack=rng.uniform(0.02, 0.06),
        release=rng.uniform(0.03, 0.08),
        glide=rng.uniform(0.02, 0.07),
        scoop=rng.uniform(0.1, 1.5),
        vibrato=rng.uniform(0.1, 0.6),
        speed=rng.uniform(4.6, 6.4),
        delay=rng.uniform(0.12, 0.4),
        drift=rng.uniform(0.02, 0.07),
    )
    vowels = [str(vowel) for vowel in rng.permutation(list(MEN))[: int(rng.integers(4, 8))]]
    return Singer(
        women=middle >= LOWEST_WOMAN,
        throat=rng.uniform(0.93, 1.08),
        slope=rng.uniform(0.5, 1.0),
        ring=rng.uniform(0, 1),
        breath=rng.uniform(0.01, 0.08),
        manner=manner,
        vowels=(*vowels, *DIPHTHONGS[: int(rng.integers(0, 4))]),
        consonants=("", NASAL, *CONSONANTS),
    )


def sing(notes: Sequence[Played], singer: Singer, frames: int, rate: int, rng: Rng) -> Mono:
    """Sings the notes one at a time, with a syllable on each: (frames,)."""
    line = one_at_a_time(notes)
    consonants = [str(c) for c in rng.choice(singer.consonants, len(line))]
    vowels = [str(v) for v in rng.choice(singer.vowels, len(line))]
    out, voiced = _articulated(line, consonants, frames, rate, rng)
    contour = perform(voiced, frames, singer.manner, rate, rng)
    formants = _formants_over(singer, voiced, vowels, consonants, len(contour.pitch), rate)
    shimmer = 1 + 0.05 * rng.standard_normal(len(contour.level))

    def spectra(span: slice, hz: Curve, number: NDArray[np.int64]) -> Spectra:
        frequencies = np.outer(hz, number)
        # Glottal pulses fall by about 12 dB an octave, and radiation from the lips adds 6; a soft voice is duller.
        slope = singer.slope + 0.5 * (0.7 - contour.level[span, None])
        source = shimmer[span, None] * number**-slope
        sound = (-1j * source) * throat_gain(frequencies, formants[span])
        # Vowels whose formants lie between harmonics would be too soft; singers compensate for most of that.
        power = np.sqrt(np.sum(np.abs(sound) ** 2, axis=1, keepdims=True))
        return (sound / power**0.7).astype(np.complex64)

    out += trace(contour, spectra, frames, rate)
    air = noise(frames, band(900, 7000), rate, rng)
    out += follow_level(air, contour.level * singer.breath, rate)
    return out


def throat_gain(frequencies: Curve, formants: Curve) -> NDArray[np.complex128]:
    """Returns the gain of a cascade of formants (moments, up to 7) at frequencies (moments, harmonics); 1 at 0 Hz."""
    fallen: NDArray[np.complex128] = np.ones(frequencies.shape, dtype=np.complex128)
    squared = frequencies**2
    for formant, bandwidth in zip(formants.T, _BANDWIDTHS, strict=False):
        centre = (formant**2 + bandwidth**2 / 4)[:, None]
        fallen *= (1 - squared / centre) + 1j * (bandwidth * frequencies / centre)
    return 1 / fallen


def _formants_over(
    singer: Singer,
    notes: Sequence[Played],
    vowels: Sequence[str],
    consonants: Sequence[str],
    moments: int,
    rate: int,
) -> Curve:
    """Returns the formants at each moment, (moments, 7); they move to each vowel in about 40 ms, as the tongue does."""
    table = WOMEN if singer.women else MEN
    hop = hop_frames(rate)
    lower = np.tile(np.array(table["ʌ"], dtype=float), (moments, 1))
    for i, (note, vowel) in enumerate(zip(notes, vowels, strict=True)):
        first, last = -(-note.begin // hop), -(-note.end // hop)
        until = -(-notes[i + 1].begin // hop) if i + 1 < len(notes) else moments
        if first >= min(until, moments):
            continue
        until = min(until, moments)
        age = np.arange(until - first)[:, None] * HOP_SECONDS
        origin = np.array(_NASAL) if consonants[i] == NASAL else lower[max(0, first - 1)]
        opening, closing = np.array(table[vowel[0]], dtype=float), np.array(table[vowel[-1]], dtype=float)
        # A diphthong moves in the second half of its note.
        length = max(1, last - first) * HOP_SECONDS
        moved = np.clip(2 * age / length - 1, 0, 1)
        goal = opening + (closing - opening) * moved
        lower[first:until] = goal + (origin - goal) * np.exp(-age / _TONGUE_SECONDS)
    # The resonances of a tube are at (2 k - 1) quarter waves, so the fourth formant is at seven quarters.
    upper = _TUBE_HZ["woman" if singer.women else "man"] * (np.arange(4, 8) - 0.5)
    upper[0] *= 1 - 0.12 * singer.ring
    upper[1] *= 1 - 0.22 * singer.ring
    return singer.throat * np.concatenate([lower, np.tile(upper, (moments, 1))], axis=1)


def _articulated(
    notes: Sequence[Played], consonants: Sequence[str], frames: int, rate: int, rng: Rng
) -> tuple[Mono, list[Played]]:
    """Returns the noises of consonants and breaths, and the notes with the beginnings of their vowels."""
    out = np.zeros(frames, dtype=np.float32)
    sounds = {
        name: noise(int(c.seconds * rate), band(c.low, c.high), rate, rng) for name, c in CONSONANTS.items()
    }
    inhaled = noise(int(_INHALE_SECONDS * rate), band(700, 5000), rate, rng)
    voiced: list[Played] = []
    silent_from = 0
    for note, consonant in zip(notes, consonants, strict=True):
        if voiced and note.begin - silent_from > 2 * _INHALE_SECONDS * rate:
            _add(out, note.begin - int(1.2 * len(inhaled)), 0.02 * inhaled, 0.1, rate)
        begin = note.begin
        if consonant in sounds:
            length = min(len(sounds[consonant]), int(0.4 * (note.end - note.begin)))
            burst = sounds[consonant][:length] * np.float32(CONSONANTS[consonant].loud * note.loudness)
            _add(out, begin, burst, 0.001 if consonant in "tkp" else 0.025, rate)
            begin += int(0.85 * length)
        voiced.append(Played(begin, note.end, note.pitch, note.loudness))
        silent_from = note.end
    return out, voiced


def _add(out: Mono, begin: int, sound: Mono, rise: float, rate: int) -> None:
    sound = fade_out(fade_in(sound, rise, rate), 0.012, rate)[: max(0, len(out) - begin)]
    out[begin : begin + len(sound)] += sound

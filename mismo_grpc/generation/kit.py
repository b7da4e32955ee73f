"""Drum kits: drums, cymbals and small percussion, acoustic or from a drum machine."""

from __future__ import annotations

from collections.abc import Callable
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
)
from mismo_grpc.generation.waves import (
    Curve,
    Mono,
    Rng,
    band,
    fade_in,
    fade_out,
    noise,
    ring,
    saturate,
    seconds_of,
)

Strike = Callable[[float, Rng], Mono]
"""Plays one hit of a strength (0 to 1) until it has decayed; no two hits are alike."""

MACHINES = (24, 25)
"""General MIDI kits that are drum machines: electronic and TR-808."""
JAZZ, BRUSHES = 32, 40
CHOKED_BY = MappingProxyType({OPEN_HAT: (CLOSED_HAT, PEDAL_HAT)})
"""Which hits silence which ringing drums: a hi-hat is one pair of cymbals."""

# Modes of an ideal circular membrane relative to the lowest: zeros of the Bessel functions, Fletcher & Rossing, The
# Physics of Musical Instruments, 2nd edition, table 3.1.
_SKIN = np.array([1.0, 1.594, 2.136, 2.296, 2.653, 2.918])
# The six square waves that the metallic sounds of the TR-808 are made of, in Hz (Roland TR-808 service notes, 1981).
_METAL = np.array([205.3, 304.4, 369.6, 522.7, 540.0, 800.0])


@dataclass(frozen=True)
class Drum:
    """One instrument of a kit: its hit and its pan (-1 left to 1 right)."""

    strike: Strike
    pan: float


def draw_kit(program: int, rate: int, rng: Rng) -> MappingProxyType[int, Drum]:
    """The drums of a kit by percussion key, drawn from the seed."""
    machine = program in MACHINES
    side = 1.0 if rng.random() < 0.5 else -1.0
    hat = _cymbal(rate, rng, machine=machine, low=rng.uniform(5500, 8000), size=0.5)
    crash = _cymbal(rate, rng, machine=machine, low=rng.uniform(1500, 3500), size=1.0)
    ride = _cymbal(rate, rng, machine=machine, low=rng.uniform(2500, 4500), size=0.8)
    closed, opened = rng.uniform(0.05, 0.12), rng.uniform(0.4, 0.9)
    toms = rng.uniform(75, 100)
    drums = {
        KICK: Drum(_kick(program, rate, rng), 0.0),
        SNARE: Drum(_snare(program, rate, rng), 0.05 * side),
        SIDE_STICK: Drum(_side_stick(rate, rng), 0.1 * side),
        CLAP: Drum(_clap(rate, rng), 0.1),
        CLOSED_HAT: Drum(lambda strength, take: hat(strength, closed, take), 0.35 * side),
        PEDAL_HAT: Drum(lambda strength, take: hat(strength * 0.7, closed * 0.7, take), 0.35 * side),
        OPEN_HAT: Drum(lambda strength, take: hat(strength, opened, take), 0.35 * side),
        CRASH: Drum(lambda strength, take: crash(strength, 2.2, take), -0.5 * side),
        RIDE: Drum(_ride(ride, rate, rng), -0.4 * side),
        LOW_TOM: Drum(_tom(toms, rate, rng, machine=machine), -0.45 * side),
        MID_TOM: Drum(_tom(toms * 1.35, rate, rng, machine=machine), -0.1 * side),
        HIGH_TOM: Drum(_tom(toms * 1.8, rate, rng, machine=machine), 0.3 * side),
        TAMBOURINE: Drum(_tambourine(rate, rng), -0.3 * side),
        COWBELL: Drum(_cowbell(rate, rng, machine=machine), 0.25 * side),
        SHAKER: Drum(_shaker(rate, rng), 0.5 * side),
    }
    return MappingProxyType(drums)


def _kick(program: int, rate: int, rng: Rng) -> Strike:
    machine = program in MACHINES
    low = rng.uniform(32, 80) if machine else rng.uniform(48, 66)
    high, sweep = low + rng.uniform(60, 320), rng.uniform(0.012, 0.035)
    # A drum machine's kick is often as long as a beat, and ends at the pitch of a bass or lower.
    length = rng.uniform(0.45, 1.3) if machine and rng.random() < 0.7 else rng.uniform(0.16, 0.35)
    click, push = rng.uniform(0.05, 0.4), rng.uniform(0.8, 2.5)
    soft = program in (JAZZ, BRUSHES)

    def strike(strength: float, take: Rng) -> Mono:
        clock = seconds_of(int(1.3 * length * rate), rate)
        phase = 2 * np.pi * _swept(low, high * take.uniform(0.95, 1.05), sweep, clock)
        body = np.sin(phase) * np.exp(-5 * clock / length)
        driven = saturate((push * body).astype(np.float32)) / np.float32(np.tanh(push))
        beater = noise(len(clock), band(1500, 3000 if soft else 7000), rate, take) * np.exp(-clock / 0.004)
        sound = driven + click * (0.3 if soft else 1.0) * strength * beater
        return _shaped(sound.astype(np.float32), strength, 0.0008, rate)

    return strike


def _snare(program: int, rate: int, rng: Rng) -> Strike:
    low, wires = rng.uniform(160, 230), rng.uniform(0.09, 0.22)
    tone, fizz = rng.uniform(0.4, 0.9), rng.uniform(0.25, 0.6)
    dull, bright = rng.uniform(700, 1800), rng.uniform(6000, 12000)
    brushed = program == BRUSHES
    modes = np.array([1.0, 1.75]) if program in MACHINES else _SKIN

    def strike(strength: float, take: Rng) -> Mono:
        frames = int((4.0 if brushed else 3.0) * wires * rate)
        clock = seconds_of(frames, rate)
        loud = take.uniform(0.5, 1.0, len(modes)) * 0.7 ** np.arange(len(modes))
        # The pitch of a struck membrane glides down at first; the short decay hides that this is left out here.
        skin = ring(
            low * modes * take.uniform(0.99, 1.01), 0.16 / np.sqrt(modes), loud, -np.pi / 2, frames, rate
        )
        rattle = noise(frames, band(dull, bright), rate, take)
        rattle *= (np.exp(-2.3 * clock / wires) * fizz * (0.5 + strength)).astype(np.float32)
        sound = np.float32(0.25 if brushed else tone) * skin + rattle
        return _shaped(sound, strength, 0.02 if brushed else 0.001, rate)

    return strike


def _side_stick(rate: int, rng: Rng) -> Strike:
    modes = np.array([rng.uniform(380, 520), rng.uniform(1500, 2000), rng.uniform(2400, 3200)])

    def strike(strength: float, take: Rng) -> Mono:
        frames = int(0.12 * rate)
        wood = ring(
            modes * take.uniform(0.99, 1.01), np.array([0.09, 0.05, 0.03]), np.ones(3), 0.0, frames, rate
        )
        return _shaped(0.3 * wood, strength, 0.0005, rate)

    return strike


def _clap(rate: int, rng: Rng) -> Strike:
    centre, tail = rng.uniform(900, 1500), rng.uniform(0.08, 0.2)
    apart = rng.uniform(0.008, 0.013)

    def strike(strength: float, take: Rng) -> Mono:
        clock = seconds_of(int(3 * tail * rate), rate)
        hands = np.exp(-2.3 * clock / tail) * 0.6
        for i in range(4):
            since = clock - i * apart * take.uniform(0.85, 1.15)
            hands += np.where(since >= 0, np.exp(-np.maximum(since, 0) / 0.003), 0.0)
        sound = noise(len(clock), band(centre * 0.7, centre * 2.5), rate, take) * (0.4 * hands)
        return _shaped(sound.astype(np.float32), strength, 0.0005, rate)

    return strike


def _cymbal(
    rate: int, rng: Rng, *, machine: bool, low: float, size: float
) -> Callable[[float, float, Rng], Mono]:
    """A cymbal: maps (strength, decay in seconds, randomness) to sound, with little energy below `low` Hz."""
    if machine:
        # Odd harmonics of squares, as far as they are in the band.
        number = np.arange(1, 100, 2)
        partials = (_METAL[:, None] * size * 2 * rng.uniform(0.9, 1.1) * number).reshape(-1)
        loud = np.tile(1 / number, len(_METAL))
    else:
        # A plate's modes are denser at higher frequencies and practically random.
        partials = low * 0.5 + (16000 - low * 0.5) * rng.random(160) ** 1.3
        loud = rng.exponential(0.03, 160)
    loud = loud * band(low, 14000, 3)(partials)
    heard = loud > 1e-4 * loud.max()
    partials, loud = partials[heard], loud[heard] / np.sqrt(np.sum(loud**2))
    hiss = rng.uniform(0.1, 0.3) if machine else rng.uniform(0.3, 0.8)

    def strike(strength: float, seconds: float, take: Rng) -> Mono:
        frames = int(1.1 * seconds * rate)
        # High modes decay first, after energy has moved up to them.
        decays = seconds * (1.3 - 0.6 * partials / 16000)
        turns = take.uniform(0, 2 * np.pi, len(partials))
        metal = ring(partials * take.uniform(0.997, 1.003), decays, loud, turns, frames, rate)
        wash = noise(frames, band(low, 13000, 2), rate, take)
        wash *= np.exp(-6 * seconds_of(frames, rate) / seconds).astype(np.float32)
        return _shaped((0.35 * (metal + hiss * wash)).astype(np.float32), strength, 0.0008, rate)

    return strike


def _ride(cymbal: Callable[[float, float, Rng], Mono], rate: int, rng: Rng) -> Strike:
    ping = rng.uniform(2800, 4200) * np.array([1.0, 1.47, 2.09])

    def strike(strength: float, take: Rng) -> Mono:
        sound = 0.5 * cymbal(strength, 1.6, take)
        bell = ring(ping, np.array([0.7, 0.5, 0.4]), np.array([0.1, 0.08, 0.05]), 0.0, len(sound), rate)
        return sound + _shaped(bell, strength, 0.0008, rate)

    return strike


def _tom(hz: float, rate: int, rng: Rng, *, machine: bool) -> Strike:
    length, drop = rng.uniform(0.35, 0.6), rng.uniform(1.15, 1.6)
    modes = _SKIN[:1] if machine else _SKIN[:4]

    def strike(strength: float, take: Rng) -> Mono:
        clock = seconds_of(int(1.2 * length * rate), rate)
        turned = _swept(hz, hz * drop, 0.05, clock)
        sound = np.zeros(len(clock))
        for i, mode in enumerate(modes):
            loud = take.uniform(0.7, 1.0) * 0.4**i
            sound += loud * np.sin(2 * np.pi * mode * turned) * np.exp(-5 * clock * mode / length)
        stick = noise(len(clock), band(1000, 5000), rate, take) * np.exp(-clock / 0.006)
        return _shaped((sound + 0.12 * strength * stick).astype(np.float32), strength, 0.001, rate)

    return strike


def _tambourine(rate: int, rng: Rng) -> Strike:
    jingles = rng.uniform(5000, 13000, 24)
    length = rng.uniform(0.15, 0.3)

    def strike(strength: float, take: Rng) -> Mono:
        frames = int(1.2 * length * rate)
        clock = seconds_of(frames, rate)
        loud = take.uniform(0.02, 0.08, len(jingles))
        metal = ring(jingles, length, loud, take.uniform(0, 6.3, len(jingles)), frames, rate)
        shaken = noise(frames, band(6000, 14000), rate, take) * np.exp(-5 * clock / length)
        # The jingles hit twice: on the way out and on the way back.
        again = 1 + 0.8 * np.exp(-(((clock - 0.035) / 0.008) ** 2))
        return _shaped(((metal + 0.15 * shaken) * again).astype(np.float32), strength, 0.003, rate)

    return strike


def _cowbell(rate: int, rng: Rng, *, machine: bool) -> Strike:
    low = 540.0 if machine else rng.uniform(520, 720)
    high = low * (800 / 540) if machine else low * rng.uniform(1.45, 1.55)
    length = rng.uniform(0.2, 0.4)

    def strike(strength: float, take: Rng) -> Mono:
        number = np.arange(1, 14, 2)
        partials = np.concatenate([low * number, high * number]) * take.uniform(0.995, 1.005)
        loud = 0.35 * np.tile(1 / number, 2) * band(500, 5000, 1)(partials)
        return _shaped(
            ring(partials, length, loud, 0.0, int(1.1 * length * rate), rate), strength, 0.001, rate
        )

    return strike


def _shaker(rate: int, rng: Rng) -> Strike:
    low, high = rng.uniform(3500, 6000), rng.uniform(9000, 14000)
    rise, fall = rng.uniform(0.01, 0.035), rng.uniform(0.02, 0.05)

    def strike(strength: float, take: Rng) -> Mono:
        clock = seconds_of(int((rise + 5 * fall) * rate), rate)
        grains = np.minimum(clock / rise, 1) * np.exp(-np.maximum(0, clock - rise) / fall)
        sound = noise(len(clock), band(low, high), rate, take) * (0.2 * grains)
        return _shaped(sound.astype(np.float32), strength, 0.002, rate)

    return strike


def _swept(low: float, high: float, seconds: float, clock: Curve) -> Curve:
    """Returns the phase in cycles of a pitch that falls from `high` to `low` Hz."""
    return low * clock + (high - low) * seconds * (1 - np.exp(-clock / seconds))


def _shaped(sound: Mono, strength: float, rise: float, rate: int) -> Mono:
    """Scales a hit to its loudness and fades both ends."""
    return fade_out(fade_in(np.float32(strength**1.5) * sound, rise, rate), 0.02, rate)

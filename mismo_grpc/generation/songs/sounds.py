"""The sounds of a part's notes; each depends on the seed and on its note alone, and not on the order of calls.

A sound is rendered when a window needs it, and kept for the next note that is alike until newer ones need the memory.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mismo_grpc.generation.kit import CHOKED_BY, draw_kit
from mismo_grpc.generation.lead import draw_soloist
from mismo_grpc.generation.line import TAIL_SECONDS, Played
from mismo_grpc.generation.score import Part
from mismo_grpc.generation.singer import draw_singer, sing
from mismo_grpc.generation.synthetic import HITS, INSTRUMENTS, LAYERS, LONGEST_NOTE, pan_gains
from mismo_grpc.generation.tempo import TempoMap
from mismo_grpc.generation.timbre import Finish, Timbre, centred, chorused
from mismo_grpc.generation.waves import Rng, tiled_products

Sound = NDArray[np.float32]
"""(channels, frames)."""

CACHE_BYTES = 16 << 20
"""Bytes of rendered sounds that a part keeps."""
_PHRASE_BEATS = 8.0
"""Beats of a phrase of a melody, which is rendered as one."""
_EARLY_BEATS = 0.1
"""How far before its beat a player may begin a note."""
_CHOKE_SECONDS = 0.01
_SHORTEST_TAKE = 0.125
"""Seconds of the shortest take of a held note; each longer one is half as long again."""


@dataclass(frozen=True)
class Placed:
    """A sound at frames [begin, end) of the song; `index` is its place in the order in which sounds are added."""

    begin: int
    end: int
    index: int


class Sounds(Protocol):
    """The sounds of one part; all have `channels` channels, and `finish` processes their sum if it has one."""

    @property
    def channels(self) -> int: ...

    @property
    def finish(self) -> Finish | None: ...

    @property
    def placed(self) -> Sequence[Placed]: ...

    def sound(self, place: Placed, begin: int, end: int) -> Sound:
        """The frames [begin, end) of a sound, counted from its own begin."""
        ...


class _Takes:
    """Rendered sounds by key, of which the least recently used are dropped."""

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit = limit_bytes
        self._bytes = 0
        self._kept: OrderedDict[Hashable, Sound] = OrderedDict()

    def get(self, key: Hashable, render: Callable[[], Sound]) -> Sound:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found
        with tiled_products():
            made = render()
        self._kept[key] = made
        self._bytes += made.nbytes
        while self._bytes > self._limit and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.nbytes
        return made


class HeldSounds:
    """The notes of an instrument of `synthetic.INSTRUMENTS`."""

    channels = 1

    def __init__(self, part: Part, notes: Sequence[Played], rate: int, seed: int) -> None:
        self._timbre: Timbre = INSTRUMENTS[part.voice](part.program, rate, rng_of(seed))
        self.finish: Finish | None = self._timbre.finish
        self._notes, self._rate, self._seed = notes, rate, seed
        self._release = int(self._timbre.release * rate)
        fall = (np.exp(-5 * np.arange(self._release) / max(1, self._release)) - np.exp(-5)) / (1 - np.exp(-5))
        self._fall = fall.astype(np.float32)
        self._takes = _Takes()
        times: Counter[int] = Counter()
        self._keys: list[tuple[int, int, int, int]] = []
        for note in notes:
            variant = times[note.pitch] % self._timbre.variants
            times[note.pitch] += 1
            self._keys.append((note.pitch, _layer(note), variant, self._take_frames(note.end - note.begin)))
        self.placed = [
            Placed(note.begin, note.end + self._release, index) for index, note in enumerate(notes)
        ]

    def sound(self, place: Placed, begin: int, end: int) -> Sound:
        """The frames [begin, end) of a note with its release."""
        note, key = self._notes[place.index], self._keys[place.index]
        take = self._takes.get(key, lambda: self._take(*key))
        part = take[:, begin:end] * np.float32(note.loudness**1.5)
        length = note.end - note.begin
        if end > length:
            first = max(begin, length)
            part[:, first - begin :] *= self._fall[first - length : end - length]
        return part

    def _take(self, pitch: int, layer: int, variant: int, frames: int) -> Sound:
        rng = rng_of(self._seed, pitch, layer, variant, frames)
        return self._timbre.tone(pitch, (layer + 0.5) / LAYERS, frames, rng)[None]

    def _take_frames(self, frames: int) -> int:
        """Returns one of a few lengths, so that notes of similar lengths share a take."""
        length = _SHORTEST_TAKE * self._rate
        while length < frames:
            length *= 1.5
        return int(min(length, LONGEST_NOTE * self._rate)) + self._release + 1


class DrumSounds:
    """The hits of a drum kit."""

    channels = 2
    finish: Finish | None = None

    def __init__(self, part: Part, notes: Sequence[Played], rate: int, seed: int) -> None:
        self._kit = draw_kit(part.program, rate, rng_of(seed))
        self._sides: dict[int, Sound] = {
            key: np.array(pan_gains(drum.pan), dtype=np.float32)[:, None] for key, drum in self._kit.items()
        }
        self._notes, self._seed = notes, seed
        self._takes = _Takes()
        fall = max(1, int(_CHOKE_SECONDS * rate))
        self._fall = (0.5 + 0.5 * np.cos(np.pi * np.arange(1, fall + 1) / fall)).astype(np.float32)
        times: Counter[int] = Counter()
        self._keys: list[tuple[int, int, int]] = []
        self.placed: list[Placed] = []
        chokes = {drum: [n.begin for n in notes if n.pitch in by] for drum, by in CHOKED_BY.items()}
        lengths: dict[tuple[int, int, int], int] = {}
        for index, note in enumerate(notes):
            key = (note.pitch, _layer(note), times[note.pitch] % HITS)
            times[note.pitch] += 1
            if key not in lengths:
                lengths[key] = self._rendered(key).shape[1]
            end = note.begin + lengths[key]
            stops = chokes.get(note.pitch, [])
            # A hit at the same time as a drum does not silence it.
            later = bisect_left(stops, note.begin + int(0.06 * rate))
            if later < len(stops):
                end = min(end, stops[later])
            self._keys.append(key)
            self.placed.append(Placed(note.begin, end, index))

    def sound(self, place: Placed, begin: int, end: int) -> Sound:
        """The frames [begin, end) of a hit, which fades out where another silences it."""
        note, key = self._notes[place.index], self._keys[place.index]
        take = self._rendered(key)
        hit = take[0, begin:end] * np.float32((note.loudness / ((key[1] + 0.5) / LAYERS)) ** 1.5)
        part = (self._sides[note.pitch] * hit).astype(np.float32)
        length = place.end - place.begin
        fading = length - len(self._fall)
        if length < take.shape[1] and end > fading:
            first = max(begin, fading, 0)
            part[:, first - begin :] *= self._fall[first - fading : end - fading]
        return part

    def _rendered(self, key: tuple[int, int, int]) -> Sound:
        return self._takes.get(key, lambda: self._take(*key))

    def _take(self, drum: int, layer: int, variant: int) -> Sound:
        # Kept in one channel, which takes half the memory.
        return self._kit[drum].strike((layer + 0.5) / LAYERS, rng_of(self._seed, drum, layer, variant))[None]


class MelodySounds:
    """The phrases of a soloist or a singer, each of two bars; the sound of a phrase may overlap the next one."""

    def __init__(self, part: Part, tempo: TempoMap, notes: Sequence[Played], rate: int, seed: int) -> None:
        self._rate, self._seed = rate, seed
        self._tail = int((TAIL_SECONDS + 0.05) * rate)
        self._phrases = _phrases(notes, tempo, rate)
        self._takes = _Takes()
        self.placed = [
            Placed(phrase[0].begin, max(note.end for note in phrase) + self._tail, index)
            for index, phrase in enumerate(self._phrases)
        ]
        self.finish: Finish | None
        if part.voice == "lead":
            rng = rng_of(seed)
            soloist = draw_soloist(part.program, rate, rng)
            self.channels, self.finish = 1, chorused(0.0008, 0.5, rate, rng)
            self._perform = lambda notes, frames, rng: soloist(notes, frames, rng)[None]
            return
        middle = float(np.median([note.pitch for note in notes])) if notes else 60.0
        # Backing vocals are two voices, one on each side.
        self.channels = 1 if part.voice == "lead singer" else 2
        self.finish = centred if self.channels == 1 else None
        singers = [draw_singer(middle, rng_of(seed, 0, voice)) for voice in range(self.channels)]

        def perform(notes: Sequence[Played], frames: int, rng: Rng) -> Sound:
            return np.stack([sing(notes, singer, frames, rate, rng) for singer in singers])

        self._perform: Callable[[Sequence[Played], int, Rng], Sound] = perform

    def sound(self, place: Placed, begin: int, end: int) -> Sound:
        """The frames [begin, end) of a phrase."""
        phrase = self._phrases[place.index]

        def render() -> Sound:
            moved = [Played(n.begin - place.begin, n.end - place.begin, n.pitch, n.loudness) for n in phrase]
            return self._perform(moved, place.end - place.begin, rng_of(self._seed, 1, place.index))

        return self._takes.get(place.index, render)[:, begin:end]


def sounds_of(part: Part, tempo: TempoMap, notes: Sequence[Played], rate: int, seed: int) -> Sounds:
    """The sounds of a part for its notes in frames, sorted by begin."""
    if part.voice == "drum kit":
        return DrumSounds(part, notes, rate, seed)
    if part.voice in INSTRUMENTS:
        return HeldSounds(part, notes, rate, seed)
    return MelodySounds(part, tempo, notes, rate, seed)


def rng_of(*seeds: int) -> Rng:
    """Randomness of its own for each sequence of numbers."""
    return np.random.default_rng(np.random.SeedSequence(seeds))


def _layer(note: Played) -> int:
    """The strength, of LAYERS, with which a note's take is rendered."""
    return min(int(note.loudness * LAYERS), LAYERS - 1)


def _phrases(notes: Sequence[Played], tempo: TempoMap, rate: int) -> list[list[Played]]:
    length = tempo.frames(_PHRASE_BEATS, rate)
    early = tempo.frames(_EARLY_BEATS, rate)
    phrases: dict[int, list[Played]] = {}
    for note in notes:
        phrases.setdefault(int((note.begin + early) // length), []).append(note)
    return list(phrases.values())

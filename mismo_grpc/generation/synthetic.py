"""Renders compositions with voices of numpy alone, without sound fonts or samples; each seed draws new instruments."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mismo_grpc.generation import held, struck
from mismo_grpc.generation.kit import CHOKED_BY, Drum, draw_kit
from mismo_grpc.generation.lead import play_melody
from mismo_grpc.generation.line import Played
from mismo_grpc.generation.score import STEMS, Composition, Note, Part
from mismo_grpc.generation.singer import draw_singer, sing
from mismo_grpc.generation.tempo import TempoMap
from mismo_grpc.generation.timbre import Timbre, chorused
from mismo_grpc.generation.waves import (
    SIXTY_DB,
    Mono,
    Rng,
    Stereo,
    band,
    chunks,
    convolve,
    fade_out,
    noise,
    seconds_of,
)

Audio = NDArray[np.float32]
"""(frames, 2)."""

PEAK = 0.9
"""The peak of the mix."""
LONGEST_NOTE = 20.0
"""Seconds after which a held note ends, so that one note cannot take all memory."""

INSTRUMENTS = MappingProxyType(
    {
        "electric bass": struck.electric_bass,
        "synth bass": held.synth_bass,
        "sub bass": held.sub_bass,
        "piano": struck.piano,
        "electric piano": struck.electric_piano,
        "organ": held.organ,
        "guitar": struck.guitar,
        "distorted guitar": struck.distorted_guitar,
        "strings": held.strings,
        "brass": held.brass,
        "pad": held.pad,
        "pluck": struck.pluck,
        "synth": held.synth,
    }
)
MELODIC = ("lead", "lead singer", "backing singer")
VOICES = ("drum kit", *INSTRUMENTS, *MELODIC)
"""Every voice that a part may ask for."""

END_SECONDS = 0.01
"""Seconds of the fade at the end of the song."""
LAYERS = 4
"""Strengths that a note's timbre is rendered in; its loudness is continuous."""
HITS = 3
"""Variants of each drum hit, played in turn."""
LOUDNESS = MappingProxyType({"drums": 0.11, "bass": 0.11, "other": 0.08, "vocals": 0.1})
"""RMS of a part with a level of 0 dB while it sounds."""
ROOM_SENDS = MappingProxyType({"drums": 0.12, "bass": 0.0, "other": 0.22, "vocals": 0.22})
"""The level of each stem's reverberation; none for a bass, which would become unclear."""


def render(composition: Composition, *, sample_rate: int = 44100, seed: int) -> dict[str, Audio]:
    """Renders the four stems of a composition, each (frames, 2) float32, from its first beat to its last.

    One gain scales all stems: their sum peaks at PEAK or below, and no stem exceeds it. The same seed gives the same
    bytes. Takes 8 bytes of memory for each frame and stem, and about three times that for the stem in progress.
    Raises ValueError for a stem, voice or drum that is unknown, or a negative seed.
    """
    unknown = {part.stem for part in composition.parts} - set(STEMS)
    if unknown:
        raise ValueError(f"no such stem: {', '.join(sorted(unknown))}; there are {', '.join(STEMS)}")
    frames = round(composition.seconds * sample_rate)
    first, *seeds = (int(s) for s in np.random.SeedSequence(seed).generate_state(1 + len(composition.parts)))
    room = draw_room(sample_rate, np.random.default_rng(first))
    stems = {stem: np.zeros((frames, 2), dtype=np.float32) for stem in STEMS}
    for part, part_seed in zip(composition.parts, seeds, strict=True):
        stems[part.stem] += render_part(part, composition.tempo_map, frames, sample_rate, part_seed)
    for stem, audio in stems.items():
        if ROOM_SENDS[stem] and audio.any():
            audio += convolve(audio.mean(axis=1), ROOM_SENDS[stem] * room).T
            fade_out(audio.T, END_SECONDS, sample_rate)
    peak = _peak(list(stems.values()))
    for audio in stems.values():
        audio *= PEAK / max(peak, 1e-9)
    return stems


def render_part(part: Part, tempo: TempoMap, frames: int, sample_rate: int, seed: int) -> Audio:
    """Renders one part as (frames, 2) float32, with the loudness of its stem, its own level and its pan.

    The seed draws the instrument; sound past the end is cut with a short fade.
    Raises ValueError for a voice or a drum that is unknown, or a negative seed.
    """
    if part.voice not in VOICES:
        raise ValueError(f"no such voice: {part.voice!r}; there are {', '.join(VOICES)}")
    rng = np.random.default_rng(seed)
    notes = placed_notes(part.notes, tempo, frames, sample_rate)
    if not notes:
        return np.zeros((frames, 2), dtype=np.float32)
    played = _played(part, notes, frames, sample_rate, rng)
    left, right = pan_gains(part.pan)
    gain = LOUDNESS[part.stem] * 10 ** (part.level / 20) / max(loudness_of(played, sample_rate), 1e-9)
    played *= np.array([[gain * left], [gain * right]], dtype=np.float32)
    return np.ascontiguousarray(fade_out(played, END_SECONDS, sample_rate).T)


def placed_notes(notes: Sequence[Note], tempo: TempoMap, frames: int, rate: int) -> list[Played]:
    """The notes that begin before `frames`, in order, from beats to frames at `rate` (Hz)."""
    placed: list[Played] = []
    for note in sorted(notes, key=lambda note: (note.start, note.pitch)):
        begin = round(tempo.frames(note.start, rate))
        length = max(1, round(tempo.frames_between(note.start, note.duration, rate)))
        length = min(length, int(LONGEST_NOTE * rate))
        if begin < frames:
            placed.append(Played(begin, min(begin + length, frames), note.pitch, note.velocity / 127))
    return placed


def _played(part: Part, notes: Sequence[Played], frames: int, rate: int, rng: Rng) -> Stereo:
    if part.voice == "drum kit":
        return _drummed(draw_kit(part.program, rate, rng), notes, frames, rate, rng)
    if part.voice == "lead":
        widened = chorused(0.0008, 0.5, rate, rng)
        return widened(play_melody(notes, part.program, frames, rate, rng))
    if part.voice in ("lead singer", "backing singer"):
        middle = float(np.median([note.pitch for note in notes]))
        # Backing vocals are two voices, one on each side.
        voices = 1 if part.voice == "lead singer" else 2
        sung = [sing(notes, draw_singer(middle, rng), frames, rate, rng) for _ in range(voices)]
        return np.stack([sung[0], sung[-1]])
    timbre = INSTRUMENTS[part.voice](part.program, rate, rng)
    return timbre.finish(_held(timbre, notes, frames, rate, rng))


def _held(timbre: Timbre, notes: Sequence[Played], frames: int, rate: int, rng: Rng) -> Mono:
    """Plays the notes of an instrument; each pitch is rendered once a strength, for the longest time it is held."""
    takes: defaultdict[tuple[int, int, int], list[Played]] = defaultdict(list)
    times: Counter[int] = Counter()
    for note in notes:
        layer = min(int(note.loudness * LAYERS), LAYERS - 1)
        takes[note.pitch, layer, times[note.pitch] % timbre.variants].append(note)
        times[note.pitch] += 1
    release = int(timbre.release * rate)
    # An exponential that reaches 0.
    let_go = (np.exp(-5 * np.arange(release) / max(1, release)) - np.exp(-5)) / (1 - np.exp(-5))
    let_go = let_go.astype(np.float32)
    out = np.zeros(frames, dtype=np.float32)
    for (pitch, layer, _), played in sorted(takes.items()):
        longest = max(note.end - note.begin for note in played)
        tone = timbre.tone(pitch, (layer + 0.5) / LAYERS, longest + release, rng)
        for note in played:
            length = note.end - note.begin
            sound = tone[: length + release] * np.float32(note.loudness**1.5)
            sound[length:] *= let_go
            sound = sound[: frames - note.begin]
            out[note.begin : note.begin + len(sound)] += sound
    return out


def _drummed(kit: Mapping[int, Drum], notes: Sequence[Played], frames: int, rate: int, rng: Rng) -> Stereo:
    """Plays the hits of a kit: a few variants of each drum, soft and hard, in turn."""
    missing = {note.pitch for note in notes} - set(kit)
    if missing:
        raise ValueError(f"no such drums: {sorted(missing)}; there are {sorted(kit)}")
    chokes = {drum: [n.begin for n in notes if n.pitch in by] for drum, by in CHOKED_BY.items()}
    takes: defaultdict[tuple[int, int, int], list[tuple[Played, int]]] = defaultdict(list)
    times: Counter[int] = Counter()
    for note in notes:
        layer = min(int(note.loudness * LAYERS), LAYERS - 1)
        # A hit at the same time as a drum does not silence it.
        stops = chokes.get(note.pitch, [])
        later = bisect_left(stops, note.begin + int(0.06 * rate))
        choked = stops[later] if later < len(stops) else frames
        takes[note.pitch, layer, times[note.pitch] % HITS].append((note, choked))
        times[note.pitch] += 1
    out = np.zeros((2, frames), dtype=np.float32)
    for (drum, layer, _), played in sorted(takes.items()):
        strength = (layer + 0.5) / LAYERS
        hit = kit[drum].strike(strength, rng)
        sides = np.array(pan_gains(kit[drum].pan), dtype=np.float32)[:, None] * hit
        for note, choked in played:
            end = min(note.begin + len(hit), choked)
            sound = sides[:, : end - note.begin] * np.float32((note.loudness / strength) ** 1.5)
            if end < note.begin + len(hit):
                fade_out(sound, 0.01, rate)
            out[:, note.begin : end] += sound
    return out


def pan_gains(pan: float) -> tuple[float, float]:
    """Returns the gains of left and right: of constant power, both 1 in the middle."""
    angle = (float(np.clip(pan, -1, 1)) + 1) * np.pi / 4
    return float(np.sqrt(2) * np.cos(angle)), float(np.sqrt(2) * np.sin(angle))


def loudness_of(played: Stereo, rate: int) -> float:
    """Returns the RMS of the 50 ms blocks that are not silent."""
    length = max(1, min(int(0.05 * rate), played.shape[1]))
    blocks = played[:, : played.shape[1] // length * length].reshape(2, -1, length)
    power = np.einsum("cpf,cpf->p", blocks, blocks) / (2 * length)
    return float(np.sqrt(power[power >= 0.05 * power.max()].mean()))


def draw_room(rate: int, rng: Rng) -> NDArray[np.float32]:
    """Returns impulse responses of a small room, (2, frames): decaying noise, different for each ear."""
    seconds, dull = rng.uniform(0.25, 0.9), rng.uniform(3000, 7000)
    clock = seconds_of(int(seconds * rate), rate)
    ears = [
        noise(len(clock), band(250, dull, 1), rate, rng) * np.exp(-SIXTY_DB * clock / seconds)
        for _ in range(2)
    ]
    late = np.pad(np.stack(ears), ((0, 0), (int(rng.uniform(0.008, 0.025) * rate), 0)))
    return (late / np.sqrt(np.sum(late**2) / 2)).astype(np.float32)


def _peak(stems: Sequence[Audio]) -> float:
    """Returns the largest absolute sample of the stems and of their sum."""
    highest = 0.0
    for begin, end in chunks(len(stems[0])):
        blocks = [stem[begin:end] for stem in stems]
        highest = max(highest, *(float(np.abs(block).max()) for block in (*blocks, np.sum(blocks, axis=0))))
    return highest

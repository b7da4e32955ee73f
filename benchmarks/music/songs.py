"""The songs that analyses are measured on: composed ones with all of their truth, and real ones with tempo and key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from mismo_grpc.analysis.mix import MixFile
from mismo_grpc.generation.annotation import Annotation, annotate, key_label
from mismo_grpc.generation.composer import Brief, compose
from mismo_grpc.generation.synthetic import render
from mismo_grpc.generation.theory import PITCH_NAMES

SAMPLE_RATE = 44_100
FIRST_SEED = 5000
REAL_MUSIC = Path(__file__).resolve().parents[2].parent / "shared" / "music"
SLOWEST, FASTEST = 60.0, 190.0
RAMP = 1.25
"""The last tempo of a ramp relative to its first."""
STEMS = ("drums", "bass", "other", "vocals")
BLOCK_FRAMES = 1 << 20

_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class MusicOptions:
    """Which music is analysed: how many composed songs of how many seconds; 0: as many as usual.

    `fonts` are sound fonts that play the composed songs, `real` a folder of real songs.
    """

    songs: int = 0
    seconds: float = 0.0
    first_seed: int = FIRST_SEED
    fonts: tuple[Path, ...] = ()
    real: Path = REAL_MUSIC


@dataclass(frozen=True)
class Plan:
    """A song to compose; each seed gives another form, groove and band."""

    seed: int
    seconds: float
    tempo: float
    key: str
    beats_per_bar: int
    tempo_end: float | None = None

    @property
    def brief(self) -> Brief:
        """The requirements, for the composer."""
        return Brief(
            self.seconds,
            self.tempo,
            self.key,
            tempo_end=self.tempo_end,
            beats_per_bar=self.beats_per_bar,
        )


@dataclass(frozen=True)
class ComposedSong:
    """A rendered song; `truth` covers it from its first frame."""

    plan: Plan
    mix: MixFile
    truth: Annotation

    @property
    def key(self) -> str:
        """As in "Eb minor"."""
        return key_label(self.truth.key)


@dataclass(frozen=True)
class RealSong:
    """A real song with its published tempo and key."""

    name: str
    mix: MixFile
    tempo: float
    key: str


def plans(count: int, seconds: float, first_seed: int) -> list[Plan]:
    """Plans of songs: all 24 keys in turn, tempi spread from 60 to 190, every fifth in 3/4, one in eight a ramp."""
    made: list[Plan] = []
    for index in range(count):
        # Multiples of the golden ratio spread evenly whatever the count is, and do not follow the keys.
        tempo = round(SLOWEST + (FASTEST - SLOWEST) * ((index + 1) * _GOLDEN % 1), 1)
        # By fifths; the second dozen has the other mode of each tonic.
        mode = ("major", "minor")[(index + index // 12) % 2]
        key = f"{PITCH_NAMES[index * 7 % 12]} {mode}"
        metre = 3 if index % 5 == 2 else 4
        # A ramp ends within the range of tempi.
        ramp = RAMP if tempo * RAMP <= FASTEST else 1 / RAMP
        tempo_end = round(tempo * ramp, 1) if index % 8 == 4 else None
        made.append(Plan(first_seed + index, seconds, tempo, key, metre, tempo_end))
    return made


def render_song(plan: Plan, folder: Path, fonts: Sequence[Path] = ()) -> ComposedSong:
    """Composes and renders a song to `folder`, as raw float32 at 44.1 kHz; a task of the analysis pool.

    With `fonts` FluidSynth plays most of its instruments with one of the sound fonts, as for the training.
    """
    composition = compose(plan.brief, plan.seed)
    if fonts:
        # It imports torch.
        from training.rendering import render_composition

        frames = round(composition.seconds * SAMPLE_RATE)
        stems = render_composition(composition, frames, plan.seed, list(fonts))
    else:
        stems = list(render(composition, sample_rate=SAMPLE_RATE, seed=plan.seed).values())
    path = folder / f"composed-{plan.seed}.f32"
    return ComposedSong(
        plan, _write(path, np.asarray(np.sum(stems, axis=0, dtype=np.float32))), annotate(composition)
    )


def real_songs(music: Path, folder: Path, count: int, seconds: float | None = None) -> list[RealSong]:
    """Mixes the songs of `music`/train to `folder`: the sums of their stems, of the first `seconds` if given.

    A row of `music`/README.md gives the tempo and the key of each. Returns [] if there are no such songs.
    """
    readme = music / "README.md"
    if not readme.is_file():
        return []
    songs: list[RealSong] = []
    for name, tempo, key in published(readme.read_text())[:count]:
        stems = [music / "train" / name.lower() / f"{stem}.ogg" for stem in STEMS]
        if all(stem.is_file() for stem in stems):
            songs.append(RealSong(name, _mixed(stems, folder / f"{name}.f32", seconds), tempo, key))
    return songs


def published(readme: str) -> list[tuple[str, float, str]]:
    """The rows of a table of songs with the columns "song", "BPM" and "key": name, tempo, key as in "Bb major"."""
    songs: list[tuple[str, float, str]] = []
    columns: list[str] = []
    for line in readme.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.lstrip().startswith("|"):
            columns = []
        elif {"song", "BPM", "key"} <= set(cells):
            columns = cells
        elif columns and len(cells) == len(columns) and not re.fullmatch(r"[-: ]+", cells[0]):
            row = dict(zip(columns, cells, strict=True))
            key = row["key"].replace("♭", "b").replace("♯", "#")
            songs.append((row["song"], float(row["BPM"]), key))
    return songs


def _mixed(stems: Sequence[Path], path: Path, seconds: float | None) -> MixFile:
    frames = min(soundfile.info(stem).frames for stem in stems)
    if seconds is not None:
        frames = min(frames, round(seconds * SAMPLE_RATE))
    mix = np.zeros((frames, 2), dtype=np.float32)
    for stem in stems:
        with soundfile.SoundFile(stem) as file:
            for begin in range(0, frames, BLOCK_FRAMES):
                block = file.read(min(BLOCK_FRAMES, frames - begin), dtype="float32", always_2d=True)
                mix[begin : begin + len(block)] += np.asarray(block, dtype=np.float32)
    return _write(path, mix)


def _write(path: Path, mix: npt.NDArray[np.float32]) -> MixFile:
    mix.astype("<f4").tofile(path)
    return MixFile(path, mix.shape[0], mix.shape[1], SAMPLE_RATE)

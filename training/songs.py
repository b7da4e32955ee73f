"""Songs on disk as memory-mapped stems, and the training examples drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from training.config import DataConfig

STEMS = ("drums", "bass", "other", "vocals")
SAMPLE_RATE = 44100
SOUNDING_DBFS = -60.0
DECODE_FRAMES = 10 * SAMPLE_RATE

Audio = NDArray[np.float32]


@dataclass(frozen=True)
class Song:
    """One multitrack. `stems` is (4, frames, 2) float16 in the order of STEMS, memory-mapped;
    `seconds_with_sound[i]` lists the whole seconds in which stem i sounds; `left_out` are frame ranges
    that training may not use."""

    name: str
    stems: NDArray[np.float16]
    seconds_with_sound: tuple[NDArray[np.int64], ...]
    left_out: tuple[tuple[int, int], ...]

    @property
    def frames(self) -> int:
        return int(self.stems.shape[1])

    def allows(self, start: int, frames: int) -> bool:
        """Whether [start, start + frames) lies inside the song and touches nothing left out."""
        inside = start >= 0 and start + frames <= self.frames
        return inside and all(start + frames <= low or start >= high for low, high in self.left_out)

    def crop(self, stem: int, start: int, frames: int) -> Audio:
        """Stem `stem` at [start, start + frames) as (frames, 2) float32."""
        return np.asarray(self.stems[stem, start : start + frames], dtype=np.float32)


def open_songs(music: Path, cache: Path, config: DataConfig) -> list[Song]:
    """Open every folder of `music` that holds {vocals,drums,bass,other}.ogg, decoding into `cache` once.

    Raises FileNotFoundError if there is none, ValueError for another rate or channel count.
    """
    cache.mkdir(parents=True, exist_ok=True)
    folders = sorted(p for p in music.iterdir() if all((p / f"{stem}.ogg").is_file() for stem in STEMS))
    if not folders:
        raise FileNotFoundError(f"no folder with {', '.join(f'{stem}.ogg' for stem in STEMS)} in {music}")
    songs: list[Song] = []
    for folder in folders:
        path = cache / f"{folder.name}.npy"
        if not path.exists():
            _decode(folder, path)
        stems = np.load(path, mmap_mode="r")
        left_out = tuple(
            (int(entry.start_seconds * SAMPLE_RATE), int(entry.end_seconds * SAMPLE_RATE))
            for entry in config.leave_out
            if entry.song.lower() == folder.name.lower()
        )
        songs.append(Song(folder.name, stems, tuple(_seconds_with_sound(stem) for stem in stems), left_out))
    return songs


def _decode(folder: Path, path: Path) -> None:
    frames = min(soundfile.info(folder / f"{stem}.ogg").frames for stem in STEMS)
    partial = path.with_suffix(".partial.npy")
    stems = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=(len(STEMS), frames, 2))
    for index, stem in enumerate(STEMS):
        with soundfile.SoundFile(folder / f"{stem}.ogg") as source:
            if (source.samplerate, source.channels) != (SAMPLE_RATE, 2):
                raise ValueError(f"{folder.name}/{stem}.ogg is not {SAMPLE_RATE} Hz stereo")
            for start in range(0, frames, DECODE_FRAMES):
                count = min(DECODE_FRAMES, frames - start)
                stems[index, start : start + count] = source.read(count, dtype="float32", always_2d=True)
    stems.flush()
    partial.rename(path)


def _seconds_with_sound(stem: NDArray[np.float16]) -> NDArray[np.int64]:
    sounding = [
        second
        for second in range(len(stem) // SAMPLE_RATE)
        if _dbfs(np.asarray(stem[second * SAMPLE_RATE : (second + 1) * SAMPLE_RATE : 4], dtype=np.float32))
        > SOUNDING_DBFS
    ]
    return np.array(sounding, dtype=np.int64)


def _dbfs(audio: Audio) -> float:
    return 10 * float(np.log10(np.mean(np.square(audio, dtype=np.float64)) + 1e-12))


class Sampler:
    """Draws training examples; an example depends on the seed and its number alone, so a run can resume."""

    def __init__(self, songs: list[Song], config: DataConfig, seed: int) -> None:
        self._songs = songs
        self._config = config
        self._seed = seed
        self._frames = int(config.crop_seconds * SAMPLE_RATE)

    def batch(self, step: int, size: int) -> Audio:
        """Stems of batch number `step`: (size, 4, 2, frames) float32. The mixture is their sum."""
        return np.stack([self._example(np.random.default_rng([self._seed, step, i])) for i in range(size)])

    def _example(self, rng: np.random.Generator) -> Audio:
        remix = rng.random() < self._config.remix_probability
        stems = self._remix(rng) if remix else self._one_place(rng)
        kept = rng.random(len(STEMS)) >= self._config.drop_probability
        if not kept.any():
            kept[rng.integers(len(STEMS))] = True
        for index, stem in enumerate(stems):
            gain = 10 ** (rng.normal(0.0, self._config.gain_db) / 20) * kept[index]
            polarity = 1 if rng.random() < 0.5 else -1
            stem *= gain * polarity
            if rng.random() < 0.5:
                stem[:] = stem[:, ::-1]
        # The smallest peak that never clips nor amplifies: a model trained on clipped sums learns clipping.
        peak = float(np.abs(sum(stems)).max())
        return np.stack([stem.T / max(peak, 1.0) for stem in stems]).astype(np.float32)

    def _one_place(self, rng: np.random.Generator) -> list[Audio]:
        song = self._songs[rng.integers(len(self._songs))]
        sounding = [i for i in range(len(STEMS)) if len(song.seconds_with_sound[i])]
        start = self._start(rng, song, int(rng.choice(sounding)), self._frames)
        return [song.crop(index, start, self._frames) for index in range(len(STEMS))]

    def _remix(self, rng: np.random.Generator) -> list[Audio]:
        return [self._remixed_stem(rng, index) for index in range(len(STEMS))]

    def _remixed_stem(self, rng: np.random.Generator, index: int) -> Audio:
        sounding = [song for song in self._songs if len(song.seconds_with_sound[index])]
        song = sounding[rng.integers(len(sounding))]
        speed = 1 + rng.uniform(-self._config.speed_range, self._config.speed_range)
        source_frames = int(self._frames * speed) + 64
        stem = song.crop(index, self._start(rng, song, index, source_frames), source_frames)
        stem = soxr.resample(stem, SAMPLE_RATE * speed, SAMPLE_RATE, quality="LQ")
        stem = np.resize(stem, (self._frames, 2)) if len(stem) < self._frames else stem[: self._frames].copy()
        level = _dbfs(stem)
        if level > SOUNDING_DBFS:
            stem *= 10 ** (0.5 * (self._config.remix_level_db - level) / 20)
        return stem

    def _start(self, rng: np.random.Generator, song: Song, stem: int, frames: int) -> int:
        """A place allowed for training, mostly one at which `stem` sounds."""
        while True:
            if rng.random() < self._config.sounding_probability:
                second = int(rng.choice(song.seconds_with_sound[stem]))
                # The sounding second may fall anywhere in the crop.
                start = second * SAMPLE_RATE - int(rng.integers(max(1, frames - SAMPLE_RATE)))
            else:
                start = int(rng.integers(song.frames - frames))
            if song.allows(start, frames):
                return start

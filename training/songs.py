"""Songs on disk as memory-mapped stems, and the training examples drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from training import augment
from training.config import DataConfig

STEMS = ("drums", "bass", "other", "vocals")
ECHOES = {"vocals": 1.0, "other": 0.5}
"""The stems that get echoes, and their probability relative to that of the vocals."""
OCTAVE_DOWN_SPEEDS = (0.4, 0.7)
"""Speeds of about a half: they turn the lowest notes of a real bass, at 40 to 80 Hz, into a sub-bass."""
SAMPLE_RATE = 44100
SOUNDING_DBFS = -60.0
DECODE_FRAMES = 10 * SAMPLE_RATE

Audio = NDArray[np.float32]


@dataclass(frozen=True)
class Song:
    """One multitrack song. `stems` is (4, frames, 2) float16 in the order of STEMS, memory-mapped;
    `seconds_with_sound[i]` lists the whole seconds in which stem i sounds; `left_out` are frame ranges that training
    must not use."""

    name: str
    stems: NDArray[np.float16]
    seconds_with_sound: tuple[NDArray[np.int64], ...]
    left_out: tuple[tuple[int, int], ...]

    @property
    def frames(self) -> int:
        return int(self.stems.shape[1])

    def allows(self, start: int, frames: int) -> bool:
        """Whether [start, start + frames) is inside the song and has no frame of `left_out`."""
        inside = start >= 0 and start + frames <= self.frames
        return inside and all(start + frames <= low or start >= high for low, high in self.left_out)

    def crop(self, stem: int, start: int, frames: int) -> Audio:
        """Stem `stem` at [start, start + frames) as (frames, 2) float32."""
        return np.asarray(self.stems[stem, start : start + frames], dtype=np.float32)


def open_rendered(folder: Path) -> list[Song]:
    """Open every song that training.rendering wrote to `folder`; raises FileNotFoundError if there is none."""
    paths = sorted(p for p in folder.glob("rendered-*.npy") if not p.name.endswith(".partial.npy"))
    if not paths:
        raise FileNotFoundError(f"no rendered-*.npy in {folder}; make some: python -m training.rendering")
    return [_open(path, ()) for path in paths]


def _open(path: Path, left_out: tuple[tuple[int, int], ...]) -> Song:
    stems = np.load(path, mmap_mode="r")
    return Song(path.stem, stems, tuple(_seconds_with_sound(stem) for stem in stems), left_out)


def open_songs(music: Path, cache: Path, config: DataConfig, without: str = "") -> list[Song]:
    """Open every folder of `music` that has {vocals,drums,bass,other}.ogg; each is decoded to `cache` once.

    The song named `without` is left out. Raises FileNotFoundError if there is no song, ValueError for another sample
    rate or channel count, or if no song has the name `without`.
    """
    cache.mkdir(parents=True, exist_ok=True)
    folders = sorted(p for p in music.iterdir() if all((p / f"{stem}.ogg").is_file() for stem in STEMS))
    if not folders:
        raise FileNotFoundError(f"no folder with {', '.join(f'{stem}.ogg' for stem in STEMS)} in {music}")
    if without and without not in [folder.name for folder in folders]:
        raise ValueError(f"no song {without!r} in {music}; there are {', '.join(f.name for f in folders)}")
    songs: list[Song] = []
    for folder in [folder for folder in folders if folder.name != without]:
        path = cache / f"{folder.name}.npy"
        if not path.exists():
            _decode(folder, path)
        left_out = tuple(
            (int(entry.start_seconds * SAMPLE_RATE), int(entry.end_seconds * SAMPLE_RATE))
            for entry in config.leave_out
            if entry.song.lower() == folder.name.lower()
        )
        songs.append(_open(path, left_out))
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
    """Draws training examples; an example depends on the seed and its number alone, so a run can resume.

    `real` and `rendered` are drawn from with the configured probability; either may be empty, not both.
    """

    def __init__(self, real: list[Song], rendered: list[Song], config: DataConfig, seed: int) -> None:
        if not real and not rendered:
            raise ValueError("no songs: give --music, --rendered or both")
        self._pools = (real, rendered)
        self._config = config
        self._seed = seed
        self._frames = int(config.crop_seconds * SAMPLE_RATE)

    def batch(self, step: int, size: int) -> tuple[Audio, Audio]:
        """Batch number `step`: mixes (size, 2, frames) and their stems (size, 4, 2, frames), float32."""
        examples = [self._example(np.random.default_rng([self._seed, step, i])) for i in range(size)]
        mixes, stems = zip(*examples, strict=True)
        return np.stack(mixes), np.stack(stems)

    def _example(self, rng: np.random.Generator) -> tuple[Audio, Audio]:
        config = self._config
        remix = rng.random() < config.remix_probability
        stems = self._remix(rng) if remix else self._one_place(rng)
        kept = rng.random(len(STEMS)) >= [config.drop_probability.get(name, 0.0) for name in STEMS]
        if not kept.any():
            kept[rng.integers(len(STEMS))] = True
        stems = [
            self._treated(stem, name, rng) if keep else np.zeros_like(stem)
            for name, stem, keep in zip(STEMS, stems, kept, strict=True)
        ]
        if rng.random() < config.loud_probability:
            loud = int(rng.integers(len(STEMS)))
            stems[loud] = stems[loud] * 10 ** (rng.uniform(0, config.loud_db) / 20)
        if rng.random() < config.compression_probability:
            stems = augment.compressed(stems, rng)
        # Scale down sums that would clip, and amplify none: a model trained on clipped sums learns clipping.
        peak = max(1.0, float(np.abs(np.sum(stems, axis=0)).max()))
        stems = [stem / peak for stem in stems]
        mix = np.sum(stems, axis=0)
        if rng.random() < config.mp3_probability:
            mix = augment.through_mp3(mix, rng)
        return (
            np.ascontiguousarray(mix.T, dtype=np.float32),
            np.stack([stem.T for stem in stems]).astype(np.float32),
        )

    def _treated(self, stem: Audio, name: str, rng: np.random.Generator) -> Audio:
        config = self._config
        if name == "drums" and rng.random() < config.kick_probability:
            stem = augment.kicked(stem, rng)
        if rng.random() < config.echo_probability * ECHOES.get(name, 0.0):
            stem = augment.echoed(stem, rng)
        if rng.random() < config.saturation_probability:
            stem = augment.saturated(stem, rng)
        equaliser, room = rng.random() < config.equaliser_probability, rng.random() < config.room_probability
        if equaliser or room:
            stem = augment.coloured(stem, rng, equaliser=equaliser, room=room)
        gain = 10 ** (rng.normal(0.0, config.gain_db) / 20)
        if rng.random() < 0.5:
            gain = -gain
        return stem[:, ::-1] * gain if rng.random() < 0.5 else stem * gain

    def _pool(self, rng: np.random.Generator) -> list[Song]:
        real, rendered = self._pools
        chosen = rendered if rng.random() < self._config.rendered_probability else real
        return chosen or real or rendered

    def _one_place(self, rng: np.random.Generator) -> list[Audio]:
        pool = self._pool(rng)
        song = pool[rng.integers(len(pool))]
        sounding = [i for i in range(len(STEMS)) if len(song.seconds_with_sound[i])]
        start = self._start(rng, song, int(rng.choice(sounding)), self._frames)
        return [song.crop(index, start, self._frames) for index in range(len(STEMS))]

    def _remix(self, rng: np.random.Generator) -> list[Audio]:
        return [self._remixed_stem(rng, index) for index in range(len(STEMS))]

    def _remixed_stem(self, rng: np.random.Generator, index: int) -> Audio:
        sounding = [song for song in self._pool(rng) if len(song.seconds_with_sound[index])]
        if not sounding:
            return np.zeros((self._frames, 2), dtype=np.float32)
        song = sounding[rng.integers(len(sounding))]
        if rng.random() < self._config.octave_down_probability.get(STEMS[index], 0.0):
            speed = rng.uniform(*OCTAVE_DOWN_SPEEDS)
        else:
            speed = 1 + rng.uniform(-self._config.speed_range, self._config.speed_range)
        source_frames = int(self._frames * speed) + 64
        stem = song.crop(index, self._start(rng, song, index, source_frames), source_frames)
        stem = soxr.resample(stem, SAMPLE_RATE * speed, SAMPLE_RATE, quality="QQ")
        stem = np.resize(stem, (self._frames, 2)) if len(stem) < self._frames else stem[: self._frames].copy()
        level = _dbfs(stem)
        if level > SOUNDING_DBFS:
            stem *= 10 ** (0.5 * (self._config.remix_level_db - level) / 20)
        return stem

    def _start(self, rng: np.random.Generator, song: Song, stem: int, frames: int) -> int:
        """A place allowed for training, mostly one at which `stem` sounds."""
        for _ in range(1000):
            if rng.random() < self._config.sounding_probability:
                second = int(rng.choice(song.seconds_with_sound[stem]))
                # The second with sound can be anywhere in the crop.
                start = second * SAMPLE_RATE - int(rng.integers(max(1, frames - SAMPLE_RATE)))
            else:
                start = int(rng.integers(song.frames - frames))
            if song.allows(start, frames):
                return start
        raise ValueError(f"{song.name}: no stretch of {frames} frames is allowed for training")

"""Writes tracks of any length by repeating one real track, as 16-bit WAV files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from mismo_grpc.audio.decode import DecodedMix, decode_to_file, open_mix

ROOT = Path(__file__).resolve().parent.parent
DEMO_TRACK = ROOT / "examples" / "demo_track.ogg"
SAMPLE_RATE = 44_100
BLOCK_FRAMES = 1 << 18


class Tracks:
    """Writes tracks made of `source` (any audio file) to `folder`, each only once."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.source = source
        self._folder = folder
        self._decoded: DecodedMix | None = None

    def wav(self, seconds: float) -> Path:
        """Returns a stereo track of that length at 44.1 kHz; it is written in blocks, so it can be hours long."""
        path = self._folder / f"track-{seconds:g}s.wav"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".part")
            with soundfile.SoundFile(partial, "w", SAMPLE_RATE, 2, "PCM_16", format="WAV") as file:
                self._write(file, round(seconds * SAMPLE_RATE))
            partial.rename(path)
        return path

    def _write(self, file: soundfile.SoundFile, frames: int) -> None:
        if self._decoded is None:
            target = self._folder / "source.f32"
            self._decoded = decode_to_file(self.source, target, SAMPLE_RATE, 2, hash_source=False)
        mix = open_mix(self._decoded)
        place = 0
        while frames > 0:
            block = np.clip(mix[place : place + min(BLOCK_FRAMES, frames)], -1.0, 1.0)
            file.write(block)
            frames -= len(block)
            place = (place + len(block)) % self._decoded.frames

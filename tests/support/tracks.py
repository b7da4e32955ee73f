"""Tracks that tests submit: music-like noise in files of any kind."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile

RATE = 44_100
WAVEFORMS = {
    f"waveform-{stem}.{kind}" for stem in ("drums", "bass", "other", "vocals") for kind in ("dat", "json")
}
RESULT_FILES = {"stems", "stems.json", *WAVEFORMS}
"""What a job of four stems leaves in its folder."""


def noise(seconds: float, *, seed: int = 1, rate: int = RATE, channels: int = 2) -> npt.NDArray[np.float32]:
    """Noise with a slow swell, so that no two segments are alike; [frames, channels]."""
    frames = round(seconds * rate)
    samples = np.random.default_rng(seed).standard_normal((frames, channels)).astype(np.float32) * 0.1
    return samples * np.linspace(0.2, 1.0, frames, dtype=np.float32)[:, None]


def write_track(path: Path, seconds: float = 2.0, *, seed: int = 1, **shape: Any) -> Path:
    """A 16-bit WAV file."""
    rate = shape.get("rate", RATE)
    soundfile.write(path, noise(seconds, seed=seed, **shape), rate, subtype="PCM_16")
    return path


def track_bytes(seconds: float = 2.0, *, seed: int = 1) -> bytes:
    """A 16-bit WAV file, in memory."""
    memory = io.BytesIO()
    soundfile.write(memory, noise(seconds, seed=seed), RATE, subtype="PCM_16", format="WAV")
    return memory.getvalue()


def write_adts(path: Path, seconds: float) -> Path:
    """AAC frames and nothing else: only who decodes them learns how long it lasts."""
    samples = noise(seconds, channels=1).T
    with av.open(str(path), "w", format="adts") as container:
        stream = container.add_stream("aac", rate=RATE)
        stream.layout = "mono"
        for start in range(0, samples.shape[1] - 1023, 1024):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[:, start : start + 1024]), "fltp", "mono"
            )
            frame.sample_rate, frame.pts = RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_silent_film(path: Path) -> Path:
    """An MP4 file with pictures and no sound."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def stem_samples(path: Path) -> bytes:
    """The samples of a stem file as stored, without the header: the last `data` chunk is all that follows."""
    content = path.read_bytes()
    place = 12
    while content[place : place + 4] != b"data":
        place += 8 + int.from_bytes(content[place + 4 : place + 8], "little")
    size = int.from_bytes(content[place + 4 : place + 8], "little")
    samples = content[place + 8 :]
    assert len(samples) == size
    return samples

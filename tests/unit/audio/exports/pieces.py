"""Stems in memory, and how others read what is made of them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mismo_grpc.audio.encode import Encoding, from_pcm, sample_bytes, to_pcm
from mismo_grpc.audio.exports.pcm_source import PcmSource

Samples = npt.NDArray[np.float32]


def noise(frames: int, channels: int = 2, *, level: float = 0.1, seed: int = 1) -> Samples:
    """Noise, which has one sharp peak of correlation, at times silent."""
    sound = level * np.random.default_rng(seed).standard_normal((frames, channels))
    sound[frames // 3 : frames // 2] = 0
    return sound.astype(np.float32)


def source_of(samples: Samples, rate: int = 44_100, encoding: Encoding = Encoding.PCM_S16LE) -> PcmSource:
    """A stem of these samples."""
    channels = samples.shape[1]
    pcm = to_pcm(samples, encoding).tobytes()
    frame = channels * sample_bytes(encoding)
    return PcmSource(
        lambda first, count: pcm[first * frame : (first + count) * frame],
        len(samples),
        rate,
        channels,
        encoding,
    )


def samples_of(source: PcmSource) -> Samples:
    """All its samples."""
    return from_pcm(source.read(0, source.total_frames), source.encoding, source.channels)


def lag(decoded: Samples, original: Samples) -> int:
    """The shift in frames at which decoded audio resembles the original most."""
    count = min(len(decoded), len(original), 1 << 17)
    one, other = decoded[:count, 0], original[:count, 0]
    size = 2 * count
    spectrum = np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size))
    peak = int(np.argmax(np.fft.irfft(spectrum, size)))
    return peak if peak < count else peak - size


def probed(path: Path) -> list[dict[str, Any]]:
    """The streams that ffprobe finds."""
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed")
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["streams"]


def decoded_stream(path: Path, stream: int, channels: int = 2) -> Samples:
    """What the ffmpeg command decodes of one stream."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", f"0:{stream}", "-f", "f32le"]
    done = subprocess.run([*command, "-ac", str(channels), "-"], check=True, capture_output=True)
    return np.frombuffer(done.stdout, np.float32).reshape(-1, channels)

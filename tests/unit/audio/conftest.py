"""Audio files of every kind, made on the spot, and ffmpeg's own decoder as the oracle."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile

Samples = npt.NDArray[np.float32]

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def tones(frames: int, rate: int, channels: int) -> Samples:
    """A chord that differs in each channel, in tune at any rate, with a click at the start that shows any lag."""
    seconds = np.arange(frames)[:, None] / rate
    pitches = 220.0 * (1.0 + np.arange(channels) / 4)
    sound = 0.35 * np.sin(2 * np.pi * pitches * seconds) + 0.15 * np.sin(2 * np.pi * 3.01 * pitches * seconds)
    sound *= 1 - 0.7 * np.exp(-(((seconds - 0.05) / 0.01) ** 2))
    return sound.astype(np.float32)


@dataclass(frozen=True)
class Kind:
    """One way of writing a file: with libsndfile (`subtype`) or with FFmpeg's encoders (`codec`)."""

    suffix: str
    container: str
    subtype: str = ""
    codec: str = ""
    options: dict[str, str] = field(default_factory=dict)


KINDS = {
    "wav-u8": Kind("wav", "WAV", "PCM_U8"),
    "wav-s16": Kind("wav", "WAV", "PCM_16"),
    "wav-s24": Kind("wav", "WAV", "PCM_24"),
    "wav-s32": Kind("wav", "WAV", "PCM_32"),
    "wav-f32": Kind("wav", "WAV", "FLOAT"),
    "wav-f64": Kind("wav", "WAV", "DOUBLE"),
    "wav-extensible": Kind("wav", "WAVEX", "PCM_24"),
    "rf64": Kind("wav", "RF64", "PCM_16"),
    "w64": Kind("w64", "W64", "PCM_16"),
    "aiff": Kind("aiff", "AIFF", "PCM_24"),
    "aifc": Kind("aifc", "AIFF", "FLOAT"),
    "caf": Kind("caf", "CAF", "PCM_16"),
    "flac-16": Kind("flac", "FLAC", "PCM_16"),
    "flac-24": Kind("flac", "FLAC", "PCM_24"),
    "vorbis": Kind("ogg", "OGG", "VORBIS"),
    "opus": Kind("opus", "OGG", "OPUS"),
    "mp3": Kind("mp3", "mp3", codec="libmp3lame", options={"b": "192000"}),
    "m4a": Kind("m4a", "ipod", codec="aac", options={"b": "192000"}),
    "alac": Kind("m4a", "ipod", codec="alac"),
    "adts": Kind("aac", "adts", codec="aac", options={"b": "192000"}),
    "webm": Kind("webm", "webm", codec="libopus"),
}


def _encode(path: Path, kind: Kind, samples: Samples, rate: int) -> None:
    with av.open(str(path), "w", format=kind.container) as output:
        stream: Any = output.add_stream(
            kind.codec, rate, options=kind.options, layout=LAYOUTS[samples.shape[1]]
        )
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T), format="fltp", layout=LAYOUTS[samples.shape[1]]
        )
        frame.sample_rate = rate
        frame.time_base = Fraction(1, rate)
        frame.pts = 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)


@dataclass(frozen=True)
class Studio:
    """Writes test files into one folder."""

    folder: Path

    def record(self, name: str, samples: Samples, rate: int, file_name: str = "") -> Path:
        """A file of the kind of that name."""
        kind = KINDS[name]
        path = self.folder / (file_name or f"{name}.{kind.suffix}")
        if kind.codec:
            _encode(path, kind, samples, rate)
        else:
            soundfile.write(path, samples, rate, format=kind.container, subtype=kind.subtype)
        return path

    def file(self, name: str, content: bytes) -> Path:
        """A file of these bytes."""
        path = self.folder / name
        path.write_bytes(content)
        return path


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture
def chord() -> Callable[[int, int, int], Samples]:
    return tones


Oracle = Callable[..., Samples]


@pytest.fixture(scope="session")
def ffmpeg() -> Oracle:
    """`ffmpeg(source, channels=2, demuxer="", **run_options)`: what the ffmpeg command decodes, at the native rate."""
    program = shutil.which("ffmpeg")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("the ffmpeg command is the oracle of these tests; CI must have it")
        pytest.skip("the ffmpeg command is not installed; it is the oracle here")

    def decode(source: Path | bytes, channels: int = 2, demuxer: str = "") -> Samples:
        piped = isinstance(source, bytes)
        command = [
            program,
            "-v",
            "quiet",
            *(["-f", demuxer] if demuxer else []),
            "-i",
            "-" if piped else f"file:{source}",
        ]
        command += ["-map", "0:a:0", "-f", "f32le", "-ac", str(channels), "-"]
        done = subprocess.run(command, input=source if piped else b"", capture_output=True, check=False)
        whole = len(done.stdout) // (4 * channels) * 4 * channels
        return np.frombuffer(done.stdout[:whole], "<f4").reshape(-1, channels)

    return decode

"""The waveform of an audio file in three frequency bands, read block by block."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mismo_client.errors import ClientError

Samples = NDArray[np.float32]

WINDOW_FRAMES = 1024
BLOCK_WINDOWS = 256
LOW_HZ, HIGH_HZ = 200.0, 2500.0
"""The limits between the bands: kick and bass below, voices and chords between, hats and noise above."""


class UnreadableTrackError(ClientError):
    """The audio file cannot be decoded on this machine."""


@dataclass(frozen=True)
class Waveform:
    """`seconds` of audio in windows of equal length.

    `peaks` [windows] has the greatest absolute sample of each window; `bands` [windows, 3] has the RMS level of each
    window below 200 Hz, from there to 2500 Hz, and above.
    """

    seconds: float
    peaks: Samples
    bands: Samples

    def columns(self, count: int) -> Waveform:
        """The same in at most `count` windows: the greatest peak and the mean power of those that are joined."""
        windows = len(self.peaks)
        if windows <= count:
            return self
        starts = np.arange(count) * windows // count
        sizes = np.diff(np.append(starts, windows))[:, None]
        power = np.add.reduceat(self.bands.astype(np.float64) ** 2, starts, axis=0) / sizes
        peaks = np.maximum.reduceat(self.peaks, starts)
        return Waveform(self.seconds, peaks, np.sqrt(power).astype(np.float32))


def read_waveform(path: Path) -> Waveform:
    """Decodes a file with soundfile, or with av where soundfile does not know the format.

    Raises UnreadableTrackError.
    """
    errors: list[str] = []
    for opened in (_soundfile_blocks, _av_blocks):
        try:
            return _measured(opened(path))
        except (ImportError, OSError, ValueError, RuntimeError) as error:
            errors.append(str(error) or type(error).__name__)
    raise UnreadableTrackError(
        f"{path} cannot be decoded here: {'; '.join(errors)}; convert it to WAV or FLAC for a picture"
    )


def _measured(blocks: Iterator[tuple[Samples, int]]) -> Waveform:
    """Of blocks of mono samples with their sample rate."""
    peaks: list[Samples] = []
    bands: list[Samples] = []
    taper = np.hanning(WINDOW_FRAMES).astype(np.float32)
    rest = np.zeros(0, np.float32)
    frames, rate = 0, 0
    for block, sample_rate in blocks:
        rate = sample_rate
        frames += len(block)
        rest = np.concatenate([rest, np.nan_to_num(block, posinf=0.0, neginf=0.0)])
        whole = len(rest) // WINDOW_FRAMES * WINDOW_FRAMES
        if whole:
            _measure(rest[:whole].reshape(-1, WINDOW_FRAMES), taper, rate, peaks, bands)
            rest = rest[whole:]
    if not frames:
        raise ValueError("no audio")
    if len(rest):
        last = np.pad(rest, (0, WINDOW_FRAMES - len(rest)))
        _measure(last.reshape(1, WINDOW_FRAMES), taper, rate, peaks, bands)
    return Waveform(frames / rate, np.concatenate(peaks), np.concatenate(bands))


def _measure(windows: Samples, taper: Samples, rate: int, peaks: list[Samples], bands: list[Samples]) -> None:
    peaks.append(np.abs(windows).max(axis=1))
    power = np.abs(np.fft.rfft(windows * taper, axis=1)) ** 2
    frequencies = np.fft.rfftfreq(WINDOW_FRAMES, 1 / rate)
    low, high = (int(np.searchsorted(frequencies, limit)) for limit in (LOW_HZ, HIGH_HZ))
    sums = [power[:, 1:low].sum(axis=1), power[:, low:high].sum(axis=1), power[:, high:].sum(axis=1)]
    # Parseval: a one-sided spectrum has half of the energy; the taper keeps the sum of its squares.
    scale = 2.0 / (WINDOW_FRAMES * float((taper**2).sum()))
    bands.append(np.sqrt(np.stack(sums, axis=1) * scale).astype(np.float32))


def _soundfile_blocks(path: Path) -> Iterator[tuple[Samples, int]]:
    soundfile = importlib.import_module("soundfile")
    with soundfile.SoundFile(path) as file:
        for block in file.blocks(WINDOW_FRAMES * BLOCK_WINDOWS, dtype="float32", always_2d=True):
            yield cast("Samples", block).mean(axis=1), int(file.samplerate)


def _av_blocks(path: Path) -> Iterator[tuple[Samples, int]]:
    av: Any = importlib.import_module("av")
    try:
        yield from _decoded(av, path)
    except av.FFmpegError as error:
        # Not every error of FFmpeg is an OSError or a ValueError: a codec without a decoder is a LookupError.
        raise ValueError(str(error)) from error


def _decoded(av: Any, path: Path) -> Iterator[tuple[Samples, int]]:
    with av.open(str(path)) as container:
        if not container.streams.audio:
            raise ValueError("no audio stream")
        stream = container.streams.audio[0]
        rate = int(stream.codec_context.sample_rate)
        # One form of samples for every codec. The channels stay: FFmpeg's own mix of them is louder than their mean.
        resampler = av.AudioResampler(format="fltp")
        waiting: list[Samples] = []
        size = 0
        for frame in container.decode(stream):
            for part in resampler.resample(frame):
                waiting.append(cast("Samples", part.to_ndarray()).mean(axis=0))
                size += len(waiting[-1])
            if size >= WINDOW_FRAMES * BLOCK_WINDOWS:
                yield np.concatenate(waiting), rate
                waiting, size = [], 0
        if waiting:
            yield np.concatenate(waiting), rate

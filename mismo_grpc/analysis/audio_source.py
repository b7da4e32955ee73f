"""Audio as the analyses read it: from an array or a file, block by block, with finite samples only."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

from mismo_grpc.analysis.arrays import Audio, Samples

MIN_SAMPLE_RATE = 8_000
"""Hz, that of telephony (ITU-T G.711); below, most of what the analyses measure is missing."""
LARGEST_SAMPLE = 1e6
"""120 dB above full scale; samples are limited to it, so that the sums of their squares are finite in float32."""


class AudioSource(Protocol):
    """Audio that is read by slices of frames, such as an array or a file: [frames, channels] or [frames]."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of frames, and of channels if there are two dimensions."""
        ...

    def __getitem__(self, frames: slice, /) -> Audio:
        """The samples of a slice of frames."""
        ...


class AudioFile:
    """An audio file that is read by slices: [frames, channels], float32.

    Raises OSError if the file cannot be read, also later.
    """

    def __init__(self, path: Path) -> None:
        # Takes 50 ms to import.
        import soundfile

        self._name = path.name
        self._errors = (soundfile.SoundFileError, RuntimeError)
        try:
            self._file = soundfile.SoundFile(path)
        except self._errors as error:
            raise OSError(f"{self._name} cannot be read: {error}") from error
        self.shape: tuple[int, ...] = (int(self._file.frames), int(self._file.channels))
        self.sample_rate = int(self._file.samplerate)

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __getitem__(self, frames: slice, /) -> Samples:
        begin, end, _ = frames.indices(self.shape[0])
        count = max(0, end - begin)
        try:
            self._file.seek(begin)
            block = np.asarray(self._file.read(count, dtype="float32", always_2d=True), np.float32)
        except self._errors as error:
            raise OSError(f"{self._name} cannot be read: {error}") from error
        if len(block) != count:
            raise OSError(f"{self._name} ends at frame {begin + len(block)} of {self.shape[0]}")
        return block


def check_audio(audio: AudioSource, sample_rate: int) -> None:
    """Raises ValueError unless audio is floating point, [frames, channels] or [frames], at MIN_SAMPLE_RATE or more."""
    dtype = getattr(audio, "dtype", np.dtype(np.float32))
    if len(audio.shape) not in (1, 2) or not np.issubdtype(dtype, np.floating):
        raise ValueError(
            f"audio is floating point, [frames, channels] or [frames]; got {dtype} with {len(audio.shape)} dimensions"
        )
    if 0 in audio.shape[1:]:
        raise ValueError("audio has at least one channel; got none")
    if sample_rate < MIN_SAMPLE_RATE:
        raise ValueError(f"the sample rate of audio is at least {MIN_SAMPLE_RATE} Hz; got {sample_rate} Hz")


def by_channel(audio: Audio) -> Audio:
    """A view of audio [frames, channels] or [frames] as [frames, channels]."""
    return audio if audio.ndim == 2 else audio[:, np.newaxis]


def finite(block: Audio) -> Samples:
    """A block of any shape as float32: NaN and infinite samples count as 0, others are limited to ±LARGEST_SAMPLE.

    May return the block itself, so the result must not be changed.
    """
    limit = np.float32(LARGEST_SAMPLE)
    # NaN fails the comparisons, too.
    if not (block.max(initial=0.0) <= limit and block.min(initial=0.0) >= -limit):
        block = np.where(np.isfinite(block), np.clip(block, -limit, limit), np.float32(0.0))
    return np.asarray(block, np.float32)


def downmix(block: Audio) -> Samples:
    """The mean of the channels of a block, [frames], made `finite`; the result must not be changed."""
    samples = finite(block)
    if samples.ndim == 1:
        return samples
    # Faster than a mean over the second axis.
    mono = samples[:, 0].copy()
    for channel in range(1, samples.shape[1]):
        mono += samples[:, channel]
    mono /= np.float32(samples.shape[1])
    return mono


def excerpt(audio: AudioSource, begin: int, end: int) -> Samples:
    """The frames from `begin` to `end`, made `finite`; they may lie outside the audio, where there is silence."""
    return _with_silence(finite(_inside(audio, begin, end)), begin, end)


def mono_excerpt(audio: AudioSource, begin: int, end: int) -> Samples:
    """The downmix of the frames from `begin` to `end`, [frames], with silence outside the audio."""
    return _with_silence(downmix(_inside(audio, begin, end)), begin, end)


def _inside(audio: AudioSource, begin: int, end: int) -> Audio:
    """Those of the frames from `begin` to `end` that are in the audio."""
    return audio[max(begin, 0) : max(end, 0)]


def _with_silence(inside: Samples, begin: int, end: int) -> Samples:
    """The frames from `begin` to `end`, given those that are in the audio, with silence before and after them."""
    samples = np.zeros((end - begin, *inside.shape[1:]), np.float32)
    first = max(-begin, 0)
    samples[first : first + len(inside)] = inside
    return samples

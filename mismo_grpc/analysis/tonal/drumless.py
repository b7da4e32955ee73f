"""The track without its drums, from the separated stems, read block by block."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from mismo_grpc.analysis.arrays import Features, Values
from mismo_grpc.analysis.audio_source import AudioFile, AudioSource, downmix

DRUMS = "drums"
NO_DRUMS = "no_drums"
"""The complement of the drums in a separation into two stems."""
LENGTH_TOLERANCE = 0.1
"""Seconds by which a stem may be longer or shorter than the mix."""
PROBES = 40
PROBE_SECONDS = 0.5
LEVEL_TOLERANCE = 0.03
"""The mean difference between the levels of the mix and of the sum of all stems, relative to the mix: stems of a model
do not add up exactly, but a missing stem makes more."""


class WeightedSum:
    """A sum of audio sources at one sample rate, each averaged to mono first: [frames], the length of the first."""

    def __init__(self, sources: Sequence[AudioSource], weights: Sequence[float]) -> None:
        self._sources = tuple(zip(sources, weights, strict=True))
        self.shape: tuple[int, ...] = (sources[0].shape[0],)

    def __getitem__(self, frames: slice, /) -> Features:
        begin, end, _ = frames.indices(self.shape[0])
        total = np.zeros(max(0, end - begin), np.float32)
        for source, weight in self._sources:
            mono = downmix(source[begin:end])
            total[: len(mono)] += np.float32(weight) * mono
        return total


@contextmanager
def without_drums(
    mix: AudioSource, sample_rate: int, stems: Mapping[str, Path]
) -> Generator[tuple[AudioSource, int] | None]:
    """Opens the track without its drums, with its sample rate; gives None if the stems do not make it.

    With the stem "no_drums" it is that. With "drums" it is the mix without that stem, or, if the stems have another
    sample rate, the sum of the other stems, provided that all stems together are about as loud as the mix everywhere.
    Without either, it is unknown whether the stems are complete.

    Raises OSError if a stem cannot be read; reading later can, too.
    """
    seconds = mix.shape[0] / sample_rate
    with ExitStack() as stack:
        names = (NO_DRUMS,) if NO_DRUMS in stems else tuple(stems) if DRUMS in stems else ()
        files = {name: stack.enter_context(AudioFile(stems[name])) for name in names}
        if not files or any(
            abs(file.shape[0] / file.sample_rate - seconds) > LENGTH_TOLERANCE for file in files.values()
        ):
            yield None
            return
        rates = [file.sample_rate for file in files.values()]
        others = [file for name, file in files.items() if name != DRUMS]
        if NO_DRUMS in files:
            yield files[NO_DRUMS], rates[0]
        elif files[DRUMS].sample_rate == sample_rate:
            yield WeightedSum((mix, files[DRUMS]), (1.0, -1.0)), sample_rate
        elif others and len(set(rates)) == 1 and _complete(mix, sample_rate, list(files.values()), rates[0]):
            yield WeightedSum(others, [1.0] * len(others)), rates[0]
        else:
            yield None


def _complete(mix: AudioSource, sample_rate: int, stems: Sequence[AudioSource], stem_rate: int) -> bool:
    """Whether the sum of the stems is about as loud as the mix, in spans spread over the track."""
    expected = _levels(WeightedSum([mix], [1.0]), sample_rate)
    actual = _levels(WeightedSum(stems, [1.0] * len(stems)), stem_rate)
    return float(np.abs(actual - expected).sum()) <= LEVEL_TOLERANCE * float(expected.sum())


def _levels(audio: AudioSource, sample_rate: int) -> Values:
    """The RMS of PROBES spans."""
    length = min(audio.shape[0], round(PROBE_SECONDS * sample_rate))
    begins = np.linspace(0, audio.shape[0] - length, PROBES).round().astype(np.int64)
    blocks = (audio[int(begin) : int(begin) + length] for begin in begins)
    return np.array([np.sqrt(np.mean(np.square(block), dtype=np.float64)) for block in blocks])

"""Decodes a source file to float32 at a given sample rate, in bounded memory."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soxr

from mismo_grpc.audio.checksum import crc32c
from mismo_grpc.audio.running_stats import RunningStats
from mismo_grpc.audio.source import AudioInfo, DecodeTally, NativeBlock, native_blocks, open_source, probe
from mismo_grpc.errors import CorruptAudioError, EmptyAudioError, TrackTooLongError

__all__ = [
    "MIX_CHANNELS",
    "AudioInfo",
    "DecodeStopped",
    "DecodeTally",
    "DecodedMix",
    "decode_blocks",
    "decode_to_file",
    "open_mix",
    "probe",
]

MIX_CHANNELS = 2
"""Every track is separated in this many channels, however many its source has."""
BLOCK_FRAMES = 65_536
_HASH_BYTES = 1 << 20

Samples = npt.NDArray[np.float32]


class DecodeStopped(Exception):  # noqa: N818 - no error: the caller asked for it
    """`should_stop` returned true; the target file was removed."""


@dataclass(frozen=True)
class DecodedMix:
    """A decoded track: `path` holds raw little-endian float32 [frames, channels].

    `mean` and `std` (unbiased) are statistics of the mean over channels; `peak` is the largest absolute sample. NaN
    and infinite samples were written as 0 and counted. `source_sha256` is the hash of the source's bytes, None if
    it was not requested; `crc32c` is the checksum of the bytes at `path`.
    """

    path: Path
    frames: int
    sample_rate: int
    channels: int
    mean: float
    std: float
    peak: float
    nonfinite_samples: int
    source_sha256: str | None
    crc32c: int


def decode_blocks(
    path: Path,
    sample_rate: int,
    channels: int = 2,
    *,
    block_frames: int = BLOCK_FRAMES,
    tally: DecodeTally | None = None,
) -> Generator[Samples]:
    """Yields all samples of a file in C-contiguous blocks [1 to `block_frames` frames, channels], at `sample_rate` Hz.

    `channels` is 1 or 2: mono is duplicated, stereo is averaged, more channels are first mixed to stereo as ffmpeg
    does. Without resampling the frame count is exactly that of ffmpeg's decoder; with resampling it is
    `n * sample_rate / source_rate`, rounded, at least 1. NaN and infinite samples become 0; `tally` counts them.
    Blocks may be read-only.

    Raises EmptyAudioError, UnsupportedAudioError, CorruptAudioError, NoAudioStreamError; OSError where the file
    cannot be read.
    """
    if channels not in (1, 2) or sample_rate <= 0 or block_frames <= 0:
        raise ValueError(
            f"cannot decode to {channels} channels, {sample_rate} Hz, blocks of {block_frames} frames"
        )
    tally = tally if tally is not None else DecodeTally()
    with open_source(path) as source:
        empty = True
        for block in _at_rate(native_blocks(source, block_frames, tally), sample_rate, tally):
            for start in range(0, len(block), block_frames):
                empty = False
                yield _in_channels(block[start : start + block_frames], channels)
        if empty:
            if tally.broken_packets or source.info.duration_seconds:
                raise CorruptAudioError(f"No audio can be decoded from the {source.info.container} file.")
            raise EmptyAudioError(
                f"The {source.info.container} file has no samples; send one with audio in it."
            )


def decode_to_file(
    source: Path,
    target: Path,
    sample_rate: int,
    channels: int = 2,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    max_frames: int | None = None,
    check_room: Callable[[int], object] = lambda _: None,
    hash_source: bool = True,
) -> DecodedMix:
    """Decodes a file to raw float32 [frames, channels] at `target`, which appears only when it is complete.

    Before each block, of at most BLOCK_FRAMES frames, it calls `should_stop`, and `check_room` with the number of
    bytes that it will write. The disk is checked block by block because a source need not declare its length, and a
    few bytes can encode hours of silence. An exception from `check_room` ends the decoding. The source is hashed on
    another thread meanwhile unless `hash_source` is false. Only one writer a target is allowed.

    Raises what `decode_blocks` and `check_room` raise; DecodeStopped; TrackTooLongError at the first frame past
    `max_frames`; OSError if the target cannot be written. After any error no file remains.
    """
    tally, stats, checksum = DecodeTally(), RunningStats(), 0
    with _hashing(source if hash_source else None) as digest, _replaced_when_complete(target) as file:
        for block in decode_blocks(source, sample_rate, channels, tally=tally):
            if should_stop():
                raise DecodeStopped
            if max_frames is not None and stats.frames + len(block) > max_frames:
                limit = f"{max_frames / sample_rate:.0f}"
                raise TrackTooLongError(
                    f"The track is longer than the {limit} s taken at most; send it in parts.",
                    metadata={"max_track_seconds": limit},
                )
            stats.add(block)
            content = block.tobytes()
            check_room(len(content))
            file.write(content)
            checksum = crc32c(content, checksum)
        if should_stop():
            raise DecodeStopped
        sha256 = digest()
    return DecodedMix(
        target,
        stats.frames,
        sample_rate,
        channels,
        stats.mean,
        stats.std,
        stats.peak,
        tally.nonfinite_samples,
        sha256,
        checksum,
    )


def open_mix(decoded: DecodedMix) -> np.memmap[tuple[int, int], np.dtype[np.float32]]:
    """Maps the decoded samples [frames, channels] read-only; only the pages that are read take memory.

    Raises ValueError if the file no longer has the size that was written.
    """
    expected = decoded.frames * decoded.channels * 4
    if decoded.path.stat().st_size != expected:
        raise ValueError(f"a decoded mix of {expected} bytes is expected")
    return np.memmap(decoded.path, "<f4", "r", shape=(decoded.frames, decoded.channels))


def _at_rate(blocks: Iterator[NativeBlock], sample_rate: int, tally: DecodeTally) -> Iterator[Samples]:
    stream: soxr.ResampleStream | None = None
    taken = given = 0
    native_rate, width = sample_rate, 0
    for native_rate, raw in blocks:
        samples = _finite(raw, tally)
        if native_rate == sample_rate:
            yield samples
            continue
        if stream is None:
            stream = soxr.ResampleStream(
                native_rate, sample_rate, samples.shape[1], dtype="float32", quality="HQ"
            )
            width = samples.shape[1]
        taken += len(samples)
        resampled: Samples = stream.resample_chunk(samples)
        given += len(resampled)
        yield resampled
    if stream is None:
        return
    rest: Samples = stream.resample_chunk(np.zeros((0, width), np.float32), last=True)
    # Half a frame rounds up, and a track of one frame keeps that frame.
    wanted = max(1, (2 * taken * sample_rate + native_rate) // (2 * native_rate)) - given
    yield rest[:wanted]
    if wanted > len(rest):
        yield np.zeros((wanted - len(rest), width), np.float32)


def _finite(samples: Samples, tally: DecodeTally) -> Samples:
    finite = np.isfinite(samples)
    if finite.all():
        return samples
    tally.nonfinite_samples += samples.size - int(np.count_nonzero(finite))
    return np.where(finite, samples, np.float32(0.0))


def _in_channels(samples: Samples, channels: int) -> Samples:
    if samples.shape[1] == channels:
        return samples
    if channels == 1:
        return samples.mean(axis=1, keepdims=True, dtype=np.float32)
    return np.repeat(samples, 2, axis=1)


@contextmanager
def _replaced_when_complete(target: Path) -> Generator[BinaryIO]:
    """Opens a temporary file; renames it to `target` when the block succeeds, removes it when the block fails.

    If a process is killed, the next attempt overwrites its temporary file.
    """
    partial = target.with_name(f"{target.name}.part")
    try:
        with partial.open("wb") as file:
            yield file
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def _hashing(source: Path | None) -> Generator[Callable[[], str | None]]:
    """Hashes a file on another thread; the yielded function waits for the hash and raises the thread's OSError."""
    if source is None:
        yield lambda: None
        return
    ended = threading.Event()
    results: list[str | OSError] = []

    def work() -> None:
        digest = hashlib.sha256()
        try:
            with source.open("rb") as file:
                while not ended.is_set() and (content := file.read(_HASH_BYTES)):
                    digest.update(content)
            results.append(digest.hexdigest())
        except OSError as error:
            results.append(error)

    def result() -> str:
        thread.join()
        if isinstance(results[0], OSError):
            raise results[0]
        return results[0]

    thread = threading.Thread(target=work, name="hash-source", daemon=True)
    thread.start()
    try:
        yield result
    finally:
        ended.set()
        thread.join()

"""Converts samples to the bytes of a PCM encoding, and back.

Scaling: a sample x is written as the integer `x * (2**(bits-1) - 1)`, truncated towards zero, as demucs writes its
files, so that files of the same samples are equal. An integer v is read as `v / 2**(bits-1)`, as every decoder does.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

PcmBuffer = bytes | bytearray | memoryview | npt.NDArray[np.uint8]
PcmIntegers = npt.NDArray[np.int16] | npt.NDArray[np.int32]


class Encoding(StrEnum):
    """How samples are stored or sent; the names are the wire contract's."""

    PCM_S16LE = "PCM_S16LE"
    PCM_S24LE = "PCM_S24LE"
    PCM_F32LE = "PCM_F32LE"
    FLAC = "FLAC"


_SAMPLE_BYTES = {Encoding.PCM_S16LE: 2, Encoding.PCM_S24LE: 3, Encoding.PCM_F32LE: 4}


def sample_bytes(encoding: Encoding) -> int:
    """Bytes of one sample of one channel; raises ValueError for FLAC, where samples have no fixed size."""
    try:
        return _SAMPLE_BYTES[encoding]
    except KeyError:
        raise ValueError(f"{encoding} has no fixed sample size") from None


def to_pcm(samples: npt.NDArray[np.float32], encoding: Encoding) -> npt.NDArray[np.uint8]:
    """Encodes samples [frames, channels], nominally in [-1, 1], as interleaved bytes [frames * channels * size].

    Integer encodings are clamped to full scale, and NaN becomes 0. Floats stay as they are, without a copy if the
    samples are contiguous. Raises ValueError for FLAC.
    """
    if encoding is Encoding.PCM_F32LE:
        return _as_bytes(np.ascontiguousarray(samples, dtype="<f4"))
    if encoding is Encoding.PCM_S16LE:
        return _as_bytes(_scaled(samples, 2**15 - 1).astype("<i2"))
    if encoding is Encoding.PCM_S24LE:
        integers = _scaled(samples, 2**23 - 1).astype("<i4")
        return integers.reshape(-1).view(np.uint8).reshape(-1, 4)[:, :3].reshape(-1)
    raise ValueError(f"{encoding} is not PCM")


def from_pcm(buffer: PcmBuffer, encoding: Encoding, channels: int) -> npt.NDArray[np.float32]:
    """Decodes interleaved bytes to samples [frames, channels]; for PCM_F32LE a view of the buffer, not a copy.

    Raises ValueError if the buffer does not hold a whole number of frames, and for FLAC.
    """
    if encoding is Encoding.PCM_F32LE:
        return _typed(buffer, "<f4", channels).astype(np.float32, copy=False)
    if encoding is Encoding.PCM_S16LE:
        return _typed(buffer, "<i2", channels).astype(np.float32) * np.float32(2.0**-15)
    if encoding is Encoding.PCM_S24LE:
        return _high_s24(buffer, channels).astype(np.float32) * np.float32(2.0**-31)
    raise ValueError(f"{encoding} is not PCM")


def pcm_integers(buffer: PcmBuffer, encoding: Encoding, channels: int) -> PcmIntegers:
    """Converts interleaved bytes to integers [frames, channels] for a lossless codec.

    16 bits become int16; 24 bits, and floats scaled to 24 bits, become int32 in [-2**23, 2**23).
    Raises ValueError as `from_pcm` does.
    """
    if encoding is Encoding.PCM_S16LE:
        return _typed(buffer, "<i2", channels).astype(np.int16, copy=False)
    if encoding is Encoding.PCM_F32LE:
        return _scaled(from_pcm(buffer, encoding, channels), 2**23 - 1).astype(np.int32)
    if encoding is Encoding.PCM_S24LE:
        return _high_s24(buffer, channels) >> 8
    raise ValueError(f"{encoding} is not PCM")


def pcm_s16(buffer: PcmBuffer, encoding: Encoding, channels: int) -> npt.NDArray[np.int16]:
    """Converts interleaved bytes to 16-bit integers [frames, channels].

    Floats are scaled and clamped; 24 bits keep their upper 16. Integer encodings give a view of the buffer, not a
    copy. Raises ValueError as `from_pcm` does.
    """
    if encoding is Encoding.PCM_S24LE:
        rows = _rows_s24(buffer, channels)
        if len(rows) == 0:
            return np.zeros((0, channels), "<i2")
        # A strided view: every other access to these bytes copies all of them, at many times the cost.
        return np.ndarray((len(rows), channels), "<i2", rows, offset=1, strides=(3 * channels, 3))
    if encoding is Encoding.PCM_F32LE:
        return _scaled(from_pcm(buffer, encoding, channels), 2**15 - 1).astype("<i2")
    if encoding is Encoding.PCM_S16LE:
        return _typed(buffer, "<i2", channels).astype(np.int16, copy=False)
    raise ValueError(f"{encoding} is not PCM")


def convert_pcm(buffer: PcmBuffer, from_encoding: Encoding, to_encoding: Encoding, channels: int) -> bytes:
    """Converts PCM bytes to another PCM encoding.

    16 bits widen to 24 exactly, and 24 bits narrow to their upper 16, so a round trip is lossless. Every other
    conversion goes through float32. Raises ValueError as `from_pcm` does.
    """
    if from_encoding is to_encoding:
        return bytes(buffer)
    if from_encoding is Encoding.PCM_S16LE and to_encoding is Encoding.PCM_S24LE:
        narrow = _bytes_view(_typed(buffer, "<i2", channels), 2)
        wide = np.zeros((len(narrow), 3), np.uint8)
        wide[:, 1:] = narrow
        return wide.tobytes()
    if from_encoding is Encoding.PCM_S24LE and to_encoding is Encoding.PCM_S16LE:
        return _bytes_view(_rows_s24(buffer, channels), 3)[:, 1:].tobytes()
    return to_pcm(from_pcm(buffer, from_encoding, channels), to_encoding).tobytes()


def _scaled(samples: npt.NDArray[np.float32], scale: int) -> npt.NDArray[np.float32]:
    scaled = np.clip(samples, -1.0, 1.0, dtype=np.float32)
    scaled *= np.float32(scale)
    if np.isnan(scaled.sum()):  # One pass over the sum is cheaper than a mask that is almost never needed.
        np.nan_to_num(scaled, copy=False, nan=0.0)
    return scaled


def _as_bytes(samples: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    return samples.reshape(-1).view(np.uint8)


def _bytes_view(samples: npt.NDArray[np.generic], width: int) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(samples).reshape(-1).view(np.uint8).reshape(-1, width)


def _typed(buffer: PcmBuffer, dtype: str, channels: int) -> npt.NDArray[np.generic]:
    return np.frombuffer(buffer, dtype=dtype).reshape(-1, channels)


def _rows_s24(buffer: PcmBuffer, channels: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(buffer, dtype=np.uint8).reshape(-1, channels * 3)


def _high_s24(buffer: PcmBuffer, channels: int) -> npt.NDArray[np.int32]:
    """Puts 24-bit samples into the upper bytes of int32; shifting right then extends the sign."""
    packed = _rows_s24(buffer, channels).reshape(-1, 3)
    high = np.zeros((len(packed), 4), np.uint8)
    high[:, 1:] = packed
    return high.reshape(-1).view("<i4").reshape(-1, channels).astype(np.int32, copy=False)

"""Samples as the bytes of a PCM encoding, and back.

Scales: integer samples are `x * (2**(bits-1) - 1)` cut towards zero, as demucs writes its files, so that
files of the same samples are equal; they are read as `v / 2**(bits-1)`, as every decoder does.
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
    """Samples [frames, channels], nominally in [-1, 1], as interleaved bytes [frames * channels * size].

    Integers are clamped to full scale and NaN becomes 0; floats are left as they are (and not copied
    where they lie in order). Raises ValueError for FLAC.
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
    """Interleaved bytes as samples [frames, channels]; for PCM_F32LE a view of the buffer, not a copy.

    Raises ValueError where the buffer holds no whole frames, and for FLAC.
    """
    if encoding is Encoding.PCM_F32LE:
        return _typed(buffer, "<f4", channels).astype(np.float32, copy=False)
    if encoding is Encoding.PCM_S16LE:
        return _typed(buffer, "<i2", channels).astype(np.float32) * np.float32(2.0**-15)
    if encoding is Encoding.PCM_S24LE:
        return _high_s24(buffer, channels).astype(np.float32) * np.float32(2.0**-31)
    raise ValueError(f"{encoding} is not PCM")


def pcm_integers(buffer: PcmBuffer, encoding: Encoding, channels: int) -> PcmIntegers:
    """Interleaved bytes as integers [frames, channels] for a lossless codec.

    16 bits as int16; 24 bits, and floats brought to 24 bits, as int32 in [-2**23, 2**23).
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
    """Interleaved bytes as 16-bit integers [frames, channels]; floats are clamped, others a view of the buffer.

    Of 24 bits the upper 16. Raises ValueError as `from_pcm` does.
    """
    if encoding is Encoding.PCM_S24LE:
        rows = _rows_s24(buffer, channels)
        if len(rows) == 0:
            return np.zeros((0, channels), "<i2")
        # Every other way to these bytes copies all of them, at many times the cost.
        return np.ndarray((len(rows), channels), "<i2", rows, offset=1, strides=(3 * channels, 3))
    if encoding is Encoding.PCM_F32LE:
        return _scaled(from_pcm(buffer, encoding, channels), 2**15 - 1).astype("<i2")
    if encoding is Encoding.PCM_S16LE:
        return _typed(buffer, "<i2", channels).astype(np.int16, copy=False)
    raise ValueError(f"{encoding} is not PCM")


def convert_pcm(buffer: PcmBuffer, from_encoding: Encoding, to_encoding: Encoding, channels: int) -> bytes:
    """PCM bytes in another PCM encoding.

    16 bits widen to 24 exactly and 24 narrow to their upper 16, so there and back is the same;
    everything else goes by way of float32. Raises ValueError as `from_pcm` does.
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
    """24-bit samples in the upper bytes of int32, so that the sign needs no care."""
    packed = _rows_s24(buffer, channels).reshape(-1, 3)
    high = np.zeros((len(packed), 4), np.uint8)
    high[:, 1:] = packed
    return high.reshape(-1).view("<i4").reshape(-1, channels).astype(np.int32, copy=False)

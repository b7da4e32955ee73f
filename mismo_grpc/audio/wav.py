"""WAV headers for files whose final size is known before their samples."""

from __future__ import annotations

import struct

from mismo_grpc.audio.encode import Encoding, sample_bytes

_PCM, _IEEE_FLOAT = 1, 3
_UNKNOWN = 0xFFFF_FFFF
"""The value of each 32-bit size field in RF64; the true sizes are in its ds64 chunk (EBU Tech 3306)."""
_DS64_BYTES = 28


def wav_header(encoding: Encoding, frames: int, sample_rate: int, channels: int) -> bytes:
    """Returns everything before the samples of a WAV file of `frames` frames.

    The length of the header depends on the encoding alone and is even: a JUNK chunk reserves the place of the ds64
    chunk, which replaces it in files over 4 GiB (RF64). If the samples are an odd number of bytes (24 bits, mono),
    the writer must append a zero byte. Raises ValueError for FLAC.
    """
    width = sample_bytes(encoding)
    block = channels * width
    data_bytes = frames * block
    is_float = encoding is Encoding.PCM_F32LE
    fmt = struct.pack(
        "<HHIIHH",
        _IEEE_FLOAT if is_float else _PCM,
        channels,
        sample_rate,
        sample_rate * block,
        block,
        width * 8,
    )
    middle = _chunk(b"fmt ", fmt)
    if is_float:
        # A format other than PCM needs the length of its extension, and a fact chunk with the number of frames.
        middle = _chunk(b"fmt ", fmt + b"\0\0") + _chunk(b"fact", struct.pack("<I", min(frames, _UNKNOWN)))
    header_bytes = 12 + 8 + _DS64_BYTES + len(middle) + 8
    riff_bytes = header_bytes - 8 + data_bytes + data_bytes % 2
    if riff_bytes < _UNKNOWN:
        start = struct.pack("<4sI4s", b"RIFF", riff_bytes, b"WAVE") + _chunk(b"JUNK", bytes(_DS64_BYTES))
        return start + middle + struct.pack("<4sI", b"data", data_bytes)
    sizes = struct.pack("<QQQI", riff_bytes, data_bytes, frames, 0)
    start = struct.pack("<4sI4s", b"RF64", _UNKNOWN, b"WAVE") + _chunk(b"ds64", sizes)
    return start + middle + struct.pack("<4sI", b"data", _UNKNOWN)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack("<4sI", name, len(content)) + content

"""WAV headers of files whose final size is known before their samples are."""

from __future__ import annotations

import struct

from mismo_grpc.audio.encode import Encoding, sample_bytes

_PCM, _IEEE_FLOAT = 1, 3
_UNKNOWN = 0xFFFF_FFFF
"""What RF64 has in each 32-bit size field; the true sizes stand in its ds64 chunk (EBU Tech 3306)."""
_DS64_BYTES = 28


def wav_header(encoding: Encoding, frames: int, sample_rate: int, channels: int) -> bytes:
    """Everything before the samples of a WAV file of `frames` frames.

    Its length depends on the encoding alone and is even: a JUNK chunk keeps the place that ds64 needs where
    the file passes 4 GiB and becomes RF64. Where the samples are an odd number of bytes (24 bits, mono) the
    file ends with a zero byte that the writer adds. Raises ValueError for FLAC.
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
        # A format other than PCM says how long its extension is, and how many frames there are.
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

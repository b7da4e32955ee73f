"""Writes a whole FLAC file: with the MD5 of its samples, their number, and a seek table.

Format: RFC 9639, sections 8.2 (streaminfo) and 8.5 (seek table). The same samples give the same bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import BinaryIO, Literal

import numpy as np

from mismo_grpc.audio.encode import Encoding, PcmIntegers, pcm_integers, sample_bytes
from mismo_grpc.audio.exports.pcm_source import PcmSource
from mismo_grpc.audio.flac import BLOCK_FRAMES, FlacBlocks

SEEK_SECONDS = 10
_POINT = struct.Struct(">QQH")
_MD5_OFFSET = 26
_SEEK_TABLE = 0x83
"""The type of the seek table, with the bit of the last metadata block."""


def flac_bytes_at_most(source: PcmSource) -> int:
    """The most that the file of a stem takes, in bytes: an encoder stores what it cannot compress."""
    bits = _bits(source.encoding)
    frames, blocks = source.total_frames, -(-source.total_frames // BLOCK_FRAMES)
    # A side channel has one bit more.
    return frames * (source.channels * bits + 1) // 8 + 64 * blocks + _POINT.size * _points(source) + 1024


def write_flac(source: PcmSource, file: BinaryIO, check: Callable[[], None] = lambda: None) -> None:
    """Writes a stem into an empty file: with 16 bits if its samples have 16, else with 24, floats clipped.

    Calls `check` before each block, which may raise to stop. Blocks. Raises OSError, and ValueError for a form that
    `FlacBlocks` does not encode.
    """
    bits = _bits(source.encoding)
    flac = FlacBlocks(source.sample_rate, source.channels, bits)
    header = bytearray(flac.stream_header(source.total_frames))
    # Another metadata block follows.
    header[4] &= 0x7F
    points = _points(source)
    file.write(header)
    file.write((_SEEK_TABLE << 24 | points * _POINT.size).to_bytes(4, "big"))
    table_offset = file.tell()
    file.write(bytes(points * _POINT.size))
    first_block, offset, seek_points = 0, 0, list[bytes]()
    stride = _stride(source.sample_rate)
    digest = hashlib.md5(usedforsecurity=False)
    for pcm in source.blocks(check):
        integers = pcm_integers(pcm, source.encoding, source.channels)
        digest.update(_as_stored(integers))
        encoded = flac.encode_blocks(integers, first_block)
        for number, block in enumerate(encoded, first_block):
            if number % stride == 0:
                frame = number * BLOCK_FRAMES
                seek_points.append(_POINT.pack(frame, offset, min(BLOCK_FRAMES, source.total_frames - frame)))
            file.write(block)
            offset += len(block)
        first_block += len(encoded)
    file.seek(table_offset)
    file.write(b"".join(seek_points))
    file.seek(_MD5_OFFSET)
    file.write(digest.digest())


def _bits(encoding: Encoding) -> Literal[16, 24]:
    return 16 if sample_bytes(encoding) == 2 else 24


def _stride(sample_rate: int) -> int:
    """Blocks between two seek points."""
    return max(1, SEEK_SECONDS * sample_rate // BLOCK_FRAMES)


def _points(source: PcmSource) -> int:
    blocks = -(-source.total_frames // BLOCK_FRAMES)
    return -(-blocks // _stride(source.sample_rate))


def _as_stored(integers: PcmIntegers) -> bytes:
    """The samples as the MD5 of a FLAC file is computed: interleaved, signed, little-endian, in whole bytes."""
    if integers.dtype == np.int16:
        return integers.astype("<i2", copy=False).tobytes()
    wide = np.ascontiguousarray(integers, "<i4").reshape(-1).view(np.uint8).reshape(-1, 4)
    return wide[:, :3].tobytes()

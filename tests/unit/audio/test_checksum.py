"""Checksums of blocks and files."""

from __future__ import annotations

import os
from pathlib import Path

from mismo_grpc.audio.checksum import BLOCK_BYTES, crc32c, crc32c_of_file


def test_the_checksum_is_the_published_one() -> None:
    """The check value of CRC-32C, and those of RFC 3720, B.4."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"") == 0


def test_parts_give_the_checksum_of_the_whole(tmp_path: Path) -> None:
    content = os.urandom(2 * BLOCK_BYTES + 17)
    (tmp_path / "file").write_bytes(content)
    assert crc32c_of_file(tmp_path / "file") == crc32c(content)
    assert crc32c(content[1000:], crc32c(content[:1000])) == crc32c(content)

"""CRC-32C (Castagnoli) checksums of written data, which readers compare later."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import google_crc32c

BLOCK_BYTES = 1 << 20


def crc32c(data: bytes, before: int = 0) -> int:
    """Returns the checksum of `data`; `before` is the checksum of the bytes that precede it."""
    return cast("int", google_crc32c.extend(before, data))


def crc32c_of_file(path: Path) -> int:
    """The checksum of a file, read in blocks. Raises OSError."""
    found = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            found = crc32c(block, found)
    return found

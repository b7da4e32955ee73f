"""Plans a ZIP archive of uncompressed entries, so that the offset of every byte is known before any file is read.

Headers according to PKWARE's APPNOTE 6.3.10: local file header 4.3.7, central directory 4.3.12, ZIP64 4.3.14 and 4.5.3,
end record 4.3.16. The bytes depend only on names, sizes and checksums.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mismo_grpc.errors import InternalError

LIMIT_32 = 0xFFFFFFFF
LIMIT_16 = 0xFFFF
VERSION_STORED = 20
VERSION_ZIP64 = 45
UTF8_NAMES = 1 << 11
MADE_ON_UNIX = 3 << 8
READABLE_FILE = 0o100644 << 16
FIRST_OF_1980 = (0, 1 << 5 | 1)
"""The DOS time and date of every entry; they are constant, so that the archive does not depend on the clock."""
ZIP64_FIELD = 0x0001


@dataclass(frozen=True)
class ZipEntry:
    """One file to be stored as `name`; `size` in bytes."""

    name: str
    path: Path
    size: int
    crc32: int


@dataclass(frozen=True)
class FileSpan:
    """The bytes of a whole file in a plan; `start` is their offset in the archive, `size` in bytes."""

    start: int
    size: int
    path: Path


class BlobBytes(Protocol):
    """The bytes of a result in the blob container."""

    async def read(self, offset: int, count: int, /) -> bytes:
        """`count` bytes from `offset` on; raises MismoError."""
        ...

    def close(self) -> None:
        """Ends the reading."""
        ...


@dataclass(frozen=True)
class BlobSpan:
    """The bytes of a whole blob, which takes the place of a file that is gone."""

    start: int
    size: int
    blob: BlobBytes


@dataclass(frozen=True)
class BytesSpan:
    """Bytes that the plan contains itself, such as headers."""

    start: int
    data: bytes

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.data)


Span = FileSpan | BlobSpan | BytesSpan


@dataclass(frozen=True)
class ZipPlan:
    """The archive as consecutive spans; `total_bytes` is its size."""

    entries: tuple[ZipEntry, ...]
    spans: tuple[Span, ...]
    total_bytes: int

    @classmethod
    def of(cls, entries: Sequence[ZipEntry]) -> ZipPlan:
        """Plans an archive; raises InternalError if two entries have the same name."""
        if len({entry.name for entry in entries}) != len(entries):
            raise InternalError("an archive cannot hold two files of the same name")
        spans = tuple(_spans(entries))
        return cls(tuple(entries), spans, spans[-1].start + spans[-1].size)


def _spans(entries: Sequence[ZipEntry]) -> Iterator[Span]:
    offset = 0
    directory: list[bytes] = []
    for entry in entries:
        directory.append(_directory_record(entry, offset))
        header = BytesSpan(offset, _local_header(entry))
        yield header
        yield FileSpan(offset + header.size, entry.size, entry.path)
        offset += header.size + entry.size
    records = b"".join(directory)
    yield BytesSpan(offset, records + _end(len(entries), len(records), offset))


def _local_header(entry: ZipEntry) -> bytes:
    name = entry.name.encode()
    big = entry.size >= LIMIT_32
    size = LIMIT_32 if big else entry.size
    extra = struct.pack("<HHQQ", ZIP64_FIELD, 16, entry.size, entry.size) if big else b""
    fixed = struct.pack(
        "<4sHHHHHIIIHH",
        b"PK\x03\x04",
        VERSION_ZIP64 if big else VERSION_STORED,
        UTF8_NAMES,
        0,
        *FIRST_OF_1980,
        entry.crc32,
        size,
        size,
        len(name),
        len(extra),
    )
    return fixed + name + extra


def _directory_record(entry: ZipEntry, offset: int) -> bytes:
    name = entry.name.encode()
    # The extra field has only the values that do not fit into 32 bits, in this order.
    wide: list[int] = []
    if entry.size >= LIMIT_32:
        wide += [entry.size, entry.size]
    if offset >= LIMIT_32:
        wide.append(offset)
    extra = struct.pack(f"<HH{len(wide)}Q", ZIP64_FIELD, 8 * len(wide), *wide) if wide else b""
    version = VERSION_ZIP64 if wide else VERSION_STORED
    size = min(entry.size, LIMIT_32)
    fixed = struct.pack(
        "<4sHHHHHHIIIHHHHHII",
        b"PK\x01\x02",
        MADE_ON_UNIX | version,
        version,
        UTF8_NAMES,
        0,
        *FIRST_OF_1980,
        entry.crc32,
        size,
        size,
        len(name),
        len(extra),
        0,
        0,
        0,
        READABLE_FILE,
        min(offset, LIMIT_32),
    )
    return fixed + name + extra


def _end(count: int, size: int, offset: int) -> bytes:
    wide = b""
    if count >= LIMIT_16 or size >= LIMIT_32 or offset >= LIMIT_32:
        record = struct.pack(
            "<4sQHHIIQQQQ",
            b"PK\x06\x06",
            44,
            MADE_ON_UNIX | VERSION_ZIP64,
            VERSION_ZIP64,
            0,
            0,
            count,
            count,
            size,
            offset,
        )
        wide = record + struct.pack("<4sIQI", b"PK\x06\x07", 0, offset + size, 1)
    count = min(count, LIMIT_16)
    fixed = struct.pack(
        "<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, min(size, LIMIT_32), min(offset, LIMIT_32), 0
    )
    return wide + fixed

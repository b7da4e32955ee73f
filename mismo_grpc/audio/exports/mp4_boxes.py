"""Adds a box to the user data of a finished MP4 file (ISO/IEC 14496-12: boxes in 4.2, moov in 8.2, udta in 8.10).

The movie box must be the last one of the file, where FFmpeg writes it: then it can grow, and no offset of a sample
changes, in files over 4 GiB as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

LIMIT_32 = 1 << 32
MAX_MOVIE_BYTES = 1 << 30


@dataclass(frozen=True)
class Box:
    """The place of a box: its type, its first byte, its content, its end; in bytes."""

    kind: bytes
    start: int
    content: int
    end: int


def read_boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes between two offsets of a file. Raises ValueError if their sizes are wrong."""
    while start < end:
        file.seek(start)
        header = file.read(16)
        if len(header) < 8:
            raise ValueError("an MP4 box is cut off")
        size, content = int.from_bytes(header[:4], "big"), start + 8
        if size == 1:
            size, content = int.from_bytes(header[8:16], "big"), start + 16
        elif size == 0:
            size = end - start
        if not content - start <= size <= end - start:
            raise ValueError(f"the size of the MP4 box {header[4:8]!r} is wrong")
        yield Box(header[4:8], start, content, start + size)
        start += size


def add_user_data(file: BinaryIO, kind: bytes, content: bytes) -> None:
    """Adds a box to moov/udta, in place of one of the same type; the file is open to read and write. Blocks.

    Raises ValueError if the file has no movie box at its end, OSError.
    """
    total = file.seek(0, os.SEEK_END)
    boxes = list(read_boxes(file, 0, total))
    if not boxes or boxes[-1].kind != b"moov":
        raise ValueError("the MP4 file does not end with its movie box")
    movie = boxes[-1]
    if movie.end - movie.start > MAX_MOVIE_BYTES:
        raise ValueError("the movie box is too large")
    others: list[bytes] = []
    user_data: list[bytes] = []
    for box in read_boxes(file, movie.content, movie.end):
        if box.kind == b"udta":
            user_data += [
                _bytes_of(file, each) for each in read_boxes(file, box.content, box.end) if each.kind != kind
            ]
        else:
            others.append(_bytes_of(file, box))
    added = box_bytes(b"udta", b"".join([*user_data, box_bytes(kind, content)]))
    file.seek(movie.start)
    file.write(box_bytes(b"moov", b"".join([*others, added])))
    file.truncate()


def box_bytes(kind: bytes, content: bytes) -> bytes:
    """A box with its header; raises ValueError if it is over 4 GiB."""
    size = 8 + len(content)
    if size >= LIMIT_32:
        raise ValueError(f"the MP4 box {kind!r} is too large")
    return size.to_bytes(4, "big") + kind + content


def _bytes_of(file: BinaryIO, box: Box) -> bytes:
    file.seek(box.start)
    content = file.read(box.end - box.start)
    if len(content) != box.end - box.start:
        raise ValueError("an MP4 box is cut off")
    return content

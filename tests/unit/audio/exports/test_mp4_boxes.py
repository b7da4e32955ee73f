"""A box is added to a movie without moving any sample, whatever the size of the file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from mismo_grpc.audio.exports.mp4_boxes import add_user_data, box_bytes, read_boxes

GIB = 1 << 30


def a_movie(*user_data: bytes) -> bytes:
    children = [box_bytes(b"mvhd", bytes(100)), box_bytes(b"trak", bytes(50))]
    if user_data:
        children.append(box_bytes(b"udta", b"".join(user_data)))
    return box_bytes(b"moov", b"".join(children))


def tree(file: io.BytesIO, start: int, end: int) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    for box in read_boxes(file, start, end):
        file.seek(box.content)
        found.append((box.kind, file.read(box.end - box.content)))
    return found


def user_data_of(file: io.BytesIO) -> list[tuple[bytes, bytes]]:
    movie = list(read_boxes(file, 0, len(file.getvalue())))[-1]
    (udta,) = [box for box in read_boxes(file, movie.content, movie.end) if box.kind == b"udta"]
    return tree(file, udta.content, udta.end)


def test_user_data_is_made_where_there_is_none() -> None:
    before = box_bytes(b"ftyp", b"isom") + box_bytes(b"mdat", b"samples")
    file = io.BytesIO(before + a_movie())
    add_user_data(file, b"stem", b"{}")
    assert file.getvalue().startswith(before)
    assert user_data_of(file) == [(b"stem", b"{}")]


def test_other_user_data_stays_and_the_same_is_replaced() -> None:
    file = io.BytesIO(a_movie(box_bytes(b"meta", b"kept"), box_bytes(b"stem", b"old and long")))
    add_user_data(file, b"stem", b"new")
    assert user_data_of(file) == [(b"meta", b"kept"), (b"stem", b"new")]
    assert file.getvalue() == a_movie(box_bytes(b"meta", b"kept"), box_bytes(b"stem", b"new"))


def test_files_over_4_gib(tmp_path: Path) -> None:
    size = 5 * GIB
    path = tmp_path / "sparse.mp4"
    with path.open("w+b") as file:
        head = box_bytes(b"ftyp", b"isom")
        file.write(head)
        # A size of 64 bits follows the type.
        file.write((1).to_bytes(4, "big") + b"mdat" + size.to_bytes(8, "big"))
        file.seek(len(head) + size)
        file.write(a_movie())
        add_user_data(file, b"stem", b"{}")
        total = file.seek(0, 2)
        boxes = list(read_boxes(file, 0, total))
        assert [box.kind for box in boxes] == [b"ftyp", b"mdat", b"moov"]
        assert boxes[-1].start == len(head) + size
        children = [box.kind for box in read_boxes(file, boxes[-1].content, boxes[-1].end)]
    assert children == [b"mvhd", b"trak", b"udta"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (a_movie() + box_bytes(b"mdat", b""), "does not end with its movie box"),
        (b"", "does not end with its movie box"),
        (b"\0\0\0\x04moov", "size"),
        (b"\0\0\1\0moov", "size"),
        (b"\0\0\0", "cut off"),
        (box_bytes(b"moov", b"\0\0\0\x02trak"), "size"),
    ],
)
def test_what_is_no_movie_is_refused(content: bytes, message: str) -> None:
    file = io.BytesIO(content)
    with pytest.raises(ValueError, match=message):
        add_user_data(file, b"stem", b"{}")
    assert file.getvalue() == content

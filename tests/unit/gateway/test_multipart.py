"""Forms that come in pieces of any size, and forms that are wrong."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mismo_grpc.errors import InvalidFieldError, MismoError, RequestError, UploadTooLargeError
from mismo_grpc.gateway.multipart import MAX_FIELD_BYTES, MAX_FIELDS, Form, FormReader
from mismo_grpc.storage.disk import FileSystemDisk
from mismo_grpc.uploads.spooled_upload import SpooledUploads
from mismo_grpc.uploads.uploads import Uploads
from tests.support.memory_store import MemoryJobStore

TYPE = "multipart/form-data; boundary=frontier"


def part(name: str, data: bytes, filename: str | None = None) -> bytes:
    extra = f'; filename="{filename}"' if filename is not None else ""
    head = f'--frontier\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
    return head.encode() + data + b"\r\n"


END = b"--frontier--\r\n"


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for place in range(0, len(body), size):
        yield body[place : place + size]


def spool_in(folder: Path, max_bytes: int = 1 << 20) -> SpooledUploads:
    disk = FileSystemDisk()
    uploads = Uploads(
        folder / "uploads",
        MemoryJobStore(),
        disk,
        max_upload_bytes=max_bytes,
        idle_seconds=60,
        keep_seconds=60,
    )
    return SpooledUploads(folder / "incoming", uploads, disk, max_bytes=max_bytes, reserve_bytes=0)


async def read(folder: Path, body: bytes, size: int = 100, max_bytes: int = 1 << 20) -> tuple[Form, bytes]:
    spool = spool_in(folder, max_bytes)
    try:
        async with spool.file("file") as file:
            form = await FormReader(TYPE, "file", file).read(pieces(body, size))
            if form.filename is None:
                return form, b""
            upload_id = await file.finish(form.filename, 1.0)
        status = await spool.uploads.get(upload_id)
        content = spool.uploads.path_of(upload_id).read_bytes()
        assert status.sha256 == hashlib.sha256(content).hexdigest()
        return form, content
    finally:
        assert list((folder / "incoming").iterdir()) == []


@settings(max_examples=40, deadline=None)
@given(data=st.binary(min_size=1, max_size=5000), size=st.integers(1, 6000))
async def test_any_pieces_give_the_same_form(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, size: int
) -> None:
    body = part("track_hash", b"abc") + part("file", data, "Träck 1.mp3") + part("options", b"{}") + END
    form, content = await read(tmp_path_factory.mktemp("form"), body, size)
    assert form == Form({"track_hash": "abc", "options": "{}"}, "Träck 1.mp3")
    assert content == data


async def test_a_form_without_a_file(tmp_path: Path) -> None:
    form, _ = await read(tmp_path, part("track_hash", b"abc") + END)
    assert form.filename is None


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"", RequestError, "cut short"),
        (b"nothing of the kind", RequestError, "multipart"),
        (part("file", b"x" * 300, "a.mp3"), RequestError, "cut short"),
        (
            part("track_hash", b"a") + part("track_hash", b"b") + END,
            InvalidFieldError,
            "track_hash was sent twice",
        ),
        (part("file", b"a", "a") + part("file", b"b", "b") + END, InvalidFieldError, "file was sent twice"),
        (part("file", b"a") + END, InvalidFieldError, "filename"),
        (part("track_hash", b"a", "a.txt") + END, InvalidFieldError, "must not be a file"),
        (part("options", b"x" * (MAX_FIELD_BYTES + 1)) + END, InvalidFieldError, "options is longer"),
        (part("track_hash", b"\xff") + END, RequestError, "UTF-8"),
        (b"--frontier\r\nX: y\r\n\r\nz\r\n" + END, RequestError, "Content-Disposition"),
        (b"".join(part(f"f{i}", b"") for i in range(MAX_FIELDS + 1)) + END, RequestError, "at most"),
    ],
)
async def test_what_is_wrong_with_a_form(
    tmp_path: Path, body: bytes, kind: type[MismoError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        await read(tmp_path, body)
    assert list((tmp_path / "uploads").iterdir()) == []


async def test_a_file_is_cut_off_at_the_limit(tmp_path: Path) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield part("file", b"", "a.mp3")[:-2]
        while True:
            taken += 1000
            yield b"x" * 1000

    spool = spool_in(tmp_path, 50_000)
    with pytest.raises(UploadTooLargeError) as caught:
        async with spool.file("file") as file:
            await FormReader(TYPE, "file", file).read(endless())
    assert caught.value.field == "file"
    assert taken <= 52_000
    assert list((tmp_path / "incoming").iterdir()) == []


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/mixed; boundary=a", "text/plain", ""])
async def test_a_content_type_without_a_boundary(tmp_path: Path, kind: str) -> None:
    spool = spool_in(tmp_path)
    async with spool.file("file") as file:
        with pytest.raises(RequestError, match="boundary"):
            FormReader(kind, "file", file)

"""What every kind of container does, on the disk, in Azure (Azurite) and in S3 (Swift)."""

from __future__ import annotations

import asyncio
import hashlib
import resource
import time
import urllib.error
import urllib.request
from datetime import timedelta

import pytest

from mismo_grpc.errors import (
    BlobChangedError,
    BlobContainerNotFoundError,
    BlobNotFoundError,
    DiskFullError,
    InternalError,
    InvalidFieldError,
    NoSignedLinksError,
    UploadTooLargeError,
)
from mismo_grpc.storage.blobs.port import BlobInfo
from mismo_grpc.storage.blobs.sources import BlobSources
from mismo_grpc.storage.disk import QuotaDisk

SMALL, LARGE = 70_001, 23 << 20
"""Bytes that go in one request, and in several, of which more than are in flight at once."""


@pytest.mark.parametrize("total_bytes", [0, SMALL, LARGE])
async def test_a_file_comes_back_as_it_was_sent(place, track_of, tmp_path, total_bytes):
    store, track = place.store(), track_of(total_bytes)
    sent = await store.upload(
        track.path, "job/stems/vocals.wav", sha256=track.sha256, content_type="audio/wav"
    )
    progress: list[int] = []
    target = tmp_path / "target.wav"
    got = await store.download("job/stems/vocals.wav", target, progress=progress.append)
    assert target.read_bytes() == track.data
    assert (got.total_bytes, got.sha256) == (total_bytes, track.sha256)
    assert got.version == sent.version != ""
    assert progress == sorted(set(progress))
    assert progress[-1:] == ([total_bytes] if total_bytes else [])
    assert sorted(path.name for path in tmp_path.glob("target*")) == ["target.wav"]


@pytest.mark.parametrize("total_bytes", [SMALL, LARGE])
async def test_the_container_knows_size_version_and_checksum(place, track_of, total_bytes):
    store, track = place.store(), track_of(total_bytes)
    sent = await store.upload(track.path, "a.wav", sha256=track.sha256)
    known = await store.head("a.wav")
    assert sent.sha256 == track.sha256
    assert known.sha256 == ("" if place.kind == "disk" else track.sha256)
    assert (known.path, known.total_bytes, known.version) == ("a.wav", total_bytes, sent.version)


async def test_bytes_are_written_whole_and_replaced_whole(place):
    store = place.store()
    first = await store.write("analysis/key.json", b'{"key": "A"}', content_type="application/json")
    second = await store.write("analysis/key.json", b'{"key": "C#"}', content_type="application/json")
    assert first.sha256 == hashlib.sha256(b'{"key": "A"}').hexdigest()
    assert first.version != second.version
    assert await store.read("analysis/key.json", 0, 99) == b'{"key": "C#"}'


@pytest.mark.parametrize("total_bytes", [SMALL, LARGE])
async def test_a_damaged_file_is_not_published(place, track_of, total_bytes):
    store, track = place.store(), track_of(total_bytes)
    before = await store.write("a.wav", b"before")
    with track.path.open("r+b") as file:
        file.seek(total_bytes // 2)
        file.write(b"damage")
    with pytest.raises(InternalError, match="damaged"):
        await store.upload(track.path, "a.wav", sha256=track.sha256)
    assert (await store.head("a.wav")).version == before.version
    assert await store.list() == [BlobInfo("a.wav", 6, before.version)]


async def test_a_file_that_cannot_be_read_is_an_error_that_names_it(place, tmp_path):
    with pytest.raises(InternalError, match=r"gone\.wav.*cannot be read"):
        await place.store().upload(tmp_path / "gone.wav", "a.wav", sha256="0" * 64)


async def test_ranges_are_read_and_pinned_to_a_version(place):
    store = place.store()
    old = await store.write("a.bin", bytes(range(100)))
    assert await store.read("a.bin", 10, 5, old.version) == bytes(range(10, 15))
    assert await store.read("a.bin", 95, 50) == bytes(range(95, 100))
    with pytest.raises(BlobChangedError):
        await store.read("a.bin", 100, 1)
    await store.write("a.bin", b"other")
    with pytest.raises(BlobChangedError, match=r"a\.bin.*replaced"):
        await store.read("a.bin", 0, 5, old.version)


async def test_another_version_than_the_one_asked_for_is_not_downloaded(place, tmp_path):
    store = place.store()
    old = await store.write("a.bin", b"old")
    await store.write("a.bin", b"newer")
    with pytest.raises(BlobChangedError):
        await store.download("a.bin", tmp_path / "target", version=old.version)
    assert not (tmp_path / "target").exists()


async def test_a_missing_blob_is_named_with_its_container(place, tmp_path):
    store = place.store()
    await store.write("there", b"1")
    for call in (
        store.head("not/there"),
        store.download("not/there", tmp_path / "target"),
        store.read("not/there", 0, 1),
    ):
        with pytest.raises(BlobNotFoundError) as caught:
            await call
        assert "not/there" in caught.value.message
        assert place.name in caught.value.message
    assert not (tmp_path / "target").exists()


async def test_a_missing_container_is_told_from_a_missing_blob(place, track_of, tmp_path):
    store, track = place.missing(), track_of(LARGE)
    for call in (
        store.check(),
        store.head("a.wav"),
        store.download("a.wav", tmp_path / "target"),
        store.write("a.wav", b"1"),
        store.upload(track.path, "a.wav", sha256=track.sha256),
        store.list(),
    ):
        with pytest.raises(BlobContainerNotFoundError, match=f"{place.name}-missing"):
            await call
    if place.kind == "disk":
        assert not (place.folder / f"{place.name}-missing").exists()


async def test_a_container_that_is_there_passes_the_check_even_when_empty(place):
    await place.store().check()


async def test_blobs_are_listed_below_a_path_and_removed(place):
    store = place.store()
    for path in ("a/one", "a/b/two", "ab/three"):
        await store.write(path, path.encode())
    assert {info.path: info.total_bytes for info in await store.list("a")} == {"a/one": 5, "a/b/two": 7}
    await store.delete("a/one")
    await store.delete("a/one")
    assert sorted(info.path for info in await store.list()) == ["a/b/two", "ab/three"]


async def test_prefixes_are_separate(place):
    await place.store().write("a", b"1")
    if place.kind != "disk":
        assert await place.store(prefix="other").list() == []
        assert [info.path for info in await place.store(prefix="").list()] == ["music/a"]


@pytest.mark.parametrize(
    "path", ["x y/ä 曲.mp3", "100%/%41.wav", "a#1b/q?.wav", "a+b&c=d;e'f.wav", "~tilde/-_.wav"]
)
async def test_any_printable_name_works_and_its_uris_lead_back_to_it(place, path):
    store = place.store()
    await store.write(path, path.encode())
    assert await store.read(path, 0, 99) == path.encode()
    assert [info.path for info in await store.list()] == [path]
    sources = BlobSources([store])
    assert sources.locate(store.uri_of(path)) == (store, path)
    assert sources.locate(store.http_url_of(path)) == (store, path)


@pytest.mark.parametrize(
    "path", ["", "/a", "a//b", "../a", "a/./b", "a/", "a\nb", "a\\b", "a" * 1025, "\ud800"]
)
async def test_a_path_that_could_be_taken_for_another_is_refused(place, path):
    store = place.store()
    with pytest.raises(InvalidFieldError, match="blob path"):
        await store.write(path, b"1")
    with pytest.raises(InvalidFieldError):
        await store.read(path, 0, 1)
    assert await store.list() == []


async def test_a_signed_link_is_read_by_anybody_until_it_expires(remote):
    store = remote.store()
    await store.write("stems/vocals.wav", b"RIFF")
    link = await store.signed_url("stems/vocals.wav", timedelta(minutes=5))
    assert link.startswith(store.http_url_of("stems/vocals.wav") + "?")
    assert await asyncio.to_thread(_read, link) == b"RIFF"
    with pytest.raises(urllib.error.HTTPError, match="40"):
        await asyncio.to_thread(_read, store.http_url_of("stems/vocals.wav"))
    short = await store.signed_url("stems/vocals.wav", timedelta(seconds=1))
    await asyncio.to_thread(_wait_until_refused, short)


async def test_azure_gives_no_link_that_would_not_work(place_of):
    store = place_of("azure").store()
    await store.write("stems/vocals ä.wav", b"RIFF")
    with pytest.raises(NoSignedLinksError, match="vocals ä"):
        await store.signed_url("stems/vocals ä.wav", timedelta(minutes=5))


async def test_a_disk_signs_no_links(place_of):
    with pytest.raises(NoSignedLinksError, match="from this server instead"):
        await place_of("disk").store().signed_url("a.wav", timedelta(minutes=5))


async def test_a_blob_that_is_too_large_or_has_no_room_leaves_nothing(place, tmp_path):
    store = place.store()
    await store.write("a.wav", b"x" * 1000)
    folder = tmp_path / "targets"
    folder.mkdir()
    disk = QuotaDisk(999)
    with pytest.raises(UploadTooLargeError, match="1000 bytes, at most 999"):
        await store.download("a.wav", folder / "target", max_bytes=999)
    with pytest.raises(DiskFullError):
        await store.download("a.wav", folder / "target", check_room=lambda size: disk.require(folder, size))
    assert list(folder.iterdir()) == []
    disk.limit = 1000
    await store.download(
        "a.wav", folder / "target", max_bytes=1000, check_room=lambda size: disk.require(folder, size)
    )
    assert (folder / "target").stat().st_size == 1000


async def test_a_download_that_cannot_be_written_leaves_nothing(place, track_of, tmp_path):
    store, track = place.store(), track_of(LARGE)
    await store.upload(track.path, "a.wav", sha256=track.sha256)
    folder = tmp_path / "targets"
    folder.mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE // 2, before[1]))
    try:
        with pytest.raises(InternalError, match="EFBIG"):
            await store.download("a.wav", folder / "target")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(folder.iterdir()) == []


async def test_an_earlier_target_stays_until_the_new_one_is_complete(place, tmp_path):
    store = place.store()
    (tmp_path / "target").write_bytes(b"earlier")
    (tmp_path / "target.partial").write_bytes(b"left by a crash")
    with pytest.raises(BlobNotFoundError):
        await store.download("a.wav", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"earlier"
    await store.write("a.wav", b"new")
    await store.download("a.wav", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"new"
    assert not (tmp_path / "target.partial").exists()


def _read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as response:
        return response.read()


def _wait_until_refused(url: str) -> None:
    deadline = time.monotonic() + 20
    status = 200
    while status == 200 and time.monotonic() < deadline:
        try:
            _read(url)
        except urllib.error.HTTPError as error:
            status = error.code
    assert status == 403

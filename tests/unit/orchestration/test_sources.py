"""Blobs as sources at submit: what is refused at once, and what a job may still fetch later."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mismo_grpc.errors import (
    BlobAccessDeniedError,
    BlobContainerNotFoundError,
    BlobNotFoundError,
    BlobStoreUnavailableError,
    BlobUriForbiddenError,
    EmptyAudioError,
    MismoError,
    UploadTooLargeError,
)
from mismo_grpc.jobs.job import Source, SourceKind
from mismo_grpc.orchestration.sources import CheckedSource
from mismo_grpc.storage.blobs.containers import ContainerOpener
from mismo_grpc.storage.blobs.object_store import ObjectBlobStore
from mismo_grpc.storage.blobs.port import BlobInfo
from tests.unit.orchestration.place import Place

BLOB = Source(SourceKind.BLOB, "https://music.example.com/a.wav")


class Shelf(ObjectBlobStore):
    """A container that responds with `error` if there is one."""

    error: MismoError | None = None

    async def head(self, path: str) -> BlobInfo:
        """See BlobStore."""
        if self.error is not None:
            raise self.error
        return await super().head(path)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A folder at the address of a web server, as no job may name a folder."""
    (tmp_path / "shelf").mkdir()
    opened = ContainerOpener().open((tmp_path / "shelf").as_uri(), "TEST")
    return Shelf(replace(opened._container, addresses=("https://music.example.com",)))


async def test_a_blob_has_a_size_but_no_checksum_before_it_is_fetched(place: Place, shelf: Shelf) -> None:
    await shelf.write("a.wav", bytes(1000))
    assert await place.sources(blobs=[shelf]).check(BLOB, None) == CheckedSource(1000)


async def test_a_container_that_does_not_respond_now_is_no_reason_to_refuse(
    place: Place, shelf: Shelf
) -> None:
    shelf.error = BlobStoreUnavailableError("it is down")
    assert await place.sources(blobs=[shelf]).check(BLOB, None) == CheckedSource()


@pytest.mark.parametrize(
    "error", [BlobAccessDeniedError("the key is wrong"), BlobContainerNotFoundError("there is none")]
)
async def test_what_a_person_must_mend_is_told_at_once(place: Place, shelf: Shelf, error: MismoError) -> None:
    shelf.error = error
    with pytest.raises(type(error)) as refusal:
        await place.sources(blobs=[shelf]).check(BLOB, None)
    assert refusal.value.field == "source.blob_uri"


@pytest.mark.parametrize(
    ("size", "error"),
    [(None, BlobNotFoundError), (0, EmptyAudioError), ((1 << 20) + 1, UploadTooLargeError)],
)
async def test_a_blob_that_cannot_be_a_track_is_refused(
    place: Place, shelf: Shelf, size: int | None, error: type[MismoError]
) -> None:
    if size is not None:
        await shelf.write("a.wav", bytes(size))
    with pytest.raises(error) as refusal:
        await place.sources(blobs=[shelf]).check(BLOB, None)
    assert refusal.value.field == "source.blob_uri"


async def test_a_blob_elsewhere_is_forbidden(place: Place, shelf: Shelf) -> None:
    for uri in ("https://elsewhere.example.com/a.wav", "az://audio/a.wav", "file:///etc/passwd"):
        with pytest.raises(BlobUriForbiddenError):
            await place.sources(blobs=[shelf]).check(replace(BLOB, location=uri), None)

"""The port of blob storage: what the server asks of a container, whoever keeps it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

OCTETS = "application/octet-stream"


@dataclass(frozen=True)
class BlobInfo:
    """A blob as its container describes it.

    `version` is its ETag, "" if the container gives none. `sha256` is in hexadecimal digits, "" if the container does
    not know it: this server stores it in the blob's metadata, others may not, and a disk has no metadata.
    """

    path: str
    total_bytes: int
    version: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Downloaded:
    """What was downloaded; `sha256` (hexadecimal) is computed from the bytes that were written."""

    total_bytes: int
    sha256: str
    version: str


class BlobStore(ABC):
    """One container, or the part of it below a prefix.

    A path is relative to the prefix: segments with `/` between them, checked by `check_blob_path`. A blob is replaced
    as a whole: a reader sees all of the old bytes or all of the new ones. Besides the errors that a method names, each
    raises BlobStoreUnavailableError, BlobAccessDeniedError, BlobContainerNotFoundError, and InvalidFieldError for a bad
    path.
    """

    @property
    @abstractmethod
    def uri(self) -> str:
        """The container and prefix: `az://container/prefix`, `s3://bucket/prefix`, `file:///folder`, `https://...`."""

    @property
    @abstractmethod
    def addresses(self) -> Sequence[str]:
        """All URIs that this part of the container is known by; `uri` is the first one."""

    @abstractmethod
    async def head(self, path: str) -> BlobInfo:
        """Returns what the container knows of a blob. Raises BlobNotFoundError."""

    @abstractmethod
    async def download(
        self,
        path: str,
        target: Path,
        *,
        version: str = "",
        max_bytes: int | None = None,
        check_room: Callable[[int], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Downloaded:
        """Writes one version of a blob to the file `target`, which is synced and complete, or absent after an error.

        `version` is the version to read, "": the present one. `check_room` gets the size in bytes before anything is
        written and raises if there is no room; it must not block. `progress` gets the bytes written so far.
        Both are called on the event loop.
        A cancelled call has stopped writing when it raises.

        Raises BlobNotFoundError, BlobChangedError if the blob is or becomes another version, UploadTooLargeError if it
        has more than `max_bytes`, DiskFullError, and what `check_room` raises.
        """

    @abstractmethod
    async def upload(self, source: Path, path: str, *, sha256: str, content_type: str = OCTETS) -> BlobInfo:
        """Stores a file, whose SHA-256 in hexadecimal digits is `sha256`, as a blob.

        A blob that has these bytes already is not sent again. Raises InternalError, and stores nothing, if the file
        cannot be read or does not have that checksum; DiskFullError if the container is a disk.
        """

    @abstractmethod
    async def write(self, path: str, data: bytes, *, content_type: str = OCTETS) -> BlobInfo:
        """Stores some bytes, few enough for one request, as a blob. Raises DiskFullError if the container is a disk."""

    @abstractmethod
    async def read(self, path: str, start: int, count: int, version: str = "") -> bytes:
        """Returns `count` bytes from byte `start` on, fewer at the blob's end; few enough for one request.

        `version` is the version to read, "": any. Raises BlobNotFoundError, BlobChangedError if the blob is another
        version or ends at or before `start`.
        """

    @abstractmethod
    async def list(self, prefix: str = "") -> list[BlobInfo]:
        """Returns the blobs below a path, without their `sha256`; for tools and tests."""

    @abstractmethod
    async def delete(self, path: str) -> None:
        """Removes a blob, for tools and tests: the server removes none. A blob that is not there is no error."""

    @abstractmethod
    async def signed_url(self, path: str, expires: timedelta) -> str:
        """Returns a link with which anybody can read the blob until it expires. Raises NoSignedLinksError."""

    @abstractmethod
    def uri_of(self, path: str) -> str:
        """The blob's URI, percent-encoded; `BlobSources.locate` takes it apart again."""

    @abstractmethod
    def http_url_of(self, path: str) -> str:
        """The blob's address in the container's own HTTP API, without a signature; `file://...` for a disk."""

    @abstractmethod
    async def check(self) -> None:
        """Returns if the container exists and the credentials may list it."""

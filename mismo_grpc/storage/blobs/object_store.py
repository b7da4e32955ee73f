"""The implementation of the port on obstore: a disk, Azure, S3, and web servers to read from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, HTTPStore, LocalStore, S3Store

from mismo_grpc.completion import run_to_completion
from mismo_grpc.errors import (
    BlobContainerNotFoundError,
    BlobNotFoundError,
    MismoError,
    NoSignedLinksError,
    UploadTooLargeError,
)
from mismo_grpc.executors import InThread
from mismo_grpc.storage.blobs.failures import blob_changed, blob_error, container_not_found
from mismo_grpc.storage.blobs.paths import check_blob_path, joined, quoted
from mismo_grpc.storage.blobs.port import OCTETS, BlobInfo, BlobStore, Downloaded
from mismo_grpc.storage.blobs.receiving import PartialFile, Readable, ranges_in_order
from mismo_grpc.storage.blobs.sending import (
    PART_BYTES,
    PARTS_IN_FLIGHT,
    FileParts,
    completed,
    file_sha256,
)
from mismo_grpc.storage.disk import disk_errors, sync

if TYPE_CHECKING:
    from obstore import Attributes, GetOptions, GetResult, ObjectMeta

T = TypeVar("T")
Client: TypeAlias = AzureStore | HTTPStore | LocalStore | S3Store

TRANSFERS = 2
"""Files that a container sends or receives at once; each holds a few parts in memory."""
STREAM_BYTES = 1 << 20

_SHA256 = "sha256"
_CLIENT_ERRORS = (BaseError, OSError, ValueError, NotImplementedError)
"""What obstore raises."""


@dataclass(frozen=True)
class Container:
    """Which container a client reaches, below which prefix of names, and its addresses.

    `addresses` are URIs of the prefix, percent-encoded, `http_url` among them; the first is the one that messages name.
    `signs`: the credentials can sign links. `folder` is the container of a disk.
    """

    client: Client
    prefix: str
    addresses: tuple[str, ...]
    http_url: str
    signs: bool = False
    folder: Path | None = None


class ObjectBlobStore(BlobStore):
    """See BlobStore. At most TRANSFERS files are sent or received at once; further calls wait."""

    def __init__(self, container: Container, in_thread: InThread = asyncio.to_thread) -> None:
        self._container = container
        self._client = container.client
        self._in_thread = in_thread
        self._transfers = asyncio.Semaphore(TRANSFERS)

    @property
    def uri(self) -> str:
        """See BlobStore."""
        return self._container.addresses[0]

    @property
    def addresses(self) -> Sequence[str]:
        """See BlobStore."""
        return self._container.addresses

    async def head(self, path: str) -> BlobInfo:
        """See BlobStore."""
        key = self._key(path)
        asked = obstore.get_async(self._client, key, options={"head": True})
        return _info(path, await self._done(path, key, asked))

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
        """See BlobStore."""
        key = self._key(path)
        async with self._transfers:
            info, parts = await self._opened(path, key, version)
            async with aclosing(parts):
                if max_bytes is not None and info.total_bytes > max_bytes:
                    raise UploadTooLargeError(
                        f"{path} in {self.uri} has {info.total_bytes} bytes, at most {max_bytes} are accepted"
                    )
                if check_room is not None:
                    check_room(info.total_bytes)
                async with PartialFile(target, self._in_thread) as file:
                    async for part in parts:
                        await file.write(part)
                        if progress is not None:
                            progress(file.written_bytes)
                    if file.written_bytes != info.total_bytes:
                        raise blob_changed(self.uri, path)
                    sha256 = await file.finish()
        return Downloaded(info.total_bytes, sha256, info.version)

    async def upload(self, source: Path, path: str, *, sha256: str, content_type: str = OCTETS) -> BlobInfo:
        """See BlobStore."""
        key = self._key(path)
        async with self._transfers:
            await self._require_folder()
            parts = FileParts(source, sha256, self._in_thread)
            try:
                await run_to_completion(self._in_thread(parts.open))
                if (same := await self._same(path, parts.total_bytes, sha256)) is not None:
                    return same
                return await self._sent(path, key, parts, sha256, content_type)
            finally:
                await run_to_completion(self._in_thread(parts.stop))

    async def write(self, path: str, data: bytes, *, content_type: str = OCTETS) -> BlobInfo:
        """See BlobStore."""
        key = self._key(path)
        await self._require_folder()
        return await self._put(path, key, data, sha256_of(data).hexdigest(), content_type)

    async def read(self, path: str, start: int, count: int, version: str = "") -> bytes:
        """See BlobStore."""
        key = self._key(path)
        if count <= 0:
            return b""
        asked = obstore.get_async(self._client, key, options=_options((start, start + count), version))
        found = await self._done(path, key, asked)
        return bytes(await self._done(path, key, found.bytes_async()))

    async def list(self, prefix: str = "") -> list[BlobInfo]:
        """See BlobStore."""
        below = joined(self._container.prefix, check_blob_path(prefix) if prefix else "")
        await self._require_folder()
        found: list[BlobInfo] = []
        pages = aiter(obstore.list(self._client, below or None))
        while (page := await self._done("", below, _next(pages))) is not None:
            found += [self._listed(meta) for meta in page]
        return found

    async def delete(self, path: str) -> None:
        """See BlobStore."""
        key = self._key(path)
        with suppress(BlobNotFoundError):
            await self._done(path, key, obstore.delete_async(self._client, key))

    async def signed_url(self, path: str, expires: timedelta) -> str:
        """See BlobStore."""
        key = self._key(path)
        if not self._container.signs or isinstance(self._client, LocalStore | HTTPStore):
            raise NoSignedLinksError(
                f"{self.uri} cannot make signed links: they need Azure with an account key, or S3; read the "
                "result from this server instead"
            )
        link = await self._done(path, key, obstore.sign_async(self._client, "GET", key, expires))
        if isinstance(self._client, AzureStore) and "%" in urlsplit(link).path:
            # The client signs the encoded name, which Azure does not accept.
            raise NoSignedLinksError(
                f"{self.uri} cannot make a signed link for {path}: its name has characters that are encoded in a URL; "
                "read the result from this server instead"
            )
        return link

    def uri_of(self, path: str) -> str:
        """See BlobStore."""
        return f"{self.uri}/{quoted(check_blob_path(path))}"

    def http_url_of(self, path: str) -> str:
        """See BlobStore."""
        return f"{self._container.http_url}/{quoted(check_blob_path(path))}"

    async def check(self) -> None:
        """See BlobStore."""
        if isinstance(self._client, HTTPStore):
            return
        await self._require_folder()
        pages = aiter(obstore.list(self._client, self._container.prefix or None, chunk_size=1))
        await self._done("", "", _next(pages))

    def _key(self, path: str) -> str:
        return joined(self._container.prefix, check_blob_path(path))

    async def _opened(self, path: str, key: str, version: str) -> tuple[BlobInfo, AsyncGenerator[Readable]]:
        """Returns a blob's size and version, and its bytes, which are all of that version."""
        if isinstance(self._client, HTTPStore):
            # A web server may have neither ranges nor versions; a single response is of one version.
            asked = obstore.get_async(self._client, key, options=_options(None, version))
            found = await self._done(path, key, asked)
            return _info(path, found), self._streamed(found, path, key)
        info = await self.head(path)
        if version and info.version != version:
            raise blob_changed(self.uri, path)

        async def fetch(start: int, end: int) -> Readable:
            return await self._range(path, key, start, end, info.version)

        return info, ranges_in_order(fetch, info.total_bytes)

    async def _range(self, path: str, key: str, start: int, end: int, version: str) -> Readable:
        asked = obstore.get_async(self._client, key, options=_options((start, end), version))
        data = await self._done(path, key, (await self._done(path, key, asked)).bytes_async())
        if len(data) != end - start:
            raise blob_changed(self.uri, path)
        return data

    async def _streamed(self, found: GetResult, path: str, key: str) -> AsyncGenerator[Readable]:
        stream = aiter(found.stream(min_chunk_size=STREAM_BYTES))
        while (part := await self._done(path, key, _next(stream))) is not None:
            yield part

    async def _same(self, path: str, total_bytes: int, sha256: str) -> BlobInfo | None:
        """Returns the blob if it has these bytes already."""
        try:
            info = await self.head(path)
        except BlobNotFoundError:
            return None
        if info.total_bytes != total_bytes:
            return None
        if self._container.folder is not None:
            with disk_errors():
                stored = await self._in_thread(file_sha256, self._container.folder / path)
            return BlobInfo(path, total_bytes, info.version, sha256) if stored == sha256 else None
        return info if info.sha256 == sha256 else None

    async def _sent(self, path: str, key: str, parts: FileParts, sha256: str, content_type: str) -> BlobInfo:
        if parts.total_bytes <= PART_BYTES:
            data = bytearray()
            # The end of the file is where its checksum is checked.
            while piece := await self._in_thread(parts.next_piece):
                data += piece
            return await self._put(path, key, bytes(data), sha256, content_type)
        sending = asyncio.ensure_future(
            obstore.put_async(
                self._client,
                key,
                parts,
                attributes=self._attributes(sha256, content_type),
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_IN_FLIGHT,
            )
        )
        await completed(sending, parts)
        if parts.failure is not None:
            raise parts.failure
        result = await self._done(path, key, sending)
        return await self._stored(path, parts.total_bytes, sha256, result["e_tag"])

    async def _put(self, path: str, key: str, data: bytes, sha256: str, content_type: str) -> BlobInfo:
        asked = obstore.put_async(
            self._client,
            key,
            data,
            attributes=self._attributes(sha256, content_type),
            use_multipart=False,
        )
        result = await self._done(path, key, asked)
        return await self._stored(path, len(data), sha256, result["e_tag"])

    async def _stored(self, path: str, total_bytes: int, sha256: str, version: str | None) -> BlobInfo:
        if self._container.folder is not None:
            await run_to_completion(self._in_thread(_sync_below, self._container.folder, path))
        return BlobInfo(path, total_bytes, version or "", sha256)

    def _attributes(self, sha256: str, content_type: str) -> Attributes | None:
        if self._container.folder is not None:
            return None
        return {"Content-Type": content_type, _SHA256: sha256}

    def _listed(self, meta: ObjectMeta) -> BlobInfo:
        prefix = self._container.prefix
        path = meta["path"][len(prefix) + 1 :] if prefix else meta["path"]
        version = meta["e_tag"] or ""
        # Azure lists its ETags without the quotes that they have in headers.
        return BlobInfo(path, meta["size"], version if not version or '"' in version else f'"{version}"')

    async def _require_folder(self) -> None:
        # Without this a write would create the folder of a disk that is not mounted.
        folder = self._container.folder
        if folder is not None and not await asyncio.to_thread(folder.is_dir):
            raise container_not_found(self.uri)

    async def _done(self, path: str, key: str, asked: Awaitable[T]) -> T:
        """Waits for the client; raises its error as one of ours."""
        try:
            return await asked
        except _CLIENT_ERRORS as error:
            failure = error
        # Not in the except clause, where the client's error, which may have secrets, would become the context of ours.
        raise await self._meaning(failure, path, key)

    async def _meaning(self, failure: Exception, path: str, key: str) -> MismoError:
        mapped = blob_error(failure, self.uri, path, key)
        if not isinstance(mapped, BlobNotFoundError):
            return mapped
        # The response to a HEAD has no body, so it is the same for a missing blob and a missing container.
        try:
            await self.check()
        except BlobContainerNotFoundError as missing:
            return missing
        except MismoError:
            return mapped
        return mapped


def _info(path: str, found: GetResult) -> BlobInfo:
    meta = found.meta
    return BlobInfo(path, meta["size"], meta["e_tag"] or "", found.attributes.get(_SHA256, ""))


async def _next(items: AsyncIterator[T]) -> T | None:
    return await anext(items, None)


def _options(byte_range: tuple[int, int] | None, version: str) -> GetOptions:
    options: GetOptions = {}
    if byte_range is not None:
        options["range"] = byte_range
    if version:
        options["if_match"] = version
    return options


def _sync_below(folder: Path, path: str) -> None:
    """Syncs a file and the folders between it and `folder`, which may be new."""
    with disk_errors():
        file = folder / path
        sync(file)
        parent = file.parent
        while parent != folder.parent:
            sync(parent)
            parent = parent.parent

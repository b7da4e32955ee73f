"""Which blobs a job may name as its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from mismo_grpc.errors import BlobUriForbiddenError, InvalidFieldError
from mismo_grpc.storage.blobs.paths import check_blob_path
from mismo_grpc.storage.blobs.port import BlobStore

FIELD = "source.blob_uri"
NO_CONTAINER = (
    "this server has no blob container; set MISMO_BLOB_CONTAINER, or BLOB_CONTAINER_NAME and "
    "AZURE_STORAGE_CONNECTION_STRING, in its environment (docs/storage.md)"
)
MAX_URI_CHARACTERS = 4096
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class _Address:
    scheme: str
    host: str
    segments: tuple[str, ...]


class BlobSources:
    """The server's container and the further places that jobs may read blobs from."""

    def __init__(self, stores: Sequence[BlobStore]) -> None:
        places = [(_address(uri), store) for store in stores for uri in store.addresses]
        self._places = sorted(places, key=lambda place: -len(place[0].segments))

    def locate(self, uri: str) -> tuple[BlobStore, str]:
        """Returns the store that a URI lies in, and the path of the blob in it.

        A percent-encoded character is decoded once. Raises InvalidFieldError if the URI is malformed,
        BlobUriForbiddenError if it lies in no place that the server may read from; both name `source.blob_uri`.
        """
        address = _address(uri)
        for place, store in self._places:
            count = len(place.segments)
            if (place.scheme, place.host) == (address.scheme, address.host) and (
                place.segments == address.segments[:count]
            ):
                return store, check_blob_path("/".join(address.segments[count:]), FIELD)
        if address.scheme == "file":
            raise BlobUriForbiddenError(
                f"{FIELD} names a file in no container of this server: copy it to the container, or submit its path",
                field=FIELD,
            )
        if not self._places:
            raise BlobUriForbiddenError(f"{FIELD}: {NO_CONTAINER}", field=FIELD)
        raise BlobUriForbiddenError(
            f"{FIELD} is in no container that this server reads from: name a blob of its container, or add the place "
            "to MISMO_BLOB_SOURCES",
            field=FIELD,
        )


def _address(uri: str) -> _Address:
    if len(uri) > MAX_URI_CHARACTERS or not uri.isprintable():
        raise InvalidFieldError(
            f"{FIELD} must be at most {MAX_URI_CHARACTERS} characters, none of them a control character",
            field=FIELD,
        )
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        raise InvalidFieldError(f"{FIELD} is no valid URI", field=FIELD) from None
    if not parts.scheme or "://" not in uri:
        raise InvalidFieldError(f"{FIELD} must be a whole URI, such as az://container/track.mp3", field=FIELD)
    if "@" in parts.netloc:
        raise InvalidFieldError(f"{FIELD} must have no user and password", field=FIELD)
    # A literal ? or # in a name is percent-encoded; the result of urlsplit is the same for an empty query and for none.
    if "?" in uri or "#" in uri:
        raise InvalidFieldError(
            f"{FIELD} must have no query (such as a SAS) and no fragment: the server has credentials of its own; "
            "write ? and # in a name as %3F and %23",
            field=FIELD,
        )
    return _Address(parts.scheme, _host(parts, port), _segments(parts.path))


def _host(parts: SplitResult, port: int | None) -> str:
    host = (parts.hostname or "").removesuffix(".")
    if parts.scheme == "file" and host == "localhost":
        return ""
    if port is None or port == _DEFAULT_PORTS.get(parts.scheme):
        return host
    return f"{host}:{port}"


def _segments(path: str) -> tuple[str, ...]:
    segments: list[str] = []
    for raw in path.removeprefix("/").split("/") if path.strip("/") else []:
        try:
            segment = unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            raise InvalidFieldError(
                f"{FIELD} has percent-encoded bytes that are not UTF-8", field=FIELD
            ) from None
        if "/" in segment:
            raise InvalidFieldError(f"{FIELD} must not have a percent-encoded / in it", field=FIELD)
        segments.append(segment)
    return tuple(segments)

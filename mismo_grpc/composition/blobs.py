"""Opens the blob container and the places that jobs may read blobs from."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.executors import InThread
from mismo_grpc.settings import Settings
from mismo_grpc.storage.blobs.azure_account import parse_connection_string
from mismo_grpc.storage.blobs.containers import ContainerOpener, S3Account
from mismo_grpc.storage.blobs.port import BlobStore
from mismo_grpc.storage.blobs.sources import BlobSources


@dataclass(frozen=True)
class BlobStores:
    """`container` is where results go; None: they stay on the server alone."""

    container: BlobStore | None
    sources: BlobSources


def open_blob_stores(settings: Settings, in_thread: InThread) -> BlobStores:
    """Opens what the settings name; sends nothing, so the containers may be down.

    `in_thread` runs the work on files. Raises InvalidFieldError, naming the setting, if one cannot be used.
    """
    connection_string = settings.azure_storage_connection_string.get_secret_value()
    opener = ContainerOpener(
        azure=parse_connection_string(connection_string) if connection_string else None,
        s3=_s3_account(settings),
        timeout=settings.blob_timeout,
        in_thread=in_thread,
    )
    uri, setting = _container_uri(settings)
    container = opener.open(uri, setting) if uri else None
    sources = [opener.open(source, "MISMO_BLOB_SOURCES") for source in _readable(settings.blob_sources)]
    return BlobStores(container, BlobSources([*([container] if container else []), *sources]))


def _container_uri(settings: Settings) -> tuple[str, str]:
    uri, name = settings.blob_container, settings.blob_container_name
    if uri and name:
        raise InvalidFieldError(
            "MISMO_BLOB_CONTAINER and BLOB_CONTAINER_NAME are both set: remove one of them",
            field="MISMO_BLOB_CONTAINER",
        )
    if uri.startswith(("http://", "https://")):
        raise InvalidFieldError(
            "MISMO_BLOB_CONTAINER must be az://container, s3://bucket or file:///folder: results cannot be stored on "
            "a web server",
            field="MISMO_BLOB_CONTAINER",
        )
    return (f"az://{name}", "BLOB_CONTAINER_NAME") if name else (uri, "MISMO_BLOB_CONTAINER")


def _readable(sources: list[str]) -> list[str]:
    for source in sources:
        if source.startswith("file:"):
            raise InvalidFieldError(
                "MISMO_BLOB_SOURCES: a folder is no blob source; add it to MISMO_ALLOWED_PATH_PREFIXES, and jobs name "
                "its files in source.path",
                field="MISMO_BLOB_SOURCES",
            )
    return sources


def _s3_account(settings: Settings) -> S3Account:
    key_id = settings.s3_access_key_id.get_secret_value()
    key = settings.s3_secret_access_key.get_secret_value()
    if bool(key_id) != bool(key):
        raise InvalidFieldError(
            "MISMO_S3_ACCESS_KEY_ID and MISMO_S3_SECRET_ACCESS_KEY must be set together",
            field="MISMO_S3_SECRET_ACCESS_KEY" if key_id else "MISMO_S3_ACCESS_KEY_ID",
        )
    if settings.s3_endpoint:
        _check_address(settings.s3_endpoint)
    token = settings.s3_session_token.get_secret_value()
    return S3Account(settings.s3_region, settings.s3_endpoint, key_id, key, token)


def _check_address(endpoint: str) -> None:
    try:
        address = urlsplit(endpoint)
        fits = address.scheme in ("http", "https") and bool(address.hostname) and "@" not in address.netloc
    except ValueError:
        fits = False
    if not fits:
        raise InvalidFieldError(
            "MISMO_S3_ENDPOINT must be an address such as https://s3.example.com", field="MISMO_S3_ENDPOINT"
        )

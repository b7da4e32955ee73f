"""Opens containers by their URIs."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, HTTPStore, LocalStore, S3Store

from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.executors import InThread
from mismo_grpc.storage.blobs.azure_account import AzureAccount
from mismo_grpc.storage.blobs.object_store import Container, ObjectBlobStore
from mismo_grpc.storage.blobs.paths import check_blob_path, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from obstore.store import ClientConfig, RetryConfig, S3Credential

CONNECT_SECONDS = 3.0
RETRIES = 3
FIRST_RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 2.0
RETRY_SECONDS = 8.0
"""No request is tried again so long after its first attempt; what a job asks for is tried again by its stage."""
STREAM_SECONDS = 24 * 3600.0

_FORMS = "give az://container/prefix, s3://bucket/prefix or file:///folder (the prefix may be missing)"
_CONTAINER_NAME = re.compile(r"[A-Za-z0-9$][A-Za-z0-9.-]{1,62}")


@dataclass(frozen=True)
class S3Account:
    """The keys for S3. `endpoint` is the service's address, "": that of Amazon in the region.

    Without a key the client looks for credentials of its own: AWS_... in the environment, the role of the machine.
    """

    region: str = "us-east-1"
    endpoint: str = ""
    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True)
class ContainerOpener:
    """Opens containers with the accounts of one server.

    `timeout` is the longest time of one request in seconds, `in_thread` runs the work on files.
    """

    azure: AzureAccount | None = None
    s3: S3Account = S3Account()
    timeout: float = 30.0
    in_thread: InThread = asyncio.to_thread

    def open(self, uri: str, setting: str) -> ObjectBlobStore:
        """Opens the container, and the prefix in it, that a URI names; nothing is sent yet.

        Raises InvalidFieldError, naming the setting that the URI comes from.
        """
        try:
            address = urlsplit(uri)
            host, port_is_fine = address.netloc, address.port is None or address.port > 0
        except ValueError:
            # The text may have a password or a SAS, and a malformed URI cannot be split to remove it.
            raise InvalidFieldError(
                f"{setting}: the URI is malformed: see its host and port; {_FORMS}", field=setting
            ) from None
        if address.query or address.fragment or "@" in host or not port_is_fine:
            raise InvalidFieldError(
                f"{setting}: a URI there has no user, query and fragment; credentials have settings of their own",
                field=setting,
            )
        path = "/".join(unquote(part) for part in address.path.strip("/").split("/"))
        if path:
            check_blob_path(path, setting)
        try:
            match address.scheme:
                case "az" | "s3" if not _CONTAINER_NAME.fullmatch(host):
                    raise _bad(setting, uri)
                case "az":
                    container = self._azure(host, path, setting)
                case "s3":
                    container = self._s3(host, path)
                case "file" if path and host in ("", "localhost"):
                    container = _disk(path)
                case "http" | "https" if address.hostname:
                    container = self._web(uri.rstrip("/"))
                case _:
                    raise _bad(setting, uri)
        except (BaseError, ValueError, OSError):
            container = None
        if container is None:
            # The client's own text may have the credentials.
            raise InvalidFieldError(
                f"{setting}: {uri} cannot be opened with the credentials given", field=setting
            )
        return ObjectBlobStore(container, self.in_thread)

    def _azure(self, name: str, prefix: str, setting: str) -> Container:
        account = self.azure
        if account is None:
            raise InvalidFieldError(
                f"{setting} names a container in Azure: set AZURE_STORAGE_CONNECTION_STRING as well",
                field=setting,
            )
        credentials: dict[str, str] = (
            {"account_key": account.key, "credential_type": "access_key"}
            if account.key
            else {"sas_key": account.sas, "credential_type": "sas_token"}
        )
        client = AzureStore(
            name,
            client_options=self._client_options(account.endpoint),
            retry_config=_retries(),
            account_name=account.name,
            endpoint=account.endpoint,
            skip_signature=False,
            **credentials,  # pyright: ignore[reportArgumentType]  # one of two sets of names
        )
        url = _below(f"{account.endpoint}/{name}", prefix)
        return Container(client, prefix, (_below(f"az://{name}", prefix), url), url, bool(account.key))

    def _s3(self, name: str, prefix: str) -> Container:
        account = self.s3
        endpoint = (account.endpoint or f"https://s3.{account.region}.amazonaws.com").rstrip("/")
        client = S3Store(
            name,
            client_options=self._client_options(endpoint),
            retry_config=_retries(),
            region=account.region,
            endpoint=endpoint,
            virtual_hosted_style_request=False,
            skip_signature=False,
            credential_provider=_keys(account) if account.access_key_id else None,
        )
        url = _below(f"{endpoint}/{name}", prefix)
        addresses = [_below(f"s3://{name}", prefix), url]
        if not account.endpoint:
            addresses.append(_below(f"https://{name}.s3.{account.region}.amazonaws.com", prefix))
        return Container(client, prefix, tuple(addresses), url, signs=True)

    def _web(self, url: str) -> Container:
        options = self._client_options(url)
        # A whole track is one response: it may take long, but must not stall.
        options["timeout"] = timedelta(seconds=STREAM_SECONDS)
        options["read_timeout"] = timedelta(seconds=self.timeout)
        client = HTTPStore(url, client_options=options, retry_config=_retries())
        return Container(client, "", (url,), url)

    def _client_options(self, endpoint: str) -> ClientConfig:
        return {
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, self.timeout)),
            "timeout": timedelta(seconds=self.timeout),
        }


def _keys(account: S3Account) -> Callable[[], S3Credential]:
    # Not as settings of the client: it would complete them with what it finds in the environment, AWS_SESSION_TOKEN
    # for instance, which belongs to other keys.
    def provide() -> S3Credential:
        return {
            "access_key_id": account.access_key_id,
            "secret_access_key": account.secret_access_key,
            "token": account.session_token or None,
            "expires_at": None,
        }

    return provide


def _disk(path: str) -> Container:
    # The client is not rooted in the folder, because it could then not be made before the folder.
    folder = Path("/", path)
    url = f"file:///{quoted(path)}"
    return Container(LocalStore(), path, (url,), url, folder=folder)


def _retries() -> RetryConfig:
    return {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=RETRY_SECONDS),
        "backoff": {
            "init_backoff": timedelta(seconds=FIRST_RETRY_SECONDS),
            "max_backoff": timedelta(seconds=LONGEST_RETRY_SECONDS),
            "base": 2,
        },
    }


def _below(address: str, prefix: str) -> str:
    return f"{address}/{quoted(prefix)}" if prefix else address


def _bad(setting: str, uri: str) -> InvalidFieldError:
    return InvalidFieldError(
        f"{setting}: {uri!r} names no container; {_FORMS}",
        field=setting,
    )

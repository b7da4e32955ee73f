"""Azure's connection strings."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from mismo_grpc.errors import InvalidFieldError

_NAME = "AZURE_STORAGE_CONNECTION_STRING"

DEVELOPMENT_ACCOUNT = "devstoreaccount1"
DEVELOPMENT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The published key of Azure's emulator, no secret."""


@dataclass(frozen=True)
class AzureAccount:
    """An account: the address of its blobs, and its key or a shared access signature (SAS)."""

    name: str
    endpoint: str
    key: str = field(default="", repr=False)
    sas: str = field(default="", repr=False)


def parse_connection_string(text: str) -> AzureAccount:
    """Reads a connection string as the Azure portal shows it. Raises InvalidFieldError, without any of its values."""
    parts: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, value = part.partition("=")
        if not equals:
            raise _bad("each of its parts must be Name=value; copy it from the portal as it is")
        parts[name.strip().lower()] = value.strip()
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        return AzureAccount(
            DEVELOPMENT_ACCOUNT, f"http://127.0.0.1:10000/{DEVELOPMENT_ACCOUNT}", DEVELOPMENT_KEY
        )
    name, key = parts.get("accountname", ""), parts.get("accountkey", "")
    sas = parts.get("sharedaccesssignature", "").removeprefix("?")
    endpoint = parts.get("blobendpoint", "")
    if not endpoint:
        if not name:
            raise _bad("AccountName or BlobEndpoint is missing")
        scheme = parts.get("defaultendpointsprotocol", "https")
        endpoint = f"{scheme}://{name}.blob.{parts.get('endpointsuffix', 'core.windows.net')}"
    host = _host(endpoint)
    if not host:
        raise _bad("BlobEndpoint must be an http or https address")
    name = name or host.partition(".")[0]
    if bool(key) == bool(sas):
        raise _bad("it must have either AccountKey or SharedAccessSignature")
    try:
        base64.b64decode(key, validate=True)
    except ValueError:
        raise _bad("AccountKey is no base64 text; copy it again") from None
    return AzureAccount(name, endpoint.rstrip("/"), key, sas)


def _host(endpoint: str) -> str:
    """The host of an address that has no user and no query, else ""."""
    try:
        address = urlsplit(endpoint)
    except ValueError:
        return ""
    fits = address.scheme in ("http", "https") and "@" not in address.netloc and not address.query
    return (address.hostname or "") if fits else ""


def _bad(problem: str) -> InvalidFieldError:
    return InvalidFieldError(f"{_NAME}: {problem}", field=_NAME)

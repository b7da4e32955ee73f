"""The paths of blobs: which ones are allowed, and their form in URIs."""

from __future__ import annotations

from urllib.parse import quote

from mismo_grpc.errors import InvalidFieldError

MAX_PATH_BYTES = 1024
"""The limit of S3; that of Azure is in characters."""


def check_blob_path(path: str, field: str = "blob path") -> str:
    """Returns the path of a blob. Raises InvalidFieldError, naming `field`, if a container could take it for another.

    Refused are empty segments, `.` and `..`, backslashes, control characters and more than 1024 bytes of UTF-8.
    """
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise InvalidFieldError(f"{field} is no valid Unicode text", field=field) from None
    if size > MAX_PATH_BYTES:
        raise InvalidFieldError(
            f"{field} has {size} bytes, at most {MAX_PATH_BYTES} are allowed", field=field
        )
    if any(segment in ("", ".", "..") for segment in path.split("/")):
        raise InvalidFieldError(
            f"{field} {path!r} must have segments with one / between them, none of them empty, . or ..",
            field=field,
        )
    if "\\" in path or not path.isprintable():
        raise InvalidFieldError(
            f"{field} {path!r} must have no backslash and no control character", field=field
        )
    return path


def quoted(path: str) -> str:
    """Percent-encodes a path for a URI; `/` stays."""
    return quote(path, safe="/-._~")


def joined(*parts: str) -> str:
    """Joins paths and prefixes with `/`, without the empty ones."""
    return "/".join(part for part in parts if part)

"""Converts the errors of the object store client to the server's own, which name container and path but no secret.

The client's texts hold whole requests, signatures included: they are read here, and neither passed on nor chained.
"""

from __future__ import annotations

import errno
import re

from obstore.exceptions import (
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from mismo_grpc.errors import (
    BlobAccessDeniedError,
    BlobChangedError,
    BlobContainerNotFoundError,
    BlobNotFoundError,
    BlobStoreUnavailableError,
    DiskFullError,
    MismoError,
)

_STATUS = re.compile(r"status code: (\d{3})\b")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_OS_ERROR = re.compile(r"\(os error (\d{1,4})\)")
_NO_CONTAINER = frozenset({"ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled", "NoSuchBucket"})
_DENIED = frozenset(
    {
        "AccessDenied",
        "AuthenticationFailed",
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidAuthenticationInfo",
        "InvalidToken",
        "SignatureDoesNotMatch",
    }
)


def blob_error(error: Exception, container: str, path: str, key: str) -> MismoError:
    """Converts an error of obstore.

    `container` is the URI of the store, `path` the blob's path in it ("": the container itself), `key` the name
    that the client was given, which its text repeats.
    """
    text = str(error)
    if key:
        text = text.replace(key, "")
    status = int(found[1]) if (found := _STATUS.search(text)) else 0
    code = found[1] if (found := _CODE.search(text)) else ""
    system = int(found[1]) if (found := _OS_ERROR.search(text)) else 0
    where = f"{path} in {container}" if path else container
    if code in _NO_CONTAINER or (status == 404 and not path):
        return container_not_found(container)
    if isinstance(error, FileNotFoundError) or status == 404:
        return blob_not_found(container, path)
    if isinstance(error, PreconditionError) or status in (412, 416) or "StartTooLarge" in text:
        return blob_changed(container, path)
    if (
        isinstance(error, PermissionDeniedError | UnauthenticatedError)
        or status in (401, 403)
        or code in _DENIED
        or system in (errno.EACCES, errno.EPERM, errno.EROFS)
    ):
        reason = f" ({code})" if code else ""
        return BlobAccessDeniedError(
            f"the server's credentials are refused for {where}{reason}: correct or renew them in the server's "
            "settings, and see that they allow to read, write and list (docs/storage.md)"
        )
    if system in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"the disk of {container} is full: free some space on it, then try again")
    return BlobStoreUnavailableError(
        f"{where} cannot be reached or is busy ({_cause(status, system, text)}): see that the storage service runs and "
        "that the server can reach it, then try again"
    )


def container_not_found(container: str) -> BlobContainerNotFoundError:
    """The error for a container that does not exist."""
    return BlobContainerNotFoundError(
        f"there is no container {container}: create it, or correct the server's settings (docs/storage.md)"
    )


def blob_not_found(container: str, path: str) -> BlobNotFoundError:
    """The error for a blob that does not exist."""
    return BlobNotFoundError(f"there is no blob {path} in {container}: check the name, or upload it first")


def blob_changed(container: str, path: str) -> BlobChangedError:
    """The error for a blob that is not the version that was asked for."""
    return BlobChangedError(
        f"{path} in {container} was replaced while it was being read: start over with its present content"
    )


def _cause(status: int, system: int, text: str) -> str:
    if status:
        return f"HTTP status {status}"
    if system:
        return errno.errorcode.get(system, "system error")
    lowered = text.lower()
    if "credential" in lowered or "token request" in lowered:
        return "no credentials could be had"
    for sign, cause in (
        ("timed out", "timeout"),
        ("timedout", "timeout"),
        ("dns", "its host name is not known"),
        ("certificate", "its certificate is not trusted"),
        ("connect", "no connection"),
    ):
        if sign in lowered:
            return cause
    return "the transfer broke"

"""CRC-32C of every chunk, SHA-256 of all that arrived."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from typing import Protocol, cast

import google_crc32c

from mismo_client.errors import ChecksumError

# The library's own types are known in part only.
crc32c = cast("Callable[[bytes], int]", google_crc32c.value)


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class RunningSha256:
    """SHA-256 of the bytes of each stem, by its index, as they arrive."""

    def __init__(self) -> None:
        self._digests: defaultdict[int, _Digest] = defaultdict(hashlib.sha256)

    def update(self, index: int, data: bytes) -> None:
        """Adds bytes of a stem."""
        self._digests[index].update(data)

    def verify(self, index: int, expected: str, what: str) -> None:
        """Raises ChecksumError, with `what`, unless the stem's bytes so far have this SHA-256 (hex)."""
        received = self._digests[index].hexdigest()
        if received != expected:
            raise ChecksumError(what, expected, received)

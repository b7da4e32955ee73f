"""The files of a finished job, here and in the blob container."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Artifact:
    """A file of a finished job.

    `sha256` is the hash of its content in lower-case hex, "" for an archive, which is built while it is read. Results
    of earlier versions have 0 bytes and "".
    """

    name: str
    total_bytes: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class StoredBlob:
    """A result in the blob container.

    `name` is its name below the job's prefix, `url` its address for HTTP clients, `version` the one that was written.
    """

    name: str
    uri: str
    url: str
    total_bytes: int
    sha256: str
    version: str = ""

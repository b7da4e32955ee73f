"""The stored record of an upload, and the port of the store that holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class UploadRow:
    """An upload; `sha256` is the announced hash ("" if none) until the upload is complete, then its content's hash.

    `touched_at` is in seconds since the epoch; `boot` is the boot id under which the file was last written ("" if
    unknown).
    """

    upload_id: str
    filename: str
    total_bytes: int
    sha256: str
    complete: bool
    touched_at: float
    boot: str = ""


class UploadStore(Protocol):
    """Keeps the rows of uploads; synchronous and thread-safe.

    A writing method returns once its change survives a crash of the process and of the machine; if it raises, it has
    changed nothing. Every method raises StoreError if the store cannot be read or written; writing methods also raise
    DiskFullError.
    """

    def put_upload(self, row: UploadRow) -> None:
        """Stores an upload's row, new or changed."""
        ...

    def get_upload(self, upload_id: str) -> UploadRow | None:
        """An upload's row."""
        ...

    def find_upload_by_sha256(self, sha256: str) -> UploadRow | None:
        """The most recently touched complete upload of this content."""
        ...

    def delete_upload(self, upload_id: str) -> bool:
        """Removes an upload's row; False if there is none."""
        ...

    def stale_uploads(self, before: float) -> list[UploadRow]:
        """The uploads, complete or not, touched before this time, oldest first."""
        ...

    def count_unfinished_uploads(self) -> int:
        """How many uploads are not complete."""
        ...

    def unfinished_uploads(self) -> list[UploadRow]:
        """The uploads that are not complete, longest untouched first."""
        ...

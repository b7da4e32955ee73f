"""What is stored of an upload, and the port to where it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class UploadRow:
    """An upload; `sha256` is the announced one ("" if none) until it is complete, then its content's.

    `touched_at` is in seconds since the epoch, `boot` the machine's boot in which the file was last written ("" if
    that is not known).
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

    A method that writes returns once its change survives a crash of the process and of the machine, or it
    raises and has changed nothing. Every method raises StoreError if the store cannot be read or written, the
    writing ones DiskFullError if there is no room.
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

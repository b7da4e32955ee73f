"""Checks the messages of an upload: pure functions, each raising the error that the client gets."""

from __future__ import annotations

import re

import google_crc32c

from mismo_grpc.errors import (
    EmptyAudioError,
    InvalidFieldError,
    UploadChecksumError,
    UploadGapError,
    UploadIncompleteError,
    UploadNotFoundError,
    UploadTooLargeError,
)
from mismo_grpc.uploads.part_file import SYNC_BYTES
from mismo_grpc.uploads.record import UploadRow

UPLOAD_ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{16,64}")
SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
MAX_FILENAME_CHARS = 1024


def check_header(filename: str, total_bytes: int, sha256: str, max_upload_bytes: int) -> None:
    """Raises InvalidFieldError, EmptyAudioError or UploadTooLargeError; sizes in bytes."""
    if total_bytes < 0:
        raise InvalidFieldError(
            "header.total_bytes must be the size of the file in bytes", field="header.total_bytes"
        )
    if total_bytes == 0:
        raise EmptyAudioError("header.total_bytes: the file is empty", field="header.total_bytes")
    if total_bytes > max_upload_bytes:
        raise UploadTooLargeError(
            f"header.total_bytes: this server takes at most {max_upload_bytes} bytes a file",
            field="header.total_bytes",
            metadata={"max_upload_bytes": str(max_upload_bytes)},
        )
    if sha256 and not SHA256_PATTERN.fullmatch(sha256):
        raise InvalidFieldError("header.sha256 must be 64 lower-case hex digits", field="header.sha256")
    if len(filename) > MAX_FILENAME_CHARS:
        raise InvalidFieldError(
            f"header.filename: at most {MAX_FILENAME_CHARS} characters", field="header.filename"
        )


def check_same_file(row: UploadRow, total_bytes: int, sha256: str) -> None:
    """Raises InvalidFieldError if a header names another file than the one that the upload was begun for."""
    if row.total_bytes != total_bytes:
        raise InvalidFieldError(
            f"header.total_bytes: this upload was begun with {row.total_bytes} bytes; begin a new one for "
            "another file",
            field="header.total_bytes",
        )
    if sha256 and row.sha256 and row.sha256 != sha256:
        raise InvalidFieldError(
            "header.sha256: this upload was begun with another; begin a new one for another file",
            field="header.sha256",
        )


def check_chunk(offset: int, data: bytes, crc32c: int | None, committed: int, total_bytes: int) -> None:
    """Raises InvalidFieldError, UploadGapError, UploadTooLargeError or UploadChecksumError; all in bytes."""
    where = {"committed_bytes": str(committed)}
    if offset < 0:
        raise InvalidFieldError("chunk.offset must not be negative", field="chunk.offset", metadata=where)
    if len(data) > SYNC_BYTES:
        raise InvalidFieldError(
            f"chunk.data: {len(data)} bytes are more than the {SYNC_BYTES} that a chunk may have; send smaller ones",
            field="chunk.data",
            metadata=where,
        )
    if offset > committed:
        raise UploadGapError(
            f"chunk.offset: {offset} leaves a gap; continue at {committed}",
            field="chunk.offset",
            metadata=where,
        )
    if offset + len(data) > total_bytes:
        raise UploadTooLargeError(
            f"chunk.data goes past the {total_bytes} bytes that header.total_bytes announced; begin a new upload with "
            "the right size",
            field="chunk.data",
            metadata=where,
        )
    if crc32c is not None and google_crc32c.value(data) != crc32c:
        raise UploadChecksumError(
            "chunk.crc32c does not match chunk.data; send this chunk again",
            field="chunk.crc32c",
            metadata=where,
        )


def check_all_there(committed: int, total_bytes: int) -> None:
    """Raises UploadIncompleteError if bytes are missing."""
    if committed < total_bytes:
        raise UploadIncompleteError(
            f"{committed} of {total_bytes} bytes were received; continue at {committed}",
            metadata={"committed_bytes": str(committed)},
        )


def source_incomplete(committed: int, total_bytes: int) -> UploadIncompleteError:
    """Builds the error for a job whose upload is not complete."""
    return UploadIncompleteError(
        f"source.upload_id: {committed} of {total_bytes} bytes were received; send the rest and finish it",
        field="source.upload_id",
        metadata={"committed_bytes": str(committed)},
    )


def upload_not_found() -> UploadNotFoundError:
    """Builds the error for an unknown or malformed upload id."""
    return UploadNotFoundError(
        "upload_id: there is no such upload; it may have been removed: begin a new one"
    )

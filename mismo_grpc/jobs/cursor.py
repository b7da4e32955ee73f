"""Cursors of WatchJobs: how far a client has read the changes of all jobs. Clients treat them as opaque text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mismo_grpc.errors import CursorExpiredError, InvalidFieldError

MAX_CURSOR_CHARS = 128
VERSION = 1
_VERSIONED = re.compile(r"([1-9][0-9]{0,3})\.[0-9a-z.]+")
# 18 digits fit into the 64 bits of SQLite's integers.
_FORM = re.compile(r"1\.([0-9a-f]{16})\.(0|[1-9][0-9]{0,17})(?:\.([1-9][0-9]{0,17}))?")


@dataclass(frozen=True)
class Cursor:
    """The client has all changes up to number `position`, and all removals of jobs up to `removals`.

    The two differ while a client that began without a cursor still receives the existing jobs: it does not need the
    removals from before it began. `start_id` names the start of the server that made the cursor.
    """

    start_id: str
    position: int
    removals: int


def encode_cursor(cursor: Cursor) -> str:
    """The text that a client keeps."""
    text = f"{VERSION}.{cursor.start_id}.{cursor.position}"
    return text if cursor.removals <= cursor.position else f"{text}.{cursor.removals}"


def decode_cursor(text: str) -> Cursor:
    """Raises InvalidFieldError for a text that is no cursor, CursorExpiredError for a cursor of another version."""
    form = _FORM.fullmatch(text) if len(text) <= MAX_CURSOR_CHARS else None
    if form is not None and text.isascii():
        position = int(form[2])
        return Cursor(form[1], position, max(position, int(form[3] or 0)))
    versioned = _VERSIONED.fullmatch(text) if len(text) <= MAX_CURSOR_CHARS else None
    if versioned is not None and int(versioned[1]) != VERSION:
        raise expired()
    raise InvalidFieldError(
        "cursor is not one that WatchJobs gave; send one as it came, or leave it empty to begin with all jobs",
        field="cursor",
    )


def expired() -> CursorExpiredError:
    """Builds the error for a cursor from which a watch cannot continue."""
    return CursorExpiredError(
        "the server no longer knows what changed since this cursor, or it is of another job store; watch again "
        "without a cursor, and take the jobs that come before caught_up for all there are",
        field="cursor",
    )

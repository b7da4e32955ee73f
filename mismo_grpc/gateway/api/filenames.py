"""Makes names of uploaded files safe to show and to save under; no path of the server contains them."""

from __future__ import annotations

import re
import unicodedata

MAX_BYTES = 255
"""The longest name that usual file systems take."""
FALLBACK = "track"
_SPACES = re.compile(r"\s+")


def clean_filename(given: str) -> str:
    """The last component of a path, without characters that do not print, at most MAX_BYTES bytes of UTF-8.

    It keeps its extension when it is cut. A name of which nothing is left becomes FALLBACK.
    """
    name = unicodedata.normalize("NFC", given).replace("\\", "/")
    # Also format characters, of which some reverse the text behind them, so that another extension is shown.
    shown = "".join(
        " " if c.isspace() else c for c in name if c.isspace() or unicodedata.category(c)[0] != "C"
    )
    last = _SPACES.sub(" ", shown.rpartition("/")[2]).strip(" .")
    return _cut(last) or FALLBACK


def stem_of(filename: str) -> str:
    """A name without its extension."""
    stem, dot, _ = filename.rpartition(".")
    return stem if dot and stem else filename


def _cut(name: str) -> str:
    if len(name.encode()) <= MAX_BYTES:
        return name
    stem = stem_of(name)
    extension = name[len(stem) :].encode()
    if len(extension) > MAX_BYTES // 4:
        stem, extension = name, b""
    # A character that is cut apart is dropped.
    return (
        stem.encode()[: MAX_BYTES - len(extension)].decode(errors="ignore").rstrip(" .") + extension.decode()
    )

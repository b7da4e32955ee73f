"""The files of the pages, read once from the package; a request only chooses among them."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".woff2": "font/woff2",
}
COMPRESSED_ALREADY = {".png", ".woff2"}
MAX_FILE_BYTES = 4 << 20
"""All files are in memory, so none may be large."""


@dataclass(eq=False)
class Asset:
    """One file: its content, type and hash. Its gzip form is made at the first request for it, once."""

    content: bytes
    content_type: str
    compressible: bool
    sha256: str
    _gzip: bytes | None = None
    _compressing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def gzipped(self) -> bytes | None:
        """The content compressed with gzip; None if that would not be smaller."""
        if not self.compressible:
            return None
        if self._gzip is None:
            async with self._compressing:
                if self._gzip is None:
                    self._gzip = await asyncio.to_thread(gzip.compress, self.content, 9, mtime=0)
        return self._gzip if len(self._gzip) < len(self.content) else None


def read_assets() -> Mapping[str, Asset]:
    """Reads all files of `static/`, by their path in it; blocks. Files of unknown types are left out.

    Raises ValueError for a file of more than MAX_FILE_BYTES.
    """
    found: dict[str, Asset] = {}
    for path, file in _walk(files("mismo_grpc.gateway") / "static", PurePosixPath()):
        content_type = CONTENT_TYPES.get(path.suffix)
        if content_type is None:
            continue
        content = file.read_bytes()
        if len(content) > MAX_FILE_BYTES:
            raise ValueError(f"static/{path} has {len(content)} bytes; at most {MAX_FILE_BYTES} fit")
        digest = hashlib.sha256(content).hexdigest()
        found[str(path)] = Asset(content, content_type, path.suffix not in COMPRESSED_ALREADY, digest)
    return found


def _walk(folder: Traversable, at: PurePosixPath) -> Iterator[tuple[PurePosixPath, Traversable]]:
    for entry in folder.iterdir():
        path = at / entry.name
        if entry.is_dir():
            yield from _walk(entry, path)
        else:
            yield path, entry

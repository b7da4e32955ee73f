"""Finds and checks the source of a job; paths of clients are not trusted until they are checked."""

from __future__ import annotations

import asyncio
import hashlib
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from mismo_grpc.audio.decode import probe
from mismo_grpc.errors import (
    BlobError,
    BlobStoreUnavailableError,
    EmptyAudioError,
    InvalidFieldError,
    MismoError,
    SourceNotFoundError,
    SourcePathForbiddenError,
    UploadTooLargeError,
)
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Source, SourceKind
from mismo_grpc.stages.stems import playhead_error
from mismo_grpc.storage.blobs.sources import BlobSources
from mismo_grpc.uploads.uploads import Uploads

log = structlog.get_logger(__name__)

FIELD = "source.path"
BLOB_FIELD = "source.blob_uri"
HASHED_AT_SUBMIT_BYTES = 256 << 20
"""Larger sources never reuse an earlier result, because hashing them would delay the first audio."""
HASH_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class CheckedSource:
    """A source that can be read.

    `size` in bytes, `mtime_ns` is a file's modification time before it was read, `seconds` the track's length (0: not
    known yet), `sha256` of its content in lower-case hex ("" if it is not known or would take too long).
    """

    size: int = 0
    mtime_ns: int = 0
    seconds: float = 0.0
    sha256: str = ""


class Sources:
    """Finds the sources of jobs: uploads, paths below `roots` if `paths_allowed`, blobs.

    A blob, and an upload, have at most `max_bytes`.
    """

    def __init__(
        self,
        uploads: Uploads,
        blobs: BlobSources,
        *,
        roots: Sequence[Path],
        paths_allowed: bool,
        max_track_seconds: float,
        max_bytes: int,
        bulk: InThread,
        checksum: InThread,
    ) -> None:
        self.blobs = blobs
        self._uploads = uploads
        self._roots = tuple(roots)
        self._paths_allowed = paths_allowed
        self._max_track_seconds = max_track_seconds
        self._max_bytes = max_bytes
        self._bulk = bulk
        self._checksum = checksum

    def resolve(self, source: Source) -> Path:
        """The file of a path source, checked again; blocks. Raises as `resolve_path` does."""
        return resolve_path(source.location, self._roots, allowed=self._paths_allowed)

    async def locate(self, source: Source) -> tuple[Path, str]:
        """The file of an upload or path, and the request field that names it.

        Raises SourcePathForbiddenError, SourceNotFoundError, UploadNotFoundError, UploadIncompleteError.
        """
        if source.kind is SourceKind.UPLOAD:
            return await self._bulk(self._uploads.path_of, source.location), "source.upload_id"
        return await asyncio.to_thread(self.resolve, source), FIELD

    async def check(self, source: Source, playhead: float | None) -> CheckedSource:
        """Checks a source of any kind; `playhead` in seconds.

        A blob container that does not respond now is no error: the job fetches the blob once it responds. Raises the
        error that says what is wrong with the source.
        """
        if source.kind is SourceKind.BLOB:
            return await self._check_blob(source)
        path, field = await self.locate(source)
        found = await asyncio.to_thread(check_audio, path, playhead, self._max_track_seconds, field)
        return replace(found, sha256=await self.digest(source, path, found.size))

    async def _check_blob(self, source: Source) -> CheckedSource:
        store, path = self.blobs.locate(source.location)
        try:
            info = await store.head(path)
        except BlobStoreUnavailableError as error:
            log.warning("a blob cannot be checked now; its job fetches it later", reason=error.message)
            return CheckedSource()
        except BlobError as error:
            error.field = BLOB_FIELD
            raise
        if info.total_bytes == 0:
            raise EmptyAudioError(f"{BLOB_FIELD}: the blob is empty", field=BLOB_FIELD)
        if info.total_bytes > self._max_bytes:
            raise UploadTooLargeError(
                f"{BLOB_FIELD}: the blob has {info.total_bytes} bytes, this server takes at most {self._max_bytes}",
                field=BLOB_FIELD,
            )
        return CheckedSource(info.total_bytes)

    async def digest(self, source: Source, path: Path, size: int) -> str:
        """The SHA-256 of a file of `size` bytes in lower-case hex; "" if computing it would take too long.

        Raises UploadNotFoundError, SourceNotFoundError.
        """
        if source.kind is SourceKind.UPLOAD:
            return (await self._uploads.get(source.location)).sha256
        return await self._checksum(_sha256, path) if size <= HASHED_AT_SUBMIT_BYTES else ""


def resolve_path(location: str, roots: Sequence[Path], *, allowed: bool) -> Path:
    """The real path of a source on this server; blocks.

    Raises SourcePathForbiddenError if paths are not allowed or the path leads out of the roots (also if the file does
    not exist, so that clients cannot find out which files exist), SourceNotFoundError, InvalidFieldError.
    """
    if not allowed or not roots:
        raise SourcePathForbiddenError(
            "source.path: this server takes no file paths; upload the file (UploadAudio), or have "
            "MISMO_ALLOW_FILE_PATHS and MISMO_ALLOWED_PATH_PREFIXES set",
            field=FIELD,
        )
    if "\0" in location or not location.startswith("/"):
        raise InvalidFieldError("source.path must be an absolute path on the server", field=FIELD)
    try:
        real = Path(location).resolve()
    except (OSError, RuntimeError) as error:
        raise SourceNotFoundError("source.path: there is no such file", field=FIELD) from error
    if not any(real.is_relative_to(root.resolve()) for root in roots):
        raise SourcePathForbiddenError(
            "source.path lies outside the folders this server may read (MISMO_ALLOWED_PATH_PREFIXES); "
            "upload the file instead",
            field=FIELD,
        )
    try:
        mode = real.stat().st_mode
    except OSError as error:
        raise SourceNotFoundError("source.path: there is no such file", field=FIELD) from error
    if not stat.S_ISREG(mode):
        raise InvalidFieldError("source.path must be a file, not a directory or device", field=FIELD)
    return real


def check_audio(path: Path, playhead: float | None, max_track_seconds: float, field: str) -> CheckedSource:
    """Detects the format of a file and probes it; blocks.

    Raises AudioError, PlayheadBeyondEndError, InvalidFieldError, SourcePathForbiddenError or SourceNotFoundError.
    """
    try:
        found = path.stat()
        info = probe(path)
    except MismoError as error:
        error.field = error.field or field
        raise
    except PermissionError as error:
        raise SourcePathForbiddenError(f"{field}: the server may not read this file", field=field) from error
    except OSError as error:
        raise SourceNotFoundError(f"{field}: the file cannot be opened", field=field) from error
    seconds = info.duration_seconds
    if seconds is not None and seconds > max_track_seconds:
        raise InvalidFieldError(
            f"{field}: the track is {seconds:.0f} s long, this server takes at most {max_track_seconds:.0f} s",
            field=field,
        )
    if playhead is not None and info.frames is not None and playhead >= info.frames / info.sample_rate:
        raise playhead_error(playhead, info.frames / info.sample_rate)
    return CheckedSource(found.st_size, found.st_mtime_ns, seconds or 0.0)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()

"""Where a job's track comes from: paths from outside are hostile until they are checked."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mismo_grpc.audio.decode import AudioInfo, probe
from mismo_grpc.errors import (
    InvalidFieldError,
    MismoError,
    SourceNotFoundError,
    SourcePathForbiddenError,
)
from mismo_grpc.stages.stems import playhead_error

FIELD = "source.path"


@dataclass(frozen=True)
class CheckedSource:
    """A readable audio file; `size` in bytes, `mtime_ns` of its last change as of before it was read."""

    path: Path
    size: int
    mtime_ns: int
    audio: AudioInfo


def resolve_path(location: str, roots: Sequence[Path], *, allowed: bool) -> Path:
    """The real path of a source on this server; blocks on the disk.

    Raises SourcePathForbiddenError where paths are off or links lead out of the roots (also for what does
    not exist there, so that nobody can feel their way around), SourceNotFoundError, InvalidFieldError.
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
    """Sniffs and probes a file; blocks. Raises AudioError, PlayheadBeyondEndError or InvalidFieldError."""
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
    return CheckedSource(path, found.st_size, found.st_mtime_ns, info)

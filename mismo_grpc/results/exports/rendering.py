"""Makes the files of exports in a run's folder, and finds those that are there. Functions block on the disk.

A file has its name only once it is whole and synced. Its record, beside it, has its size and checksums, so that it is
served, and put into an archive, without being read. The same stems give the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from mismo_grpc.audio.exports.flac_file import flac_bytes_at_most, write_flac
from mismo_grpc.audio.exports.mp3_file import mp3_bytes_at_most, write_mp3
from mismo_grpc.audio.exports.pcm_source import PcmSource
from mismo_grpc.audio.exports.stem_mp4 import stem_mp4_bytes_at_most, write_stem_mp4
from mismo_grpc.errors import ArtifactNotFoundError
from mismo_grpc.jobs.export_options import ExportFormat
from mismo_grpc.results.exports.plan import ExportFile
from mismo_grpc.separation.stems import StemLayout, StemSet
from mismo_grpc.storage.disk import disk_errors, folder_bytes, sync, synced_file
from mismo_grpc.storage.run_files import RunFiles

PART_SUFFIX = ".part"
RECORD_SUFFIX = ".json"
READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Rendered:
    """A file that is whole: `size` in bytes, checksums of its content."""

    size: int
    crc32: int
    sha256: str


def rendered(files: RunFiles, export: ExportFile) -> Rendered | None:
    """What is known of a file of an export; None if it must be made."""
    return _rendered(files.exports / export.file_name)


def _rendered(path: Path) -> Rendered | None:
    try:
        record = Rendered(**json.loads(_record_of(path).read_bytes()))
        status = os.stat(path, follow_symlinks=False)
    except (OSError, ValueError, TypeError):
        return None
    return record if status.st_size == record.size else None


def _record_of(path: Path) -> Path:
    return path.with_name(path.name + RECORD_SUFFIX)


def bytes_at_most(layout: StemLayout, export: ExportFile) -> int:
    """The most that a file takes, in bytes."""
    source = _source(layout, lambda first, count: b"")
    match export.format:
        case ExportFormat.FLAC:
            return flac_bytes_at_most(source)
        case ExportFormat.MP3:
            return mp3_bytes_at_most(source, export.kbps)
        case ExportFormat.STEM_MP4:
            return stem_mp4_bytes_at_most(source)


def render(
    files: RunFiles, layout: StemLayout, export: ExportFile, check: Callable[[], None] = lambda: None
) -> Rendered:
    """Makes a file of an export from the finished stems; calls `check` now and then, which may raise to stop.

    Raises ArtifactNotFoundError if the stems are gone, DiskFullError, InternalError; then nothing is left of it.
    """
    path = files.exports / export.file_name
    part = path.with_name(path.name + PART_SUFFIX)
    try:
        stems = StemSet(files.stems, layout)
    except FileNotFoundError as error:
        raise ArtifactNotFoundError(
            f"{export.name} cannot be made: the stems are gone from the server; submit the track again"
        ) from error
    with contextlib.closing(stems), disk_errors():
        try:
            files.exports.mkdir(exist_ok=True)
            with open_part(part) as file:
                _write(stems, layout, export, file, check)
                file.flush()
                os.fsync(file.fileno())
                record = _measured(file)
            # A record without its file says nothing, so it comes first.
            with synced_file(_record_of(path)) as file:
                file.write(json.dumps(asdict(record)).encode())
            os.replace(part, path)
            sync(files.exports)
            sync(files.folder)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return record


def open_part(path: Path) -> BinaryIO:
    """Opens a file that is not whole yet, empty, to write and to read what was written."""
    return path.open("w+b")


def _write(
    stems: StemSet, layout: StemLayout, export: ExportFile, file: BinaryIO, check: Callable[[], None]
) -> None:
    sources = {
        name: _source(layout, partial(stems.read, index)) for index, name in enumerate(layout.stem_names)
    }
    match export.format:
        case ExportFormat.FLAC:
            write_flac(sources[export.stem], file, check)
        case ExportFormat.MP3:
            write_mp3(sources[export.stem], file, export.kbps, check)
        case ExportFormat.STEM_MP4:
            write_stem_mp4(sources, file, check)


def _source(layout: StemLayout, read: Callable[[int, int], bytes]) -> PcmSource:
    return PcmSource(read, layout.total_frames, layout.sample_rate, layout.channels, layout.encoding)


def _measured(file: BinaryIO) -> Rendered:
    file.seek(0)
    size, crc32, digest = 0, 0, hashlib.sha256()
    while block := file.read(READ_BYTES):
        size += len(block)
        crc32 = zlib.crc32(block, crc32)
        digest.update(block)
    return Rendered(size, crc32, digest.hexdigest())


def link_exports(source: RunFiles, target: RunFiles) -> None:
    """Gives the run `target` the exports of a run with the same stems, those whose content is what it was.

    An export that cannot be linked is made anew when it is needed. Raises nothing.
    """
    with contextlib.suppress(OSError):
        for path in sorted(source.exports.iterdir()):
            record = None if path.name.endswith((PART_SUFFIX, RECORD_SUFFIX)) else _rendered(path)
            if record is not None:
                _link(path, target.exports / path.name, record)


def _link(path: Path, target: Path, record: Rendered) -> None:
    with contextlib.suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, target, follow_symlinks=False)
        with target.open("rb") as file:
            intact = hashlib.file_digest(file, "sha256").hexdigest() == record.sha256
        if not intact:
            target.unlink()
            return
        os.link(_record_of(path), _record_of(target), follow_symlinks=False)
        sync(target.parent)


def remove_parts(files: RunFiles) -> int:
    """Removes what a killed server had not finished; returns the number of files. Raises OSError."""
    try:
        found = [each for each in os.listdir(files.exports) if each.endswith(PART_SUFFIX)]
    except (FileNotFoundError, NotADirectoryError):
        return 0
    for name in found:
        (files.exports / name).unlink(missing_ok=True)
    return len(found)


def export_bytes(files: RunFiles) -> int:
    """The size of all exports of a run: they come after the size of its results is stored."""
    return folder_bytes(files.exports)

"""What a finished job leaves beside its stems: stems.json, waveforms, and stems.zip, which is read from the stems.

`stems.json` keeps size and CRC-32 of every stem, so the archive of an old job is planned without reading one.
Functions block on the disk; call them in a thread. `ArtifactReader` is for the event loop.
"""

from __future__ import annotations

import asyncio
import bisect
import errno
import hashlib
import json
import os
import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from mismo_grpc.errors import ArtifactNotFoundError, DiskFullError, InternalError, InvalidFieldError
from mismo_grpc.jobs.job import Job
from mismo_grpc.jobs.stored_zip import BytesSpan, FileSpan, Span, ZipEntry, ZipPlan
from mismo_grpc.jobs.waveforms import WAVEFORM_PREFIX, WAVEFORM_TYPES, waveform_names
from mismo_grpc.storage.disk import Disk, disk_errors

STEMS_FOLDER = "stems"
STEMS_JSON = "stems.json"
STEMS_ZIP = "stems.zip"
CONTENT_TYPES = {STEMS_JSON: "application/json", STEMS_ZIP: "application/zip"}
BLOCK_BYTES = 1 << 20
COPY_BYTES = 16 << 20
MAX_READ_BYTES = 4 << 20

_NO_COPY_RANGE = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ETXTBSY, errno.EPERM, errno.EBADF}
)


@dataclass(frozen=True)
class StemFile:
    """A finished stem file of `size` bytes; `pcm_sha256` is of its samples alone, the rest of the file."""

    name: str
    file: str
    size: int
    crc32: int
    sha256: str
    pcm_sha256: str


def digest_stem(name: str, path: Path, pcm_offset: int, pcm_bytes: int) -> StemFile:
    """Reads a stem file once for all its checksums; its samples are `pcm_bytes` from byte `pcm_offset` on.

    Raises InternalError if the file is too short for them.
    """
    of_file, of_pcm, crc32, place = hashlib.sha256(), hashlib.sha256(), 0, 0
    pcm_end = pcm_offset + pcm_bytes
    with disk_errors(), path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            of_file.update(block)
            crc32 = zlib.crc32(block, crc32)
            begin, end = max(0, pcm_offset - place), max(0, pcm_end - place)
            of_pcm.update(memoryview(block)[begin:end])
            place += len(block)
    if place < pcm_end:
        raise InternalError(f"the file of stem {name} is shorter than its samples")
    return StemFile(name, path.name, place, crc32, of_file.hexdigest(), of_pcm.hexdigest())


def stems_document(job: Job, stems: Sequence[StemFile], timings: Mapping[str, float]) -> dict[str, object]:
    """The content of stems.json; `timings` are seconds by name. Raises InternalError without a layout."""
    layout = job.layout
    if layout is None:
        raise InternalError("a job has no stems before its track is decoded")
    options = job.options
    return {
        "job_id": job.job_id,
        "model": job.model,
        "fallback_from": job.fallback_from,
        "settings": {
            "stem_names": list(options.stem_names),
            "two_stems": options.two_stems,
            "playhead": options.playhead,
            "shifts": options.shifts,
            "overlap": options.overlap,
        },
        "source": {"sha256": job.source_sha256, "bytes": job.source_bytes},
        "frames": layout.total_frames,
        "sample_rate": layout.sample_rate,
        "channels": layout.channels,
        "encoding": layout.encoding.name,
        "stems": [asdict(stem) for stem in stems],
        "timings": dict(timings),
        "warnings": list(job.warnings),
    }


def write_stems_json(job_folder: Path, document: Mapping[str, object]) -> Path:
    """Writes JOBS_DIR/{job_id}/stems.json: whole or not at all, also through a power cut.

    Raises DiskFullError.
    """
    target = job_folder / STEMS_JSON
    temporary = job_folder / f".{STEMS_JSON}.new"
    with disk_errors():
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(document, file, indent=2, ensure_ascii=False)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return target


def read_stem_files(job_folder: Path) -> list[StemFile]:
    """The stems that stems.json names; raises ArtifactNotFoundError if it is missing or unreadable."""
    try:
        document = cast("dict[str, Any]", json.loads((job_folder / STEMS_JSON).read_bytes()))
        return [StemFile(**stem) for stem in document["stems"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactNotFoundError("the job's stems.json is gone; submit the track again") from error


def plan_stems_zip(job_folder: Path, stems: Sequence[StemFile]) -> ZipPlan:
    """The plan of stems.zip: the stem files, without folders, in the order of the stems."""
    folder = job_folder / STEMS_FOLDER
    return ZipPlan.of([ZipEntry(stem.file, folder / stem.file, stem.size, stem.crc32) for stem in stems])


def write_zip(plan: ZipPlan, target: Path, disk: Disk, reserve: int = 0) -> bool:
    """Puts the archive on the disk for those who look into the folder; False, and no file, without room.

    Nothing depends on that file, as GetArtifact reads from the plan: it is renamed into place when whole, but
    not forced out to the disk. Raises InternalError if a stem file is not as planned.
    """
    temporary = target.with_name(f".{target.name}.new")
    try:
        disk.require(target.parent, plan.total_bytes, reserve)
        with disk_errors():
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                for span in plan.spans:
                    _copy(span, descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, target)
    except DiskFullError:
        temporary.unlink(missing_ok=True)
        return False
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return True


def _copy(span: Span, target: int) -> None:
    if isinstance(span, BytesSpan):
        _write_all(target, span.data)
        return
    source = _open_span(span)
    try:
        left = span.size
        while left:
            # In the kernel, and without a copy at all where the file system shares blocks.
            copied = _copy_range(source, target, min(left, COPY_BYTES))
            if copied == 0:
                raise InternalError(f"{span.path.name} became shorter while it was being archived")
            left -= copied
    finally:
        os.close(source)


def _copy_range(source: int, target: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count)
    except OSError as error:
        if error.errno not in _NO_COPY_RANGE:
            raise
    block = os.read(source, min(count, BLOCK_BYTES))
    _write_all(target, block)
    return len(block)


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _open_span(span: FileSpan) -> int:
    try:
        descriptor = os.open(span.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise ArtifactNotFoundError(f"{span.path.name} is gone; submit the track again") from error
    if os.fstat(descriptor).st_size != span.size:
        os.close(descriptor)
        raise InternalError(f"{span.path.name} has changed since the job ended; submit the track again")
    return descriptor


class ArtifactReader:
    """The bytes of one artifact from any offset; `total_bytes` is its size.

    Holds one file open at a time. Whoever reads keeps the job's files from being removed meanwhile.
    """

    def __init__(self, spans: Sequence[Span], content_type: str) -> None:
        self.content_type = content_type
        self.total_bytes = spans[-1].start + spans[-1].size if spans else 0
        self._spans = spans
        self._starts = [span.start for span in spans]
        # Held in the reading thread, so that a cancelled reader's close waits for its last read.
        self._lock = threading.Lock()
        self._open: tuple[FileSpan, int] | None = None
        self._closed = False

    async def read(self, offset: int, count: int) -> bytes:
        """At most `count` bytes (and 4 MiB) from `offset` on; fewer at the end only, none at the very end.

        Raises InvalidFieldError if the offset lies outside the artifact, ArtifactNotFoundError if a file of
        it is gone, InternalError if one has changed.
        """
        return await asyncio.to_thread(self.read_now, offset, count)

    def read_now(self, offset: int, count: int) -> bytes:
        """`read` for a thread that may block."""
        if not 0 <= offset <= self.total_bytes:
            raise InvalidFieldError(
                f"offset must be 0 to {self.total_bytes}, the size of the artifact in bytes", field="offset"
            )
        end = min(offset + max(0, min(count, MAX_READ_BYTES)), self.total_bytes)
        pieces: list[bytes] = []
        with self._lock:
            if self._closed:
                raise InternalError("an artifact was read after it was closed")
            while offset < end:
                piece = self._read_span(
                    self._spans[bisect.bisect_right(self._starts, offset) - 1], offset, end
                )
                pieces.append(piece)
                offset += len(piece)
        return b"".join(pieces)

    def _read_span(self, span: Span, offset: int, end: int) -> bytes:
        begin, count = offset - span.start, min(end, span.start + span.size) - offset
        if isinstance(span, BytesSpan):
            return span.data[begin : begin + count]
        if self._open is None or self._open[0] != span:
            self._release()
            self._open = (span, _open_span(span))
        piece = os.pread(self._open[1], count, begin)
        if not piece:
            raise InternalError(f"{span.path.name} became shorter while it was being read")
        return piece

    def _release(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def close(self) -> None:
        """Lets go of the files."""
        with self._lock:
            self._closed = True
            self._release()

    async def __aenter__(self) -> ArtifactReader:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(asyncio.to_thread(self.close))


def open_artifact(job_folder: Path, name: str) -> ArtifactReader:
    """A reader of one of a finished job's artifacts by name.

    Raises ArtifactNotFoundError if there is none of that name (a name is never a path) or its files are gone.
    """
    if name == STEMS_ZIP:
        return ArtifactReader(
            plan_stems_zip(job_folder, read_stem_files(job_folder)).spans, CONTENT_TYPES[name]
        )
    if name == STEMS_JSON:
        return _file_reader(
            job_folder / name, CONTENT_TYPES[name], "the job's stems.json is gone; submit the track again"
        )
    if name.startswith(WAVEFORM_PREFIX) and name in waveform_names(
        stem.name for stem in read_stem_files(job_folder)
    ):
        path = job_folder / name
        return _file_reader(
            path,
            WAVEFORM_TYPES[path.suffix],
            f"name: the job has no {name}; its artifacts tell what it has",
            field="name",
        )
    raise ArtifactNotFoundError(
        f"name: there is no artifact {name!r}; there are {STEMS_JSON} and {STEMS_ZIP}, and waveforms of the stems",
        field="name",
    )


def _file_reader(path: Path, content_type: str, gone: str, field: str | None = None) -> ArtifactReader:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ArtifactNotFoundError(gone, field=field) from error
    return ArtifactReader([FileSpan(0, size, path)], content_type)


def open_stem(job_folder: Path, stem: str) -> ArtifactReader:
    """A reader of a finished stem's WAV file; the caller knows that the job has this stem.

    Raises ArtifactNotFoundError if the file is gone.
    """
    path = job_folder / STEMS_FOLDER / f"{stem}.wav"
    return _file_reader(path, "audio/wav", f"{path.name} is gone; submit the track again")

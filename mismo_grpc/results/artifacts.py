"""The artifacts of a finished run: stems.json, the waveforms, and stems.zip, which is made while it is read.

`stems.json` keeps size and CRC-32 of every stem, so the archive is planned without reading one.
Functions block on the disk; call them in a thread. `ArtifactReader` is for the event loop.
"""

from __future__ import annotations

import asyncio
import bisect
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

from mismo_grpc.errors import ArtifactNotFoundError, InternalError, InvalidFieldError
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Artifact, Job
from mismo_grpc.results.documents import ANNOTATION, render_document
from mismo_grpc.results.stored_zip import BlobSpan, BytesSpan, FileSpan, Span, ZipEntry, ZipPlan
from mismo_grpc.results.waveforms import WAVEFORM_PREFIX, WAVEFORM_TYPES, waveform_names
from mismo_grpc.storage.disk import disk_errors, synced_file
from mismo_grpc.storage.run_files import RunFiles

STEMS_JSON = "stems.json"
STEMS_ZIP = "stems.zip"
CONTENT_TYPES = {
    STEMS_JSON: "application/json",
    STEMS_ZIP: "application/zip",
    ANNOTATION: "application/json",
}
SUFFIX_TYPES = {
    **WAVEFORM_TYPES,
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".mp4": "audio/mp4",
    ".zip": "application/zip",
}
BLOCK_BYTES = 1 << 20
MAX_READ_BYTES = 4 << 20


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
    """Computes all checksums of a stem file in one pass; its samples are the `pcm_bytes` bytes after `pcm_offset`.

    Raises InternalError if the file is too short for them.
    """
    of_file, of_pcm, crc32, offset = hashlib.sha256(), hashlib.sha256(), 0, 0
    pcm_end = pcm_offset + pcm_bytes
    with disk_errors(), path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            of_file.update(block)
            crc32 = zlib.crc32(block, crc32)
            begin, end = max(0, pcm_offset - offset), max(0, pcm_end - offset)
            of_pcm.update(memoryview(block)[begin:end])
            offset += len(block)
    if offset < pcm_end:
        raise InternalError(f"the file of stem {name} is shorter than its samples")
    return StemFile(name, path.name, offset, crc32, of_file.hexdigest(), of_pcm.hexdigest())


def stems_document(job: Job, stems: Sequence[StemFile], timings: Mapping[str, float]) -> dict[str, object]:
    """The content of stems.json; `timings` are seconds by name.

    Raises InternalError without a layout.
    """
    layout = job.layout
    if layout is None:
        raise InternalError("a job has no stems before its track is decoded")
    options = job.options.stems
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


def write_stems_json(files: RunFiles, document: Mapping[str, object]) -> None:
    """Writes stems.json and syncs it to the disk; raises DiskFullError or InternalError."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    with disk_errors(), synced_file(files.stems_json) as file:
        file.write(text.encode())


def read_stems_json(files: RunFiles) -> dict[str, Any]:
    """The content of stems.json; raises ArtifactNotFoundError if it is missing or unreadable."""
    try:
        document = json.loads(files.stems_json.read_bytes())
        if isinstance(document, dict):
            return cast("dict[str, Any]", document)
    except (OSError, ValueError) as error:
        raise _gone(STEMS_JSON) from error
    raise _gone(STEMS_JSON)


def read_stem_files(files: RunFiles) -> list[StemFile]:
    """The stems that stems.json names; raises ArtifactNotFoundError if it is missing or unreadable."""
    return stem_files_of(read_stems_json(files))


def stem_files_of(document: Mapping[str, Any]) -> list[StemFile]:
    """The stems that the content of stems.json names; raises ArtifactNotFoundError if it is damaged."""
    try:
        return [StemFile(**stem) for stem in document["stems"]]
    except (KeyError, TypeError) as error:
        raise _gone(STEMS_JSON) from error


def _gone(name: str) -> ArtifactNotFoundError:
    return ArtifactNotFoundError(f"{name} of the job is gone; submit the track again")


def artifacts_of(
    files: RunFiles, stems: Sequence[StemFile], waveforms: Mapping[str, str]
) -> tuple[Artifact, ...]:
    """The artifacts of a run whose files are written; `waveforms` are SHA-256 by name.

    Raises InternalError if one is missing.
    """
    with disk_errors():
        document = files.stems_json.read_bytes()
        return (
            Artifact(STEMS_JSON, len(document), hashlib.sha256(document).hexdigest()),
            Artifact(STEMS_ZIP, _total_bytes(plan_stems_zip(files, stems).spans)),
            *(
                Artifact(name, files.artifact(name).stat().st_size, sha256)
                for name, sha256 in waveforms.items()
            ),
        )


def content_type_of(name: str) -> str:
    """The media type of an artifact, by its name."""
    suffix = f".{name.rpartition('.')[2]}"
    return CONTENT_TYPES.get(name) or SUFFIX_TYPES.get(suffix, "application/octet-stream")


def plan_stems_zip(files: RunFiles, stems: Sequence[StemFile]) -> ZipPlan:
    """The plan of stems.zip: the stem files, without folders, in the order of the stems."""
    return ZipPlan.of([ZipEntry(stem.file, files.stems / stem.file, stem.size, stem.crc32) for stem in stems])


def _total_bytes(spans: Sequence[Span]) -> int:
    return spans[-1].start + spans[-1].size if spans else 0


def is_whole(span: FileSpan) -> bool:
    """Whether the file of a span is there with its size; blocks."""
    try:
        os.close(_open_span(span))
    except (ArtifactNotFoundError, InternalError):
        return False
    return True


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
    """The bytes of one artifact from any offset; `total_bytes` is its size, `sha256` of its content ("" if unknown).

    Has at most one file open at a time. The caller holds the run while it reads.
    """

    def __init__(
        self,
        spans: Sequence[Span],
        content_type: str,
        sha256: str = "",
        in_thread: InThread = asyncio.to_thread,
    ) -> None:
        self._in_thread = in_thread
        self.content_type = content_type
        self.sha256 = sha256
        self.run_id = ""
        """The run that the artifact belongs to."""
        self.total_bytes = _total_bytes(spans)
        self._spans = spans
        self._starts = [span.start for span in spans]
        # The reading thread holds it, so that closing waits for a read whose caller was cancelled.
        self._lock = threading.Lock()
        self._open: tuple[FileSpan, int] | None = None
        self._closed = False

    def is_whole(self) -> bool:
        """Whether all its files are there with their sizes; blocks."""
        return all(is_whole(span) for span in self._spans if isinstance(span, FileSpan))

    async def read(self, offset: int, count: int) -> bytes:
        """At most `count` bytes (and 4 MiB) from `offset` on; fewer at the end only, none at the very end.

        Raises InvalidFieldError if the offset lies outside the artifact, ArtifactNotFoundError if a file of
        it is gone, InternalError if one has changed, BlobError if a part is in the blob container and cannot be read.
        """
        if not any(isinstance(span, BlobSpan) for span in self._spans):
            return await self._in_thread(self.read_now, offset, count)
        self._check(offset)
        end = min(offset + max(0, min(count, MAX_READ_BYTES)), self.total_bytes)
        blocks: list[bytes] = []
        while offset < end:
            span = self._span_at(offset)
            most = min(end, span.start + span.size) - offset
            if isinstance(span, BlobSpan):
                blocks.append(await span.blob.read(offset - span.start, most))
            else:
                blocks.append(await self._in_thread(self.read_now, offset, most))
            offset += len(blocks[-1])
        return b"".join(blocks)

    def read_now(self, offset: int, count: int) -> bytes:
        """The same as `read`, in the calling thread; blocks. For bytes that are not in the blob container."""
        self._check(offset)
        end = min(offset + max(0, min(count, MAX_READ_BYTES)), self.total_bytes)
        blocks: list[bytes] = []
        with self._lock:
            if self._closed:
                raise InternalError("an artifact was read after it was closed")
            while offset < end:
                block = self._read_span(self._span_at(offset), offset, end)
                blocks.append(block)
                offset += len(block)
        return b"".join(blocks)

    def _check(self, offset: int) -> None:
        if not 0 <= offset <= self.total_bytes:
            raise InvalidFieldError(
                f"offset must be 0 to {self.total_bytes}, the size of the artifact in bytes", field="offset"
            )

    def _span_at(self, offset: int) -> Span:
        return self._spans[bisect.bisect_right(self._starts, offset) - 1]

    def _read_span(self, span: Span, offset: int, end: int) -> bytes:
        begin, count = offset - span.start, min(end, span.start + span.size) - offset
        if isinstance(span, BytesSpan):
            return span.data[begin : begin + count]
        if isinstance(span, BlobSpan):
            raise InternalError("a blob was read in a thread")
        if self._open is None or self._open[0] != span:
            self._release()
            self._open = (span, _open_span(span))
        block = os.pread(self._open[1], count, begin)
        if not block:
            raise InternalError(f"{span.path.name} became shorter while it was being read")
        return block

    def _release(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def close(self) -> None:
        """Closes the open file; reads raise InternalError from now on."""
        with self._lock:
            self._closed = True
            self._release()

    async def __aenter__(self) -> ArtifactReader:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for span in self._spans:
            if isinstance(span, BlobSpan):
                span.blob.close()
        await asyncio.shield(self._in_thread(self.close))


def open_artifact(files: RunFiles, name: str, in_thread: InThread = asyncio.to_thread) -> ArtifactReader:
    """Opens an artifact of a finished run by its name; reads run in `in_thread`.

    Raises ArtifactNotFoundError if there is none of that name (a name is never a path) or its files are gone.
    """
    if name == STEMS_ZIP:
        spans = plan_stems_zip(files, read_stem_files(files)).spans
        return ArtifactReader(spans, content_type_of(name), in_thread=in_thread)
    if name == STEMS_JSON:
        return _file_reader(files.stems_json, content_type_of(name), _gone(name), in_thread)
    if name.startswith(WAVEFORM_PREFIX) and name in waveform_names(
        stem.name for stem in read_stem_files(files)
    ):
        missing = ArtifactNotFoundError(f"name: the job has no {name}; see its artifacts", field="name")
        return _file_reader(files.artifact(name), content_type_of(name), missing, in_thread)
    raise ArtifactNotFoundError(
        f"name: there is no artifact {name!r}; see the job's artifacts",
        field="name",
    )


def open_document(job: Job, name: str, in_thread: InThread = asyncio.to_thread) -> ArtifactReader:
    """Opens an artifact that is built from the job's record; raises ArtifactNotFoundError."""
    content = render_document(job, name)
    sha256 = hashlib.sha256(content).hexdigest()
    return ArtifactReader([BytesSpan(0, content)], content_type_of(name), sha256, in_thread)


def open_stem(files: RunFiles, stem: str, in_thread: InThread = asyncio.to_thread) -> ArtifactReader:
    """Opens the WAV file of a finished stem; the caller has checked that the run has this stem.

    Raises ArtifactNotFoundError if the file is gone, InternalError if it is not of the size that stems.json says.
    """
    for each in read_stem_files(files):
        if each.name == stem:
            path = files.stems / each.file
            os.close(_open_span(FileSpan(0, each.size, path)))
            return ArtifactReader([FileSpan(0, each.size, path)], "audio/wav", each.sha256, in_thread)
    raise _gone(f"{stem}.wav")


def _file_reader(
    path: Path, content_type: str, gone: ArtifactNotFoundError, in_thread: InThread
) -> ArtifactReader:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise gone from error
    return ArtifactReader([FileSpan(0, size, path)], content_type, in_thread=in_thread)

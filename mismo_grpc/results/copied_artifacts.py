"""Opens the artifacts of a finished run whose files are gone, in part or all, from the blob container."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from mismo_grpc.audio.peaks import FRAMES_PER_PIXEL, Peaks, Waveform, waveforms_document
from mismo_grpc.errors import ArtifactNotFoundError
from mismo_grpc.executors import InThread
from mismo_grpc.jobs.job import Job
from mismo_grpc.results.artifacts import (
    STEMS_JSON,
    STEMS_ZIP,
    ArtifactReader,
    StemFile,
    content_type_of,
    is_whole,
    plan_stems_zip,
    read_stem_files,
    stem_files_of,
)
from mismo_grpc.results.blob_names import artifact_blob
from mismo_grpc.results.copies import Copies
from mismo_grpc.results.exports.plan import is_export, is_export_zip
from mismo_grpc.results.stored_zip import BlobSpan, BytesSpan, FileSpan, Span
from mismo_grpc.results.waveforms import WAVEFORM_PREFIX
from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.storage.run_files import RunFiles


async def open_copied_artifact(
    copies: Copies, files: RunFiles, job: Job, name: str, in_thread: InThread
) -> ArtifactReader:
    """Opens a written artifact of a job by its name; stems.zip is made of what is on the disk and in the container.

    Raises ArtifactNotFoundError if the job has no such artifact, or if a part of it is in neither place; BlobError.
    """
    if name not in {artifact.name for artifact in job.artifacts}:
        raise ArtifactNotFoundError(
            f"name: job {job.job_id} has no {name[:64]!r}; see its artifacts", field="name"
        )
    if name == STEMS_ZIP:
        stems = await _stems_of(copies, files, job, in_thread)
        spans = plan_stems_zip(files, stems).spans
        return await _reader(copies, job, spans, stems, content_type_of(name), "", in_thread)
    if is_export_zip(name):
        raise ArtifactNotFoundError(
            f"name: {name} of job {job.job_id} is not made of files that are only in the blob container; download its "
            "files one by one",
            field="name",
        )
    if is_export(job, name):
        return await _blob_reader(copies, job, name, in_thread)
    content = await copies.read_artifact(job, name)
    return ArtifactReader([BytesSpan(0, content)], content_type_of(name), in_thread=in_thread)


async def _blob_reader(copies: Copies, job: Job, name: str, in_thread: InThread) -> ArtifactReader:
    """A reader of an artifact that may be too large to be in memory."""
    blob = copies.open(job, artifact_blob(job, name))
    try:
        # Finds a blob that is gone before the client gets the first byte.
        await blob.read_apart(0, 1)
    except BaseException:
        blob.close()
        raise
    span = BlobSpan(0, blob.total_bytes, blob)
    return ArtifactReader([span], content_type_of(name), blob.sha256, in_thread)


async def open_copied_stem(
    copies: Copies, files: RunFiles, job: Job, stem: str, in_thread: InThread
) -> ArtifactReader:
    """Opens the WAV file of a stem. Raises as `open_copied_artifact`."""
    stems = await _stems_of(copies, files, job, in_thread)
    for each in stems:
        if each.name == stem:
            span = FileSpan(0, each.size, files.stems / each.file)
            return await _reader(copies, job, [span], stems, "audio/wav", each.sha256, in_thread)
    raise ArtifactNotFoundError(f"{stem}.wav of job {job.job_id} is gone; submit the track again")


async def _stems_of(copies: Copies, files: RunFiles, job: Job, in_thread: InThread) -> list[StemFile]:
    try:
        return await in_thread(read_stem_files, files)
    except ArtifactNotFoundError:
        try:
            document = json.loads(await copies.read_artifact(job, STEMS_JSON))
        except ValueError as error:
            raise _damaged(job, STEMS_JSON) from error
        if not isinstance(document, dict):
            raise _damaged(job, STEMS_JSON) from None
        return stem_files_of(cast("dict[str, Any]", document))


async def _reader(
    copies: Copies,
    job: Job,
    spans: Sequence[Span],
    stems: Sequence[StemFile],
    content_type: str,
    sha256: str,
    in_thread: InThread,
) -> ArtifactReader:
    """A reader of spans, with blobs in the place of files that are missing or of another size."""
    names = {each.file: each.name for each in stems}
    placed: list[Span] = []
    try:
        for span in spans:
            if not isinstance(span, FileSpan) or await in_thread(is_whole, span):
                placed.append(span)
                continue
            blob = copies.open_stem(job, names[span.path.name])
            placed.append(BlobSpan(span.start, span.size, blob))
            if blob.total_bytes != span.size:
                raise _damaged(job, span.path.name)
            # Finds a blob that is gone before the client gets the first byte.
            await blob.read_apart(0, 1)
    except BaseException:
        for span in placed:
            if isinstance(span, BlobSpan):
                span.blob.close()
        raise
    return ArtifactReader(placed, content_type, sha256, in_thread)


class CopiedPeaks:
    """The peaks of all stems of a job, in memory; a PeakSource."""

    def __init__(self, waveforms: Sequence[Waveform]) -> None:
        self._waveforms = waveforms

    def read(self, track: int, first_pixel: int, pixel_count: int) -> Peaks:
        """The lowest and highest sample of each of these pixels of a stem, [pixels, 2]."""
        return self._waveforms[track].peaks[first_pixel : first_pixel + pixel_count]


async def read_copied_peaks(copies: Copies, job: Job, layout: StemLayout, in_thread: InThread) -> CopiedPeaks:
    """Reads the waveforms of all stems from the container. Raises ArtifactNotFoundError, BlobError."""
    waveforms = await _waveforms_of(copies, job, layout, in_thread)
    pixels = -(-layout.total_frames // FRAMES_PER_PIXEL)
    for waveform in waveforms:
        found = (waveform.sample_rate, waveform.frames_per_pixel, len(waveform.peaks))
        if found != (layout.sample_rate, FRAMES_PER_PIXEL, pixels):
            raise _damaged(job, "a waveform")
    return CopiedPeaks(waveforms)


async def copied_waveforms(copies: Copies, job: Job, in_thread: InThread) -> list[dict[str, object]]:
    """The `waveforms` of a callback, from the container; none if the job has none there. Raises as `Copies.open`."""
    layout = job.layout
    if layout is None or not has_waveforms(copies, job):
        return []
    waveforms = await _waveforms_of(copies, job, layout, in_thread)
    return await in_thread(waveforms_document, dict(zip(layout.stem_names, waveforms, strict=True)))


def has_waveforms(copies: Copies, job: Job) -> bool:
    """Whether the waveforms of all stems of a job were copied."""
    names = job.layout.stem_names if job.layout is not None else ()
    wanted = {artifact_blob(job, f"{WAVEFORM_PREFIX}{name}.dat") for name in names}
    return bool(wanted) and wanted <= copies.of(job).keys()


async def _waveforms_of(copies: Copies, job: Job, layout: StemLayout, in_thread: InThread) -> list[Waveform]:
    found: list[Waveform] = []
    for stem in layout.stem_names:
        content = await copies.read_artifact(job, f"{WAVEFORM_PREFIX}{stem}.dat")
        try:
            found.append(await in_thread(Waveform.from_dat, content))
        except ValueError as error:
            raise _damaged(job, f"the waveform of {stem}") from error
    return found


def _damaged(job: Job, what: str) -> ArtifactNotFoundError:
    return ArtifactNotFoundError(f"{what} of job {job.job_id} is damaged; submit the track again")

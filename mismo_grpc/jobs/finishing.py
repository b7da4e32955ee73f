"""What is written when the last segment is done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mismo_grpc.jobs.artifacts import (
    STEMS_FOLDER,
    STEMS_JSON,
    STEMS_ZIP,
    digest_stem,
    plan_stems_zip,
    stems_document,
    write_stems_json,
    write_zip,
)
from mismo_grpc.jobs.job import Job, Stage
from mismo_grpc.jobs.waveforms import write_waveforms
from mismo_grpc.separation.stems import StemSet
from mismo_grpc.storage.disk import Disk


@dataclass(frozen=True)
class Results:
    """Names of a job's artifacts and the checksum of each stem's samples."""

    names: tuple[str, ...]
    stem_sha256: tuple[str, ...]


def write_results(
    folder: Path, job: Job, stems: StemSet, disk: Disk, disk_reserve: int, ended_at: float
) -> Results:
    """Checksums, stems.json and, if there is room, waveforms and stems.zip; blocks on the disk.

    `ended_at` is in seconds since the epoch. Raises DiskFullError or InternalError.
    """
    layout = stems.layout
    files = [
        digest_stem(name, folder / STEMS_FOLDER / f"{name}.wav", stems.header_bytes, layout.stem_bytes)
        for name in layout.stem_names
    ]
    timings = {"total": ended_at - job.created_at}
    if job.time_to_first_audio is not None:
        timings["time_to_first_audio"] = job.time_to_first_audio
    for stage in (Stage.DECODE, Stage.STEMS):
        status = job.stage(stage)
        if status.started_at is not None:
            timings[stage.name.lower()] = (status.ended_at or ended_at) - status.started_at
    document = stems_document(replace(job, layout=layout), files, timings)
    waveforms = write_waveforms(folder, stems, disk, disk_reserve)
    write_stems_json(folder, document)
    write_zip(plan_stems_zip(folder, files), folder / STEMS_ZIP, disk, disk_reserve)
    return Results((STEMS_JSON, STEMS_ZIP, *waveforms), tuple(file.pcm_sha256 for file in files))

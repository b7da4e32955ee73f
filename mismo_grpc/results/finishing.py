"""Writes the results when the last segment is done; all is on the disk before the stems are recorded as done."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mismo_grpc.jobs.job import Artifact, Job, Stage
from mismo_grpc.jobs.stage_data import STEM_STAGES
from mismo_grpc.results.artifacts import (
    STEMS_ZIP,
    artifacts_of,
    digest_stem,
    stems_document,
    write_stems_json,
)
from mismo_grpc.results.runs import Runs
from mismo_grpc.separation.stems import StemSet
from mismo_grpc.storage.disk import disk_errors


@dataclass(frozen=True)
class StemResults:
    """The artifacts, the checksum of each stem's samples, and the size of all files in bytes."""

    artifacts: tuple[Artifact, ...]
    stem_sha256: tuple[str, ...]
    bytes: int


def write_stem_results(runs: Runs, job: Job, stems: StemSet, ended_at: float) -> StemResults:
    """Computes the checksums and writes stems.json; blocks until all is on the disk.

    `ended_at` is in seconds since the epoch. Raises DiskFullError or InternalError.
    """
    layout, files = stems.layout, runs.files(job.run_id)
    with disk_errors():
        stems.sync()
    digests = [
        digest_stem(name, files.stem(name), stems.header_bytes, layout.stem_bytes)
        for name in layout.stem_names
    ]
    timings = {"total": ended_at - job.created_at}
    if job.time_to_first_audio is not None:
        timings["time_to_first_audio"] = job.time_to_first_audio
    if job.time_to_playhead_audio is not None:
        timings["time_to_playhead_audio"] = job.time_to_playhead_audio
    for status in job.stages:
        if status.stage in (Stage.DECODE, *STEM_STAGES) and status.started_at is not None:
            timings[status.stage.name.lower()] = (status.ended_at or ended_at) - status.started_at
    write_stems_json(files, stems_document(replace(job, layout=layout), digests, timings))
    with disk_errors():
        runs.sync_names(job.run_id)
    artifacts = artifacts_of(files, digests, {})
    # The archive is made of the stems while it is read.
    small = sum(each.total_bytes for each in artifacts if each.name != STEMS_ZIP)
    return StemResults(
        artifacts, tuple(each.pcm_sha256 for each in digests), small + sum(each.size for each in digests)
    )

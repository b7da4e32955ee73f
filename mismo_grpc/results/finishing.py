"""What is written when the last segment is done: all of it is on the disk before the stems are recorded as done."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from mismo_grpc.jobs.job import Job, Stage
from mismo_grpc.results.artifacts import STEMS_JSON, STEMS_ZIP, digest_stem, stems_document, write_stems_json
from mismo_grpc.results.runs import Runs
from mismo_grpc.separation.stems import StemSet
from mismo_grpc.storage.disk import disk_errors


@dataclass(frozen=True)
class StemResults:
    """The SHA-256 of each artifact by its name, that of each stem's samples, and the bytes of all files."""

    files: Mapping[str, str]
    stem_sha256: tuple[str, ...]
    bytes: int


def write_stem_results(runs: Runs, job: Job, stems: StemSet, ended_at: float) -> StemResults:
    """Takes the checksums and writes stems.json; blocks until all is on the disk.

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
    for stage in (Stage.DECODE, Stage.STEMS):
        status = job.stage(stage)
        if status.started_at is not None:
            timings[stage.name.lower()] = (status.ended_at or ended_at) - status.started_at
    write_stems_json(files, stems_document(replace(job, layout=layout), digests, timings))
    with disk_errors():
        runs.sync_names(job.run_id)
        document = files.stems_json.read_bytes()
    return StemResults(
        {STEMS_JSON: hashlib.sha256(document).hexdigest(), STEMS_ZIP: ""},
        tuple(each.pcm_sha256 for each in digests),
        len(document) + sum(each.size for each in digests),
    )

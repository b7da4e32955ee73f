"""The formats of downloaded stems, and the artifact of each."""

from __future__ import annotations

from mismo_grpc.jobs.export_options import ExportFormat
from mismo_grpc.jobs.job import Job
from mismo_grpc.results.artifacts import STEMS_ZIP
from mismo_grpc.results.exports.plan import ZIPS

WAV = "wav"
EXPORTS = {"mp3": ExportFormat.MP3, "flac": ExportFormat.FLAC}
ARCHIVES = {WAV: STEMS_ZIP, **{name: ZIPS[export] for name, export in EXPORTS.items()}}
"""The archive of all stems in each format."""


def format_of(job: Job) -> str:
    """The format that the job was asked for."""
    asked = job.options.export.formats if job.options.export is not None else ()
    return next((name for name, export in EXPORTS.items() if export in asked), WAV)

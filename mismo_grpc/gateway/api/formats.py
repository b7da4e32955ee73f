"""The formats of downloaded stems, and the artifact of each."""

from __future__ import annotations

from mismo_grpc.jobs.job import Job
from mismo_grpc.results.artifacts import STEMS_ZIP

ARCHIVES = {"wav": STEMS_ZIP}
"""The archive of all stems in each format."""


def format_of(job: Job) -> str:
    """The format that the job was asked for."""
    return "wav"

"""The names of a job's results in the blob container."""

from __future__ import annotations

from mismo_grpc.jobs.job import Job, Stage


def prefix_of(job: Job) -> str:
    """The folders in the container that get the results of a job."""
    return job.options.blob_prefix or job.job_id


def stems_folder(job: Job) -> str:
    """The folder of stems, their waveforms and stems.json, below the prefix."""
    return f"generated/{job.job_id}" if job.has(Stage.GENERATION) else "stems"


def stem_blob(job: Job, stem: str) -> str:
    """The name of a stem, below the prefix."""
    return f"{stems_folder(job)}/{stem}.wav"


def artifact_blob(job: Job, artifact: str) -> str:
    """The name of stems.json or of a waveform, below the prefix."""
    return f"{stems_folder(job)}/{artifact}"


def document_blob(document: str) -> str:
    """The name of a document with the results of analyses, below the prefix."""
    return f"analysis/{document}"

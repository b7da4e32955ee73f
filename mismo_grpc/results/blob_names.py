"""The names of a job's results in the blob container."""

from __future__ import annotations

from mismo_grpc.jobs.job import Job, Stage
from mismo_grpc.results.exports.plan import is_export


def prefix_of(job: Job) -> str:
    """The folders in the container that get the results of a job."""
    return job.options.blob_prefix or job.job_id


def stem_blob(job: Job, stem: str) -> str:
    """The name of a stem, below the prefix; its folder has nothing but stems."""
    folder = f"generated/{job.job_id}" if job.has(Stage.GENERATION) else "stems"
    return f"{folder}/{stem}.wav"


def artifact_blob(job: Job, artifact: str) -> str:
    """The name of any other artifact, below the prefix."""
    if is_export(job, artifact):
        return (
            f"exports/generated/{job.job_id}/{artifact}"
            if job.has(Stage.GENERATION)
            else f"exports/{artifact}"
        )
    folder = f"analysis/generated/{job.job_id}" if job.has(Stage.GENERATION) else "analysis"
    return f"{folder}/{artifact}"

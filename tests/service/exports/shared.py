"""Jobs with exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mismo.analysis.v1 import job_pb2, stage_pb2
from tests.service.conftest import Server
from tests.support.tracks import write_track

STEMS = ("drums", "bass", "other", "vocals")
flac = stage_pb2.EXPORT_FORMAT_FLAC
mp3 = stage_pb2.EXPORT_FORMAT_MP3
stem_mp4 = stage_pb2.EXPORT_FORMAT_STEM_MP4


def wanted(*formats: stage_pb2.ExportFormat, **fields: Any) -> job_pb2.JobOptions:
    """Options of a job with stems and exports."""
    export = stage_pb2.ExportOptions(formats=formats, **fields)
    return job_pb2.JobOptions(stages=[stage_pb2.STAGE_STEMS, stage_pb2.STAGE_EXPORT], export=export)


async def finished(server: Server, music: Path, job_id: str, seconds: float = 2.0, **fields: Any) -> None:
    """A job whose stems are finished."""
    track = write_track(music / f"{job_id}.wav", seconds, seed=sum(job_id.encode()))
    await server.client.submit(track, job_id=job_id, **fields)
    await server.client.succeeded(job_id)
    await server.idle()


def exported(server: Server, job_id: str) -> list[str]:
    """The files in a job's folder of exports."""
    folder = server.folder(job_id) / "exports"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

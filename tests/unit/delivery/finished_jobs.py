"""Jobs that have ended, with stem files as real as a callback needs them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.audio.wav import wav_header
from mismo_grpc.jobs.job import (
    Delivery,
    DeliveryMode,
    Job,
    JobOptions,
    JobState,
    Priority,
    Source,
    SourceKind,
    Stage,
    StageState,
    StageStatus,
)
from mismo_grpc.results.runs import Runs
from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.storage.run_files import RunFiles

FOUR = ("drums", "bass", "other", "vocals")


def a_job(
    job_id: str = "track",
    url: str = "",
    mode: DeliveryMode = DeliveryMode.CALLBACK,
    stem_names: tuple[str, ...] = FOUR,
    **changes: object,
) -> Job:
    job = Job(
        job_id=job_id,
        run_id=f"{job_id}-1",
        revision=1,
        state=JobState.SUCCEEDED,
        priority=Priority.NORMAL,
        source=Source(SourceKind.PATH, "/music/a.wav"),
        options=JobOptions(),
        labels={},
        model="htdemucs",
        created_at=1000.0,
        started_at=1001.0,
        ended_at=1046.3,
        layout=StemLayout(stem_names, 44_100, 2, 1000, Encoding.PCM_S16LE),
        delivery=Delivery(url, mode),
    )
    job = replace(job, **changes)
    succeeded = job.state is JobState.SUCCEEDED
    state = StageState.SUCCEEDED if succeeded else StageState[job.state.name]
    stages = (
        StageStatus(stage, state, 1001.0, job.ended_at, job.error) for stage in (Stage.DECODE, Stage.STEMS)
    )
    return job if "stages" in changes else replace(job, stages=tuple(stages))


def write_stems(jobs_dir: Path, job: Job, frames: int = 1000) -> dict[str, bytes]:
    """Writes a job's WAV files, each of other noise and one byte longer than the one before."""
    folder = Runs(jobs_dir).files(job.run_id).stems
    folder.mkdir(parents=True)
    assert job.layout is not None
    files: dict[str, bytes] = {}
    for extra, name in enumerate(job.layout.stem_names):
        header = wav_header(Encoding.PCM_S16LE, frames, 44_100, 2)
        files[name] = header + os.urandom(frames * 4 + extra)
        (folder / f"{name}.wav").write_bytes(files[name])
    return files


def waveforms(files: RunFiles, stem_names: Sequence[str]) -> list[dict[str, object]]:
    return [{"zoom_level": 1, "stem_type": name, "data": [0.5, 0.25]} for name in stem_names]

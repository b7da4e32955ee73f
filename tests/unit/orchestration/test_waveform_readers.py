"""Which waveform a reader gets: between the last segment and the end of the job, and of jobs without one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.audio.peaks import Waveform
from mismo_grpc.errors import ArtifactNotFoundError, JobNotReadyError
from mismo_grpc.jobs.event_log import JobEventLog
from mismo_grpc.jobs.job import (
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
from mismo_grpc.jobs.repository import ActiveJob
from mismo_grpc.orchestration import waveform_readers
from mismo_grpc.orchestration.waveform_readers import open_waveform
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.storage.run_files import RunFiles
from mismo_grpc.streaming.file_cache import StemFileCache

LAYOUT = StemLayout(("drums",), 8_000, 2, 512, Encoding.PCM_S16LE)
STAGES = (
    StageStatus(Stage.DECODE, StageState.SUCCEEDED),
    StageStatus(Stage.STEMS, StageState.RUNNING),
    StageStatus(Stage.WAVEFORMS),
)
PEAKS = np.array([[-3, 4], [-5, 6]], np.int16)


@pytest.fixture
def active() -> ActiveJob:
    """A job whose last segment is done and told; its stem files are closed."""
    job = Job(
        "track",
        "run",
        1,
        JobState.RUNNING,
        Priority.NORMAL,
        Source(SourceKind.PATH, "/music/track.wav"),
        JobOptions(),
        {},
        "mismo_lite",
        0.0,
        layout=LAYOUT,
        stages=STAGES,
    )
    return ActiveJob(job, JobEventLog(1), ready=RangeSet([(0, 512)]))


def store_waveform(folder: Path) -> None:
    (folder / "waveform-drums.dat").write_bytes(Waveform(8_000, 256, PEAKS).to_dat())


async def read(folder: Path, active: ActiveJob, *, wait: bool = False) -> list[list[int]]:
    opening = open_waveform(
        StemFileCache(), RunFiles(folder), active.job, active, asyncio.to_thread, wait=wait
    )
    async with opening as waveform:
        assert (waveform.job_id, waveform.run_id) == ("track", "run")
        assert list(waveform.ready()) == [(0, 512)]
        return waveform.peaks.read(0, 0, 2).tolist()


def end_stage(active: ActiveJob, stage: Stage) -> None:
    active.job = active.job.with_stage(StageStatus(stage, StageState.SUCCEEDED))
    active.stems_changed.notify()


@pytest.mark.parametrize("wait", [True, False])
async def test_whole_stems_whose_waveforms_are_being_written_are_waited_for(
    tmp_path: Path, active: ActiveJob, wait: bool
) -> None:
    reading = asyncio.ensure_future(read(tmp_path, active, wait=wait))
    await asyncio.sleep(0)
    end_stage(active, Stage.STEMS)
    await asyncio.sleep(0)
    store_waveform(tmp_path)
    # Other stages of the job go on.
    end_stage(active, Stage.WAVEFORMS)
    assert await reading == PEAKS.tolist()


async def test_who_asks_for_what_there_is_waits_for_a_moment_only(
    tmp_path: Path, active: ActiveJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waveform_readers, "WRITING_SECONDS", 0.0)
    with pytest.raises(JobNotReadyError, match="ask again later"):
        await read(tmp_path, active)


async def test_stems_that_are_not_begun_are_not_ready(tmp_path: Path, active: ActiveJob) -> None:
    active.ready = RangeSet([(0, 256)])
    with pytest.raises(JobNotReadyError, match="not decoded yet"):
        await read(tmp_path, active)


@pytest.mark.parametrize("state", [JobState.CANCELLED, JobState.SUCCEEDED])
async def test_a_job_that_ends_meanwhile(tmp_path: Path, active: ActiveJob, state: JobState) -> None:
    reading = asyncio.ensure_future(read(tmp_path, active, wait=True))
    await asyncio.sleep(0)
    store_waveform(tmp_path)
    active.job = replace(active.job, state=state)
    active.stems_changed.notify()
    if state is JobState.SUCCEEDED:
        assert await reading == PEAKS.tolist()
    else:
        with pytest.raises(JobNotReadyError, match="was cancelled"):
            await reading


async def test_a_job_without_stems_has_no_waveform(tmp_path: Path, active: ActiveJob) -> None:
    job = replace(active.job, state=JobState.SUCCEEDED, layout=None, stages=STAGES[:1])
    with pytest.raises(ArtifactNotFoundError, match="no waveforms"):
        async with open_waveform(
            StemFileCache(), RunFiles(tmp_path), job, None, asyncio.to_thread, wait=False
        ):
            pass


async def test_a_reader_that_leaves_while_files_are_opened_leaves_none_open(
    tmp_path: Path, active: ActiveJob
) -> None:
    store_waveform(tmp_path)
    end_stage(active, Stage.WAVEFORMS)
    before = sorted(Path("/proc/self/fd").iterdir())
    reading = asyncio.ensure_future(read(tmp_path, active))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert sorted(Path("/proc/self/fd").iterdir()) == before

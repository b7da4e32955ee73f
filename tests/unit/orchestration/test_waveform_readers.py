"""Which waveform a reader gets: between the last segment and the end of the job, and of jobs without one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.audio.peaks import Waveform
from mismo_grpc.errors import ArtifactNotFoundError, JobNotReadyError, RunReplacedError
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
from mismo_grpc.orchestration.waveform_readers import WaveformReaders
from mismo_grpc.results.copies import Copies
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.stems import StemLayout
from mismo_grpc.streaming.file_cache import StemFileCache
from tests.unit.orchestration.place import Place

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


def store_waveform(place: Place) -> None:
    path = place.runs.files("run").artifact("waveform-drums.dat")
    path.parent.mkdir()
    path.write_bytes(Waveform(8_000, 256, PEAKS).to_dat())


def readers(place: Place) -> WaveformReaders:
    return WaveformReaders(place.repository, place.runs, StemFileCache(), Copies(None), asyncio.to_thread)


async def read(place: Place, active: ActiveJob, *, wait: bool = False) -> list[list[int]]:
    place.repository.active["track"] = active
    async with readers(place).open(active.job, wait=wait) as waveform:
        assert place.runs.held_runs == {"run"}
        assert (waveform.job_id, waveform.run_id) == ("track", "run")
        assert list(waveform.ready()) == [(0, 512)]
        return waveform.peaks.read(0, 0, 2).tolist()


def end_stage(active: ActiveJob, stage: Stage) -> None:
    active.job = active.job.with_stage(StageStatus(stage, StageState.SUCCEEDED))
    active.stems_changed.notify()


@pytest.mark.parametrize("wait", [True, False])
async def test_whole_stems_whose_waveforms_are_being_written_are_waited_for(
    place: Place, active: ActiveJob, wait: bool
) -> None:
    reading = asyncio.ensure_future(read(place, active, wait=wait))
    await asyncio.sleep(0)
    end_stage(active, Stage.STEMS)
    await asyncio.sleep(0)
    store_waveform(place)
    # Other stages of the job go on.
    end_stage(active, Stage.WAVEFORMS)
    assert await reading == PEAKS.tolist()


async def test_who_asks_for_what_there_is_waits_for_a_moment_only(
    place: Place, active: ActiveJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waveform_readers, "WRITING_SECONDS", 0.0)
    with pytest.raises(JobNotReadyError, match="ask again later"):
        await read(place, active)


async def test_stems_that_are_not_begun_are_not_ready(place: Place, active: ActiveJob) -> None:
    active.ready = RangeSet([(0, 256)])
    with pytest.raises(JobNotReadyError, match="not decoded yet"):
        await read(place, active)


@pytest.mark.parametrize("state", [JobState.CANCELLED, JobState.SUCCEEDED])
async def test_a_job_that_ends_meanwhile(place: Place, active: ActiveJob, state: JobState) -> None:
    reading = asyncio.ensure_future(read(place, active, wait=True))
    await asyncio.sleep(0)
    store_waveform(place)
    active.job = replace(active.job, state=state)
    active.stems_changed.notify()
    if state is JobState.SUCCEEDED:
        assert await reading == PEAKS.tolist()
    else:
        with pytest.raises(JobNotReadyError, match="was cancelled"):
            await reading


async def test_another_run_than_the_expected_one_is_refused(place: Place, active: ActiveJob) -> None:
    with pytest.raises(RunReplacedError, match="its run is run, not other"):
        async with readers(place).open(active.job, "other"):
            pass


async def test_a_job_without_stems_has_no_waveform(place: Place, active: ActiveJob) -> None:
    job = replace(active.job, state=JobState.SUCCEEDED, layout=None, stages=STAGES[:1])
    with pytest.raises(ArtifactNotFoundError, match=r"no waveforms.*with STAGE_STEMS"):
        async with readers(place).open(job):
            pass
    assert place.runs.held_runs == frozenset()


async def test_a_job_that_makes_no_stems_is_not_waited_for(place: Place, active: ActiveJob) -> None:
    active.job = replace(active.job, layout=None, stages=STAGES[:1])
    for wait in (True, False):
        with pytest.raises(ArtifactNotFoundError, match="no waveforms"):
            await read(place, active, wait=wait)


@pytest.mark.parametrize("state", [StageState.FAILED, StageState.SKIPPED])
async def test_stems_that_failed_beside_other_results(
    place: Place, active: ActiveJob, state: StageState
) -> None:
    active.job = active.job.with_stage(StageStatus(Stage.STEMS, state))
    reading = asyncio.ensure_future(read(place, active, wait=True))
    await asyncio.sleep(0)
    active.job = active.job.with_stage(StageStatus(Stage.WAVEFORMS, StageState.SKIPPED))
    active.stems_changed.notify()
    with pytest.raises(JobNotReadyError):
        await reading


async def test_a_reader_that_leaves_while_files_are_opened_leaves_none_open(
    place: Place, active: ActiveJob
) -> None:
    store_waveform(place)
    end_stage(active, Stage.WAVEFORMS)
    before = sorted(Path("/proc/self/fd").iterdir())
    reading = asyncio.ensure_future(read(place, active))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert sorted(Path("/proc/self/fd").iterdir()) == before

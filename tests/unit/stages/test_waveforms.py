"""The waveforms as a stage: whole files beside the stems or none, and a full disk costs the job nothing else."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import numpy as np
import pytest

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.audio.peaks import Waveform
from mismo_grpc.errors import DiskFullError, InternalError
from mismo_grpc.jobs.job import JobState, Stage, StageState
from mismo_grpc.jobs.repository import ActiveJob
from mismo_grpc.orchestration.runner import JobRunner
from mismo_grpc.separation.ranges import RangeSet
from mismo_grpc.separation.stems import StemLayout, StemSet
from mismo_grpc.stages.waveforms import WaveformsStage
from mismo_grpc.storage.disk import Disk, FileSystemDisk, QuotaDisk
from tests.unit.stages.workbench import Workbench

DECODE, STEMS, WAVEFORMS = Stage.DECODE, Stage.STEMS, Stage.WAVEFORMS
LAYOUT = StemLayout(("drums", "bass"), 48_000, 2, 10_000, Encoding.PCM_S16LE)
FILES = ["waveform-drums.dat", "waveform-drums.json", "waveform-bass.dat", "waveform-bass.json"]


async def separated(bench: Workbench) -> ActiveJob:
    """A job whose stems of noise are done; this process separated them."""
    files = bench.files
    files.work.mkdir(parents=True)
    stems = StemSet(files.stems, LAYOUT, files.peaks)
    stems.resume(RangeSet())
    stems.write(0, np.random.default_rng(1).uniform(-1, 1, (2, 10_000, 2)).astype(np.float32))
    stems.close()
    active = await bench.job(STEMS, succeeded=(DECODE, STEMS))
    active.job = replace(active.job, layout=LAYOUT)
    bench.memory.separated = True
    return active


def stage_of(bench: Workbench, disk: Disk | None = None, reserve: int = 0) -> WaveformsStage:
    return WaveformsStage(
        bench.runs, disk=disk or FileSystemDisk(), disk_reserve=reserve, bulk=asyncio.to_thread
    )


def waveforms_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("waveform"))


async def test_every_stem_gets_its_files(bench: Workbench) -> None:
    active = await separated(bench)
    result = await stage_of(bench).run(bench.context(WAVEFORMS, active))
    assert [artifact.name for artifact in result.artifacts] == FILES
    for artifact in result.artifacts:
        content = bench.files.artifact(artifact.name).read_bytes()
        assert artifact.total_bytes == len(content) > 0
        assert artifact.sha256 == hashlib.sha256(content).hexdigest()
    assert result.bytes == sum(artifact.total_bytes for artifact in result.artifacts)
    assert active.job.stage(WAVEFORMS).attempts == 1


@pytest.mark.parametrize("peaks", ["of an earlier process", "gone", "spoilt"])
async def test_after_a_restart_the_peaks_are_taken_from_the_stems(bench: Workbench, peaks: str) -> None:
    active = await separated(bench)
    expected = (await stage_of(bench).run(bench.context(WAVEFORMS, active))).artifacts
    if peaks == "gone":
        bench.files.peaks.unlink()
    elif peaks == "spoilt":
        bench.files.peaks.write_bytes(bytes(bench.files.peaks.stat().st_size))
    bench.memory.separated = False
    assert (await stage_of(bench).run(bench.context(WAVEFORMS, active))).artifacts == expected


@pytest.mark.parametrize(("disk", "reserve"), [(QuotaDisk(0), 0), (QuotaDisk(1 << 30), 1 << 30)])
async def test_without_room_beside_the_reserve_there_are_none(
    bench: Workbench, disk: Disk, reserve: int
) -> None:
    active = await separated(bench)
    with pytest.raises(DiskFullError):
        await stage_of(bench, disk, reserve).run(bench.context(WAVEFORMS, active))
    assert waveforms_in(bench.files.folder) == []


@pytest.mark.parametrize(
    ("code", "reason"), [(errno.ENOSPC, "DISK_FULL"), (errno.EDQUOT, "DISK_FULL"), (errno.EIO, "INTERNAL")]
)
async def test_a_disk_that_fails_meanwhile_costs_the_waveforms_only(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, code: int, reason: str
) -> None:
    """The last file is half written; the stems are there, and the job succeeds."""
    written: list[Waveform] = []
    whole = Waveform.write_json

    def write_json(waveform: Waveform, file: TextIO) -> None:
        written.append(waveform)
        file.write("{")
        if len(written) == 2:
            raise OSError(code, "no more")
        whole(waveform, file)

    monkeypatch.setattr(Waveform, "write_json", write_json)
    active = await separated(bench)
    runner = JobRunner(
        bench.repository, bench.runs, [stage_of(bench)], default_ttl=60.0, bulk=asyncio.to_thread
    )
    await runner.run(active)
    job = active.job
    assert (job.state, job.error) == (JobState.SUCCEEDED, None)
    assert (job.stage(WAVEFORMS).state, job.stage(WAVEFORMS).attempts) == (StageState.FAILED, 1)
    failure = job.stage(WAVEFORMS).error
    assert failure is not None
    assert failure.reason == reason
    assert job.artifacts == ()
    assert len(written) == 2
    assert waveforms_in(bench.files.folder) == []
    assert sorted(path.name for path in bench.files.stems.iterdir()) == ["bass.wav", "drums.wav"]


async def test_stems_that_are_gone_fail_the_stage(bench: Workbench) -> None:
    active = await separated(bench)
    bench.files.stem("bass").unlink()
    with pytest.raises(InternalError):
        await stage_of(bench).run(bench.context(WAVEFORMS, active))
    assert waveforms_in(bench.files.folder) == []


async def test_a_job_without_a_form_of_its_stems_has_none(bench: Workbench) -> None:
    active = await separated(bench)
    active.job = replace(active.job, layout=None)
    with pytest.raises(InternalError, match="no waveforms without stems"):
        await stage_of(bench).run(bench.context(WAVEFORMS, active))


async def test_once_begun_they_are_written_before_a_cancellation_is_heard(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nothing writes into the folder of a job that was cancelled and is removed."""
    active = await separated(bench)
    loop, begun, whole = asyncio.get_running_loop(), asyncio.Event(), Waveform.write_json

    def write_json(waveform: Waveform, file: TextIO) -> None:
        loop.call_soon_threadsafe(begun.set)
        whole(waveform, file)

    monkeypatch.setattr(Waveform, "write_json", write_json)
    running = asyncio.create_task(stage_of(bench).run(bench.context(WAVEFORMS, active)))
    await begun.wait()
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert waveforms_in(bench.files.folder) == sorted(FILES)

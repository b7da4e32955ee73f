"""The track as samples: decoded once, found again after a restart, and never of a source that has changed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mismo_grpc.errors import (
    BlobNotFoundError,
    BlobUriForbiddenError,
    CorruptAudioError,
    DiskFullError,
    SourceNotFoundError,
    TrackTooLongError,
    UploadTooLargeError,
)
from mismo_grpc.jobs.job import JobState, Source, SourceKind, Stage, StageState
from mismo_grpc.jobs.repository import ActiveJob
from mismo_grpc.orchestration.runner import JobRunner
from mismo_grpc.stages.context import StageContext
from mismo_grpc.stages.stage import Retry, StageResult, StageWork
from mismo_grpc.storage.blobs.containers import ContainerOpener
from mismo_grpc.storage.blobs.object_store import ObjectBlobStore
from mismo_grpc.storage.disk import Disk, QuotaDisk
from tests.unit.stages.workbench import HeldDisk, Workbench, a_track

DECODE, STEMS, LOUDNESS = Stage.DECODE, Stage.STEMS, Stage.LOUDNESS
OLD, NEW = a_track(level=0.5), a_track(level=0.25)


class Unwanted:
    """A stage that must not run."""

    stage = LOUDNESS
    retries: Sequence[Retry] = ()

    def time_limit(self, audio_seconds: float) -> float | None:
        return None

    async def run(self, context: StageContext) -> StageResult:
        await context.needs()
        raise AssertionError("it ran on the changed source")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_the_track_becomes_a_work_file_and_its_hash_is_known(bench: Workbench) -> None:
    bench.record(OLD)
    active = await bench.job(LOUDNESS)
    result = await bench.decode_stage().run(bench.context(DECODE, active))
    mix = bench.memory.mix
    assert mix is not None
    assert (mix.path, mix.frames, mix.sample_rate, mix.channels) == (bench.files.mix, len(OLD), 44_100, 2)
    np.testing.assert_array_equal(bench.samples(), OLD)
    assert (active.job.stage(DECODE).state, active.job.state) == (StageState.RUNNING, JobState.RUNNING)
    job = result.change(active.job)
    assert job.source_sha256 == sha256(bench.source)
    assert job.warnings == ()


async def test_a_source_that_is_as_it_was_is_not_hashed_again(bench: Workbench) -> None:
    bench.record(OLD)
    active = await bench.job(LOUDNESS, sha256="as accepted")
    result = await bench.decode_stage().run(bench.context(DECODE, active))
    assert result.change(active.job).source_sha256 == "as accepted"


async def test_samples_that_are_no_numbers_are_told_once(bench: Workbench) -> None:
    broken = OLD.copy()
    broken[7] = np.nan
    bench.record(broken)
    active = await bench.job(LOUDNESS)
    result = await bench.decode_stage().run(bench.context(DECODE, active))
    job = result.change(result.change(active.job))
    assert job.warnings == ("2 samples of the source were not numbers; they were made silent",)
    assert bench.samples()[7].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("asked", "rate"), [(STEMS, 48_000), (LOUDNESS, 44_100)])
async def test_the_model_decides_on_the_rate_of_jobs_with_stems(
    bench: Workbench, asked: Stage, rate: int
) -> None:
    bench.record(OLD)
    active = await bench.job(asked)
    mix = await bench.decoder(model_rate=48_000).decode(active.job)
    assert (mix.sample_rate, mix.frames) == (rate, rate)


async def test_a_restart_takes_up_what_was_decoded(bench: Workbench) -> None:
    bench.record(OLD)
    active = await bench.job(LOUDNESS)
    first = await bench.decoder().decode(active.job)
    bench.source.unlink()
    assert await bench.decoder().decode(active.job) == first


@pytest.mark.parametrize("boots", [("boot", "another"), ("", "")])
async def test_nothing_is_taken_up_of_another_boot_or_an_unknown_one(
    bench: Workbench, boots: tuple[str, str]
) -> None:
    """Work files are not synced: after a power cut they may hold anything."""
    bench.record(OLD)
    active = await bench.job(LOUDNESS)
    await bench.decoder(boot=boots[0]).decode(active.job)
    bench.record(NEW)
    mix = await bench.decoder(boot=boots[1]).decode(active.job)
    np.testing.assert_array_equal(bench.samples(), NEW)
    assert mix.source_sha256 == sha256(bench.source)


@pytest.mark.parametrize(
    "damage", ["cut", "other samples", "no mix", "no record", "half a record", "a record of another kind"]
)
async def test_damaged_work_is_made_anew(bench: Workbench, damage: str) -> None:
    bench.record(OLD)
    active = await bench.job(LOUDNESS)
    first = await bench.decoder().decode(active.job)
    files = bench.files
    if damage == "cut":
        os.truncate(files.mix, 800)
    elif damage == "other samples":
        files.mix.write_bytes(bytes(files.mix.stat().st_size))
    elif damage == "no mix":
        files.mix.unlink()
    elif damage == "no record":
        files.mix_record.unlink()
    elif damage == "half a record":
        files.mix_record.write_bytes(files.mix_record.read_bytes()[:50])
    else:
        files.mix_record.write_text(json.dumps({"boot": "boot", "mix": ["frames"]}))
    assert await bench.decoder().decode(active.job) == first
    np.testing.assert_array_equal(bench.samples(), OLD)


async def test_what_was_decoded_at_another_rate_is_made_anew(bench: Workbench) -> None:
    bench.record(OLD)
    active = await bench.job(STEMS)
    await bench.decoder().decode(active.job)
    mix = await bench.decoder(model_rate=48_000).decode(active.job)
    assert (mix.sample_rate, len(bench.samples())) == (48_000, 48_000)


async def test_a_source_that_changed_before_it_was_decoded_is_taken_as_it_is(bench: Workbench) -> None:
    """No stage has a result of the old one yet."""
    bench.record(OLD)
    active = await bench.job(LOUDNESS, sha256=sha256(bench.source))
    bench.record(a_track(seconds=0.5, level=0.25))
    result = await bench.decode_stage().run(bench.context(DECODE, active))
    assert result.change(active.job).source_sha256 == sha256(bench.source)
    assert len(bench.samples()) == 22_050


@pytest.mark.parametrize("change", ["size", "time only"])
async def test_a_source_that_changed_after_another_stage_was_done_fails(
    bench: Workbench, change: str
) -> None:
    bench.record(OLD)
    active = await bench.job(STEMS, LOUDNESS, succeeded=(DECODE, STEMS), sha256=sha256(bench.source))
    before = bench.source.stat()
    bench.record(NEW if change == "time only" else NEW[:22_050])
    os.utime(bench.source, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert (bench.source.stat().st_size == before.st_size) == (change == "time only")
    # Twice, as after a restart before the failure was stored: what the first one left is not taken for the track.
    for _ in range(2):
        with pytest.raises(
            SourceNotFoundError, match="changed since other stages of this job were done; submit"
        ):
            await bench.decode_stage().run(bench.context(DECODE, active))
        assert bench.memory.mix is None


async def test_a_source_with_another_time_but_the_same_bytes_is_the_same(bench: Workbench) -> None:
    bench.record(OLD)
    active = await bench.job(
        STEMS, LOUDNESS, succeeded=(DECODE, STEMS), sha256=sha256(bench.source), known=False
    )
    await bench.decode_stage().run(bench.context(DECODE, active))
    assert bench.memory.mix is not None


async def test_the_job_keeps_what_it_has_of_the_old_source(bench: Workbench) -> None:
    """Its stems were done in an earlier boot; the loudness is not measured on another track."""
    bench.record(OLD)
    active = await bench.job(
        STEMS, LOUDNESS, succeeded=(DECODE, STEMS, Stage.WAVEFORMS), sha256=sha256(bench.source)
    )
    await bench.decoder(boot="earlier").decode(active.job)
    bench.record(NEW[:22_050])

    works: list[StageWork] = [bench.decode_stage(bench.decoder(boot="this")), Unwanted()]
    await JobRunner(bench.repository, bench.runs, works, default_ttl=60.0, bulk=asyncio.to_thread).run(active)
    job = active.job
    assert job.state is JobState.SUCCEEDED
    assert [job.stage(s).state for s in (DECODE, STEMS, LOUDNESS)] == [
        StageState.FAILED,
        StageState.SUCCEEDED,
        StageState.SKIPPED,
    ]
    for stage in (DECODE, LOUDNESS):
        failure = job.stage(stage).error
        assert failure is not None
        assert failure.reason == "SOURCE_NOT_FOUND"
    assert not bench.files.mix.exists()


async def test_results_carry_the_hash_of_the_source_that_they_were_made_of(bench: Workbench) -> None:
    """The track was decoded in an earlier boot, the source changed, and no other stage has a result yet."""
    bench.record(OLD)
    active = await bench.job(LOUDNESS, succeeded=(DECODE,), sha256=sha256(bench.source))
    await bench.decoder(boot="earlier").decode(active.job)
    bench.record(NEW[:22_050])

    class Measured(Unwanted):
        async def run(self, context: StageContext) -> StageResult:
            await context.needs()
            return StageResult()

    works: list[StageWork] = [bench.decode_stage(bench.decoder(boot="this")), Measured()]
    await JobRunner(bench.repository, bench.runs, works, default_ttl=60.0, bulk=asyncio.to_thread).run(active)
    assert active.job.state is JobState.SUCCEEDED
    assert active.job.source_sha256 == sha256(bench.source)
    assert bench.store.get("job") == active.job


async def test_a_source_that_changes_while_it_is_read_has_no_hash(bench: Workbench) -> None:
    """So its results are taken over by no other job."""
    bench.record(OLD)
    active = await bench.job(LOUDNESS, sha256=sha256(bench.source))
    disk = HeldDisk()
    decoding = asyncio.create_task(bench.decoder(disk=disk).decode(active.job))
    assert await asyncio.to_thread(disk.asked.wait, 30)
    os.utime(bench.source, ns=(1, 1))
    disk.go_on.set()
    assert (await decoding).source_sha256 == ""


async def test_a_source_that_is_gone_says_so(bench: Workbench) -> None:
    active = await bench.job(LOUDNESS)
    with pytest.raises(SourceNotFoundError, match="the source file is gone; submit the track again"):
        await bench.decode_stage().run(bench.context(DECODE, active))
    assert list(bench.files.work.iterdir()) == []


@pytest.mark.parametrize(
    ("disk", "reserve", "max_seconds", "error"),
    [
        (QuotaDisk(0), 0, 60.0, DiskFullError),
        (QuotaDisk(1 << 30), 1 << 30, 60.0, DiskFullError),
        (QuotaDisk(1 << 30), 0, 0.5, TrackTooLongError),
    ],
)
async def test_a_track_without_room_leaves_no_half_mix(
    bench: Workbench, disk: Disk, reserve: int, max_seconds: float, error: type[Exception]
) -> None:
    bench.record(OLD)
    active = await bench.job(LOUDNESS)
    decoder = bench.decoder(disk=disk, disk_reserve=reserve, max_track_seconds=max_seconds)
    with pytest.raises(error):
        await bench.decode_stage(decoder).run(bench.context(DECODE, active))
    assert list(bench.files.work.iterdir()) == []
    assert bench.memory.mix is None


async def test_a_file_that_is_no_audio_fails(bench: Workbench) -> None:
    bench.record(OLD)
    bench.source.write_bytes(bench.source.read_bytes()[:30])
    active = await bench.job(LOUDNESS)
    with pytest.raises(CorruptAudioError):
        await bench.decode_stage().run(bench.context(DECODE, active))
    assert list(bench.files.work.iterdir()) == []


async def test_a_decoder_that_was_stopped_writes_nothing_any_more(bench: Workbench) -> None:
    bench.record(OLD)
    active = await bench.job(LOUDNESS)
    disk = HeldDisk()
    decoding = asyncio.create_task(bench.decoder(disk=disk).decode(active.job))
    assert await asyncio.to_thread(disk.asked.wait, 30)
    decoding.cancel()
    done, _ = await asyncio.wait([decoding], timeout=0.05)
    assert not done, "it returned while its thread was still at work"
    disk.go_on.set()
    await asyncio.wait([decoding])
    assert decoding.cancelled()
    assert list(bench.files.work.iterdir()) == []


# Blobs


async def blob_job(bench: Workbench) -> ActiveJob:
    active = await bench.job(LOUDNESS)
    active.job = replace(active.job, source=Source(SourceKind.BLOB, "https://music.example.com/a.wav"))
    return active


@pytest.fixture
def place(tmp_path: Path) -> ObjectBlobStore:
    """A folder at the address of a web server, as no job may name a folder."""
    (tmp_path / "place").mkdir()
    opened = ContainerOpener().open((tmp_path / "place").as_uri(), "TEST")
    return ObjectBlobStore(replace(opened._container, addresses=("https://music.example.com",)))


async def test_a_blob_is_fetched_once_and_decoded(bench: Workbench, place: ObjectBlobStore) -> None:
    bench.record(OLD)
    content = bench.source.read_bytes()
    await place.write("a.wav", content)
    active = await blob_job(bench)
    stage = bench.decode_stage(blobs=[place])
    result = await stage.run(bench.context(DECODE, active))
    assert result.change(active.job).source_sha256 == hashlib.sha256(content).hexdigest()
    np.testing.assert_array_equal(bench.samples(), OLD)
    # Another attempt, as after a restart, needs the blob no more.
    await place.delete("a.wav")
    await stage.run(bench.context(DECODE, active))


@pytest.mark.parametrize(
    ("size", "disk", "error"),
    [
        (None, None, BlobNotFoundError),
        (3 << 20, None, UploadTooLargeError),
        (1000, QuotaDisk(999), DiskFullError),
    ],
)
async def test_a_blob_that_cannot_be_fetched_leaves_no_file(
    bench: Workbench, place: ObjectBlobStore, size: int | None, disk: Disk | None, error: type[Exception]
) -> None:
    if size is not None:
        await place.write("a.wav", bytes(size))
    active = await blob_job(bench)
    with pytest.raises(error):
        await bench.decode_stage(blobs=[place], disk=disk).run(bench.context(DECODE, active))
    assert list(bench.files.folder.iterdir()) == []


async def test_a_blob_in_no_place_of_the_server_any_more_is_not_fetched(bench: Workbench) -> None:
    active = await blob_job(bench)
    with pytest.raises(BlobUriForbiddenError, match="MISMO_BLOB_CONTAINER"):
        await bench.decode_stage(blobs=[]).run(bench.context(DECODE, active))

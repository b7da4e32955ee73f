"""The sweeper keeps what is still to be told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mismo_grpc.jobs.callbacks import CallbackRow, CallbackState
from mismo_grpc.jobs.job import Job, JobOptions, JobState, Priority, Source, SourceKind
from mismo_grpc.jobs.repository import JobRepository
from mismo_grpc.results.runs import Runs
from mismo_grpc.results.sweeper import Sweeper
from mismo_grpc.storage.disk import FileSystemDisk
from mismo_grpc.uploads.uploads import Uploads
from tests.support.memory_store import MemoryJobStore

NOW = 10_000.0


def finished(job_id: str, ended_at: float, expires_at: float) -> Job:
    return Job(
        job_id=job_id,
        run_id=job_id.ljust(32, "0"),
        revision=1,
        state=JobState.SUCCEEDED,
        priority=Priority.NORMAL,
        source=Source(SourceKind.PATH, "/music/a.wav"),
        options=JobOptions(),
        labels={},
        model="m",
        created_at=1.0,
        ended_at=ended_at,
        expires_at=expires_at,
    )


async def test_the_files_of_an_earlier_run_that_is_still_linked_count(tmp_path: Path) -> None:
    """The newest run only analysed the track, so it has no files."""
    store = MemoryJobStore()
    repository = JobRepository(store, lambda: NOW)
    runs = Runs(tmp_path)

    async def no_uploads(now: float) -> None:
        pass

    sweeper = Sweeper(repository, runs, no_uploads, budget_bytes=1000)
    for job_id in ("analysed", "newest"):
        job = finished(job_id, 10.0 if job_id == "analysed" else 20.0, NOW + 1000)
        store.accept(job, "", "", 0.0)
        run_id = "5" * 32 if job_id == "analysed" else job.run_id
        runs.files(run_id).stems.mkdir(parents=True)
        runs.files(run_id).stem("drums").write_bytes(bytes(900))
        runs.link(job_id, run_id)
    assert await sweeper.sweep() == ["analysed"]
    assert runs.linked("analysed") is None
    assert sweeper.used_bytes == 1800
    repository.close()


async def test_a_job_with_an_untold_end_neither_expires_nor_makes_room(tmp_path: Path) -> None:
    store = MemoryJobStore()
    repository = JobRepository(store, lambda: NOW)
    uploads = Uploads(
        tmp_path / ".mismo" / "uploads",
        store,
        FileSystemDisk(),
        max_upload_bytes=1000,
        idle_seconds=10.0,
        keep_seconds=10.0,
        reserve_bytes=0,
    )
    runs = Runs(tmp_path)
    sweeper = Sweeper(repository, runs, uploads.sweep, budget_bytes=1000)
    rows: list[CallbackRow] = []
    for job in (
        finished("expired", 20.0, NOW - 1),
        finished("oldest", 10.0, NOW + 1000),
        finished("newest", 30.0, NOW + 1000),
    ):
        rows.append(CallbackRow(f"c-{job.job_id}", job.job_id, job.run_id, "stems", "http://app/", 1.0, 1.0))
        store.accept(job, "", "", 0.0, rows[-1:])
        files = runs.files(job.run_id)
        files.stems.mkdir(parents=True)
        files.stem("drums").write_bytes(bytes(900))
    assert await sweeper.sweep() == []
    store.save_callback(replace(rows[0], state=CallbackState.FAILED))
    assert await sweeper.sweep() == ["expired"]
    store.save_callback(replace(rows[1], state=CallbackState.DELIVERED))
    assert await sweeper.sweep() == ["oldest"]
    assert [job.job_id for job in store.list()] == ["newest"]
    repository.close()


async def test_dead_letters_count_for_the_budget_and_keep_their_source_until_they_expire(
    tmp_path: Path,
) -> None:
    now = [NOW]
    store, runs = MemoryJobStore(), Runs(tmp_path)
    repository = JobRepository(store, lambda: now[0])

    async def no_uploads(now: float) -> None:
        pass

    sweeper = Sweeper(repository, runs, no_uploads, budget_bytes=1000)
    for job_id, ended_at in (("older", 10.0), ("dead", 20.0), ("newest", 30.0)):
        job = finished(job_id, ended_at, NOW + ended_at)
        if job_id != "newest":
            job = replace(job, state=JobState.FAILED, dead_letter=True)
        store.accept(replace(job, result_bytes=450), "", "", 0.0)
        files = runs.files(job.run_id)
        files.work.mkdir(parents=True)
        files.source.write_bytes(b"track")
    await sweeper.tidy()
    source = runs.files("dead".ljust(32, "0")).source
    assert source.exists()
    assert not source.with_name("work").exists()
    assert await sweeper.sweep() == ["older"]
    assert sweeper.used_bytes == 1350
    assert sweeper.dead_letters == 2
    now[0] += 21.0
    assert await sweeper.sweep() == ["dead"]
    await runs.removed()
    assert not source.parent.exists()
    await sweeper.sweep()
    assert sweeper.dead_letters == 0
    repository.close()

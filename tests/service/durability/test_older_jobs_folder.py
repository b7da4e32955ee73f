"""A jobs folder that version 0.1.0 has left: finished results are read, what was not finished goes on."""

from __future__ import annotations

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from mismo.analysis.v1 import stage_pb2
from tests.service.conftest import StartServer
from tests.support.calls import (
    CANCELLED,
    SUCCEEDED,
    chunks_of,
    job_pb2,
    names_of,
    until,
    upload_finish,
    upload_header,
)
from tests.support.tracks import RESULT_FILES, WAVEFORMS, stem_samples, track_bytes

ARCHIVE = Path(__file__).parent / "data" / "jobs-folder-0.1.0.tar.gz"
"""Made by that version on a killed server: "finished" and "long" (cancelled) have ended, "queued" waits with an upload
of 0.04 s in its folder, and an upload of 0.5 s has 1000 bytes."""
UNFINISHED_UPLOAD = "x4YImhaqs-_YBElTNTxTn_HP86I5taD9"


async def test_an_older_jobs_folder_is_taken_over(start: StartServer, tmp_path: Path) -> None:
    jobs_dir = tmp_path / "jobs"
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(jobs_dir, filter="data")
        made_at = max(member.mtime for member in archive)
    bass = stem_samples(jobs_dir / "finished" / "stems" / "bass.wav")

    # What that version kept would have expired long ago.
    server = await start(app={"now": lambda: made_at + 60.0})
    client = server.client
    states = {job.job_id: job.state for job in (await client.list()).jobs}
    assert (states["finished"], states["long"]) == (SUCCEEDED, CANCELLED)
    # By its path as before, though it is a link now, and over gRPC.
    assert (jobs_dir / "finished").is_symlink()
    assert stem_samples(jobs_dir / "finished" / "stems" / "bass.wav") == bass
    assert await client.read_stem("finished", "bass") == bass
    assert len(await client.artifact("finished", "stems.zip")) > 4 * len(bass)
    assert await client.artifact("finished", "waveform-bass.dat")
    # That version stored the names of artifacts alone.
    artifacts = {artifact.name: artifact for artifact in (await client.get("finished")).artifacts}
    assert set(artifacts) == {"stems.json", "stems.zip", *WAVEFORMS}
    assert {(artifact.total_bytes, artifact.sha256) for artifact in artifacts.values()} == {(0, "")}
    assert artifacts["stems.zip"].content_type == "application/zip"

    # "queued" named no model; the one that it got then has other weights now, and that is no reason to fail.
    assert (await client.ended("queued")).state == SUCCEEDED
    assert {path.name for path in server.folder("queued").resolve().iterdir()} >= RESULT_FILES
    await until(lambda: {path.name for path in server.folder("queued").iterdir()} == RESULT_FILES)

    # After an update nobody knows which boot wrote the unfinished upload: it is sent again from where that says.
    content = track_bytes(0.5, seed=10)
    there = await client.get_upload(UNFINISHED_UPLOAD)
    rest = [
        upload_header(len(content), upload_id=UNFINISHED_UPLOAD),
        *chunks_of(content, offset=there.committed_bytes),
        upload_finish(),
    ]
    assert (await client.upload_messages(rest))[-1].complete
    await client.submit(job_pb2.Source(upload_id=UNFINISHED_UPLOAD), job_id="sent")
    assert (await client.ended("sent")).state == SUCCEEDED

    await client.delete("finished")
    assert {path.name for path in jobs_dir.iterdir()} == {".mismo", "queued", "sent"}


@pytest.mark.parametrize("stems", ["PENDING", "RUNNING", "SUCCEEDED"])
async def test_a_job_that_the_older_version_had_begun_goes_on(
    start: StartServer, tmp_path: Path, stems: str
) -> None:
    """It has no stage for waveforms; with its stems done, it was killed just before it stored the end of the job."""
    jobs_dir = tmp_path / "jobs"
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(jobs_dir, filter="data")
        made_at = max(member.mtime for member in archive)
    with closing(sqlite3.connect(jobs_dir / ".mismo" / "jobs.sqlite3")) as store, store:
        changed = store.execute(
            "UPDATE jobs SET state = 2, record = json_set(record, '$.state', 'RUNNING', '$.started_at', created_at,"
            " '$.stages[0].state', 'SUCCEEDED', '$.stages[1].state', ?) WHERE job_id = 'queued'",
            (stems,),
        )
        assert changed.rowcount == 1
    server = await start(app={"now": lambda: made_at + 60.0})
    job = await server.client.succeeded("queued")
    assert {status.state for status in job.stages} == {stage_pb2.STAGE_STATE_SUCCEEDED}
    assert [status.stage for status in job.stages] == [
        stage_pb2.STAGE_DECODE,
        stage_pb2.STAGE_STEMS,
        stage_pb2.STAGE_WAVEFORMS,
    ]
    assert set(names_of(job)) == {"stems.json", "stems.zip", *WAVEFORMS}
    assert len(await server.client.read_stem("queued", "bass")) == 4 * job.stem_set.total_frames

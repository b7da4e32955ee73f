"""What the tests of faults share: requests to the worker calls, and checks of what a job has left in the container."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx2

from mismo.analysis.v1 import job_pb2, stage_pb2
from mismo_grpc.storage.run_files import RunFiles
from tests.service.conftest import Server
from tests.service.workers.conftest import AudioFiles
from tests.support.calls import Client, until
from tests.support.http import Receiver
from tests.support.tracks import track_bytes

DECODE, STEMS, GENERATION, UPLOAD = (
    stage_pb2.STAGE_DECODE,
    stage_pb2.STAGE_STEMS,
    stage_pb2.STAGE_GENERATION,
    stage_pb2.STAGE_BLOB_UPLOAD,
)
PENDING, STAGE_RUNNING = stage_pb2.STAGE_STATE_PENDING, stage_pb2.STAGE_STATE_RUNNING
QUICK = {"job_retry_delay": 0.1}
STEM_NAMES = {"bass", "drums", "other", "vocals"}
TRACK = track_bytes(2.0)
LONG_TRACK = track_bytes(30.0)
"""5 MB: two ranges of a download."""


async def analyze(
    http: httpx2.AsyncClient, receiver: Receiver | None = None, name: str = "a.wav", **fields: Any
) -> httpx2.Response:
    """POST /analyze of a blob of the container `audio`, as the job "song"."""
    body = {
        "audio_file_id": "song",
        "blob_uri": f"az://audio/{name}",
        "callback_url": receiver.url if receiver is not None else None,
        **fields,
    }
    return await http.post("/analyze", json=body)


async def generate(
    http: httpx2.AsyncClient, receiver: Receiver | None = None, seconds: float = 2.0, **fields: Any
) -> httpx2.Response:
    """POST /generate of two stems, as the job "gen"."""
    body = {
        "generation_request_id": "gen",
        "audio_file_id": "song",
        "target_stems": ["bass", "drums"],
        "parameters": {"duration_seconds": seconds},
        "callback_url": receiver.url if receiver is not None else None,
        **fields,
    }
    return await http.post("/generate", json=body)


def stage_of(job: job_pb2.Job, stage: stage_pb2.Stage) -> stage_pb2.StageStatus:
    return next(status for status in job.stages if status.stage == stage)


async def has_stage(
    client: Client, job_id: str, stage: stage_pb2.Stage, *, waits: bool = False
) -> stage_pb2.StageStatus:
    """The status of a stage once it runs; with `waits` once it waits for another attempt."""
    async for event in client.watch(job_id):
        for status in [event.stage] if event.HasField("stage") else event.snapshot.stages:
            if status.stage == stage and (
                status.HasField("next_attempt_time") if waits else status.state == STAGE_RUNNING
            ):
                return status
    raise AssertionError("the job ended before")


async def is_whole(files: AudioFiles, job: job_pb2.Job) -> None:
    """Every blob of a job has the bytes that the job tells of; there is no other blob below its names."""
    assert job.blobs
    found: dict[str, tuple[int, str]] = {}
    for blob in job.blobs:
        path = blob.uri.removeprefix("az://audio/")
        content = await files.store.read(path, 0, 1 << 26)
        found[path] = (len(content), hashlib.sha256(content).hexdigest())
    assert found == {
        blob.uri.removeprefix("az://audio/"): (blob.total_bytes, blob.sha256) for blob in job.blobs
    }
    if stage_pb2.STAGE_STEMS in [status.stage for status in job.stages]:
        assert {Path(p).stem for p in found if "/stems/" in p} == STEM_NAMES
    below = job.options.blob_upload.prefix or job.job_id
    assert sorted(found) == [name for name in await files.names() if name.startswith(f"{below}/")]


async def told_once(server: Server, receiver: Receiver, status: str = "completed") -> dict[str, Any]:
    """The body of the single callback."""
    await receiver.received()
    await until(lambda: server.app.outbox.sending_count == 0)
    assert [post.body["status"] for post in receiver.posts] == [status]
    return receiver.posts[0].body


async def is_clean(server: Server, *kept: str) -> None:
    """The jobs folder has the runs that are `kept` and no others, and none of them has a part of a download."""
    await until(lambda: not server.app.runs.held_runs)
    await server.nothing_is_held()
    await server.app.runs.removed()
    assert sorted(path.name for path in server.app.runs.root.iterdir()) == sorted(kept)
    no_rests(server.jobs_dir)


def no_rests(jobs_dir: Path) -> None:
    """No file of work and no part of a download is left."""
    assert not list(jobs_dir.rglob("*.partial"))
    for run in (jobs_dir / ".mismo" / "runs").iterdir():
        assert not RunFiles(run).work.exists()

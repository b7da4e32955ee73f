"""Copies of results: of each stage as soon as it has ended, whole, and not twice. The container is a folder."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mismo_grpc.errors import BlobContainerNotFoundError, BlobStoreUnavailableError, InternalError
from mismo_grpc.jobs.job import Artifact, Job, Stage, StageState
from mismo_grpc.jobs.repository import ActiveJob
from mismo_grpc.results.artifacts import StemFile
from mismo_grpc.results.documents import document_artifacts
from mismo_grpc.stages.blob_upload import BlobUploadStage
from mismo_grpc.stages.context import NeedFailedError, StageContext
from mismo_grpc.storage.blobs.containers import ContainerOpener
from mismo_grpc.storage.blobs.object_store import ObjectBlobStore
from mismo_grpc.storage.blobs.port import BlobInfo
from mismo_grpc.wire_forms import wire
from tests.support.results import BASIC_FEATURES
from tests.unit.stages.workbench import Workbench

UPLOAD, STEMS, WAVEFORMS, FEATURES = (
    Stage.BLOB_UPLOAD,
    Stage.STEMS,
    Stage.WAVEFORMS,
    Stage.BASIC_FEATURES,
)
BASS, PEAKS = b"RIFF of the bass", b"peaks"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def container(tmp_path: Path) -> ObjectBlobStore:
    (tmp_path / "container").mkdir()
    return ContainerOpener().open((tmp_path / "container").as_uri(), "TEST")


class Copying:
    """A job with stems, waveforms and basic features; its stages end as a test says."""

    def __init__(self, bench: Workbench, container: ObjectBlobStore | None) -> None:
        self.bench = bench
        self.stage = BlobUploadStage(container, bulk=asyncio.to_thread)
        self.ends = {
            stage: asyncio.get_running_loop().create_future() for stage in (STEMS, WAVEFORMS, FEATURES)
        }

    async def begin(self) -> asyncio.Task[Job]:
        """The stage; the task returns the job after it."""
        self.active = await self.bench.job(STEMS, WAVEFORMS, FEATURES, UPLOAD)
        return self.again()

    def again(self) -> asyncio.Task[Job]:
        return asyncio.create_task(self._run(self.active))

    async def _run(self, active: ActiveJob) -> Job:
        bench = self.bench
        context = StageContext(
            UPLOAD, active, bench.files, bench.repository, bench.memory, {}, dict(self.ends)
        )
        return (await self.stage.run(context)).change(active.job)

    def succeeds(self, stage: Stage, artifacts: tuple[Artifact, ...] = ()) -> None:
        job = self.active.job
        result = BASIC_FEATURES if stage is FEATURES else None
        job = job.with_stage(replace(job.stage(stage), state=StageState.SUCCEEDED, result=result))
        if stage is FEATURES:
            artifacts = document_artifacts(job)
        self.active.job = replace(job, artifacts=(*job.artifacts, *artifacts))
        self.ends[stage].set_result(None)

    def fails(self, stage: Stage) -> None:
        self.ends[stage].set_exception(NeedFailedError(None))
        # Marks the error as retrieved, as the runner does.
        self.ends[stage].exception()

    def write_stems(self) -> tuple[Artifact, ...]:
        files = self.bench.files
        files.stems.mkdir(parents=True, exist_ok=True)
        files.stem("bass").write_bytes(BASS)
        described = {"stems": [asdict(StemFile("bass", "bass.wav", len(BASS), 0, sha256(BASS), ""))]}
        content = json.dumps(described).encode()
        files.stems_json.write_bytes(content)
        return (Artifact("stems.json", len(content), sha256(content)),)

    def write_waveforms(self) -> tuple[Artifact, ...]:
        self.bench.files.artifact("waveform-bass.dat").write_bytes(PEAKS)
        return (Artifact("waveform-bass.dat", len(PEAKS), sha256(PEAKS)),)


async def paths(container: ObjectBlobStore) -> dict[str, str]:
    return {blob.path: blob.version for blob in await container.list()}


async def has(container: ObjectBlobStore, path: str) -> None:
    """Once the container has a blob."""
    async with asyncio.timeout(30):
        while path not in await paths(container):  # noqa: ASYNC110  # a folder tells nothing of its changes
            await asyncio.sleep(0)


async def test_each_result_is_copied_as_soon_as_its_stage_has_ended(
    bench: Workbench, container: ObjectBlobStore
) -> None:
    copying = Copying(bench, container)
    running = await copying.begin()
    copying.succeeds(FEATURES)
    await has(container, "job/analysis/basic_features.json")
    assert list(await paths(container)) == ["job/analysis/basic_features.json"]
    copying.succeeds(STEMS, copying.write_stems())
    await has(container, "job/stems/bass.wav")
    copying.succeeds(WAVEFORMS, copying.write_waveforms())
    job = await running
    assert {blob.name for blob in job.blobs} == {
        "analysis/basic_features.json",
        "analysis/stems.json",
        "analysis/waveform-bass.dat",
        "stems/bass.wav",
    }
    for blob in job.blobs:
        content = await container.read(f"job/{blob.name}", 0, 1 << 20)
        assert (len(content), sha256(content)) == (blob.total_bytes, blob.sha256)
        assert blob.uri == container.uri_of(f"job/{blob.name}")
    assert job.stage(UPLOAD).attempts == 1


async def test_another_attempt_does_not_send_a_file_again(
    bench: Workbench, container: ObjectBlobStore
) -> None:
    copying = Copying(bench, container)
    running = await copying.begin()
    copying.succeeds(STEMS, copying.write_stems())
    copying.succeeds(WAVEFORMS, copying.write_waveforms())
    copying.fails(FEATURES)
    first = await running
    before = await paths(container)
    assert (await copying.again()).blobs == first.blobs
    assert await paths(container) == before
    assert copying.active.job.stage(UPLOAD).attempts == 2


async def test_a_damaged_stem_is_not_copied_and_the_error_says_so(
    bench: Workbench, container: ObjectBlobStore
) -> None:
    copying = Copying(bench, container)
    running = await copying.begin()
    artifacts = copying.write_stems()
    bench.files.stem("bass").write_bytes(BASS[::-1])
    copying.succeeds(STEMS, artifacts)
    with pytest.raises(InternalError, match=r"bass\.wav on the server's disk is damaged"):
        await running
    assert "job/stems/bass.wav" not in await paths(container)


async def test_a_container_that_is_gone_is_the_error_of_the_stage(
    bench: Workbench, container: ObjectBlobStore, tmp_path: Path
) -> None:
    copying = Copying(bench, container)
    running = await copying.begin()
    (tmp_path / "container").rmdir()
    copying.succeeds(STEMS, copying.write_stems())
    with pytest.raises(BlobContainerNotFoundError):
        await running
    assert not (tmp_path / "container").exists()


async def test_without_any_result_the_stage_is_skipped(bench: Workbench, container: ObjectBlobStore) -> None:
    copying = Copying(bench, container)
    running = await copying.begin()
    for stage in copying.ends:
        copying.fails(stage)
    with pytest.raises(NeedFailedError):
        await running
    assert (copying.active.job.stage(UPLOAD).attempts, await paths(container)) == (0, {})


async def test_a_server_that_has_lost_its_container_says_what_to_set(bench: Workbench) -> None:
    copying = Copying(bench, None)
    running = await copying.begin()
    copying.succeeds(FEATURES)
    with pytest.raises(BlobContainerNotFoundError, match="BLOB_CONTAINER_NAME") as caught:
        await running
    # So the job keeps its files for a replay.
    assert wire(caught.value).retryable


async def test_a_job_that_is_stopped_while_a_failed_copy_stops_the_others_is_stopped(
    bench: Workbench, container: ObjectBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping, may_stop = asyncio.Event(), asyncio.Event()

    async def upload(source: Path, path: str, **_: object) -> BlobInfo:
        if source.suffix == ".json":
            raise BlobStoreUnavailableError("the container does not respond")
        try:
            await asyncio.Event().wait()
        finally:
            stopping.set()
            await may_stop.wait()
        return BlobInfo(path, 0)

    monkeypatch.setattr(container, "upload", upload)
    copying = Copying(bench, container)
    running = await copying.begin()
    copying.succeeds(STEMS, copying.write_stems())
    async with asyncio.timeout(30):
        await stopping.wait()
        running.cancel()
        # The stage gets the cancellation before the copy has stopped.
        await asyncio.sleep(0)
        may_stop.set()
        await asyncio.wait([running])
    assert running.cancelled()
